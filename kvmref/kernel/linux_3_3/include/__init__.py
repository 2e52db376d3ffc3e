# SPDX-License-Identifier: GPL-2.0-only
"""Headers of Linux 3.3.8: constants and structs."""
