# SPDX-License-Identifier: GPL-2.0-only
"""What several sub-commands read and write alike: a number of processes, a number of things."""

from __future__ import annotations

import argparse


def jobs(text: str) -> int:
    """Return the argument of ``--jobs``."""
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= 1024:
        return int(text)
    raise argparse.ArgumentTypeError(f"found {text!r} (accepted: an integer from 1 to 1024)")


def counted(count: int, noun: str) -> str:
    """Return *count* with its *noun*, in the plural unless it is one."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
