# SPDX-License-Identifier: GPL-2.0-only
"""The one vector that a command line names, by its id or by its file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from kvmref.cli.vector_arguments import load_asked
from kvmref.errors import InputError, InvalidVectorError
from kvmref.harness.vectors.directories import suite_directory
from kvmref.harness.vectors.model import Vector

_ID: Final = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)*")
"""What an id looks like; anything else could lead out of the folder of the vectors."""


def load_one(name: str) -> Vector:
    """Return the vector called *name*.

    Raises `InputError` if there is none or more than one, and `InvalidVectorError` if it is not
    what a vector should be.
    """
    asked = load_asked([_file(name) or name])
    if len(asked.vectors) == 1:
        return asked.vectors[0]
    if not asked.vectors:
        raise InvalidVectorError(asked.errors)
    raise InputError(f"{name!a} selects {len(asked.vectors)} vectors", "the id or the file of one")


def _file(name: str) -> str | None:
    """Return the file of the vector with exactly this id, so that no other one need be read."""
    if Path(name).exists() or not _ID.fullmatch(name):
        return None
    file = suite_directory() / f"{name}.toml"
    return str(file) if file.is_file() else None
