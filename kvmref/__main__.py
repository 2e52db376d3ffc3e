# SPDX-License-Identifier: GPL-2.0-only
"""``python -m kvmref`` is the command ``kvmref``."""

from __future__ import annotations

import sys

from kvmref.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
