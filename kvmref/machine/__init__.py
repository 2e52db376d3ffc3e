# SPDX-License-Identifier: GPL-2.0-only
"""A kernel on a processor: reset, step, observe."""
