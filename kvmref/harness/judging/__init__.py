# SPDX-License-Identifier: GPL-2.0-only
"""Vectors run on implementations, and what comes of it: verdicts, scores, deviations."""
