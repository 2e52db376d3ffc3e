# SPDX-License-Identifier: GPL-2.0-only
"""Where the vectors and the starting points are that come with kvmref."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import kvmref
from kvmref.errors import KvmrefError

STARTING_POINTS: Final = "starting-points"
"""Name of the folder of starting points, beside that of the vectors."""

_PACKAGE: Final = Path(kvmref.__file__).resolve().parent


def suite_directory() -> Path:
    """Return the folder of the vectors that come with kvmref: installed, or in a checkout."""
    for parent in (_PACKAGE, _PACKAGE.parent):
        directory = parent / "conformance" / "vectors"
        if directory.is_dir():
            return directory
    raise KvmrefError("the vectors are neither installed with kvmref nor beside it")


def starting_points_directory(root: Path) -> Path:
    """Return the folder of the starting points for the vectors below *root*.

    It is beside *root*; without one there, it is the one that comes with kvmref.
    """
    beside = root.resolve().parent / STARTING_POINTS
    return beside if beside.is_dir() else suite_directory().parent / STARTING_POINTS
