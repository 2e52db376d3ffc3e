# SPDX-License-Identifier: GPL-2.0-only
"""L0: ported kernels, and what they start from. No I/O, no formats, no time."""
