# SPDX-License-Identifier: GPL-2.0-only
"""Linux 3.3.8: one module for each C file, and folders for vmx.c, x86.c and the headers."""
