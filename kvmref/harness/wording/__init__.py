# SPDX-License-Identifier: GPL-2.0-only
"""Steps, values and events in words, and the C functions that they are about."""
