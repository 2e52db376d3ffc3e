# SPDX-License-Identifier: GPL-2.0-only
"""Conformance vectors: scenarios with expected values, as data."""
