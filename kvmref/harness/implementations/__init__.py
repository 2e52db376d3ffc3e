# SPDX-License-Identifier: GPL-2.0-only
"""Implementations under test: in this process, or in one of their own."""
