# SPDX-License-Identifier: GPL-2.0-only
"""Recordings of the real C functions, and their replay."""
