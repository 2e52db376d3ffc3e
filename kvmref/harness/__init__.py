# SPDX-License-Identifier: GPL-2.0-only
"""The harness: files that say what must happen, and how a machine is held against them."""
