# SPDX-License-Identifier: GPL-2.0-only
"""The machine under a kernel: VMCSs, and who runs the guest. Knows nothing of Linux."""
