# SPDX-License-Identifier: GPL-2.0-only
"""Who reads what the command prints: a person at a terminal, or a file or another program."""

from __future__ import annotations

import os
import sys


def watched() -> bool:
    """Tell whether somebody watches standard error, on a terminal that can draw over a line."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def decorated() -> bool:
    """Tell whether standard output is a terminal that may be given colours."""
    dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))
    return sys.stdout.isatty() and not dumb
