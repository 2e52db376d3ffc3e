# SPDX-License-Identifier: GPL-2.0-only
"""The suite: all vectors below a folder, and which of them are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from kvmref.errors import InputError, InvalidVectorError
from kvmref.harness.vectors.directories import starting_points_directory, suite_directory
from kvmref.harness.vectors.loader import load_vector
from kvmref.harness.vectors.model import Vector
from kvmref.harness.vectors.names import LEVELS, suggestion
from kvmref.harness.vectors.starting_points import StartingPoint, load_starting_points


@dataclass(slots=True, frozen=True)
class Suite:
    """Vectors, in the order of their ids, and what is wrong with those that couldn't be read."""

    vectors: tuple[Vector, ...]
    errors: tuple[InputError, ...] = ()
    directory: Path = Path()
    files: int = 0
    """How many files there are, invalid ones included."""


def load_suite(directory: Path | None = None) -> Suite:
    """Return all vectors below *directory*, by default those that come with kvmref.

    Starting points are read from the folder ``starting-points`` beside *directory*, or else from
    that of the vectors that come with kvmref.
    """
    root = suite_directory() if directory is None else directory
    files = vector_files(root)
    points, point_errors = starting_points_for(root)
    vectors: list[Vector] = []
    errors = list(point_errors)
    for file in files:
        try:
            vectors.append(load_vector(file, root, points))
        except InvalidVectorError as error:
            errors += error.errors
    vectors.sort(key=lambda vector: vector.id)
    return Suite(tuple(vectors), tuple(errors), root, len(files))


def vector_files(root: Path) -> list[Path]:
    """Return the files of all vectors below *root*.

    Raises `InputError` if there is no such folder.
    """
    if not root.is_dir():
        raise InputError("no such directory", "a directory with vectors", file=str(root))
    return sorted(root.rglob("*.toml"))


def starting_points_for(root: Path) -> tuple[dict[str, StartingPoint], tuple[InputError, ...]]:
    """Return the starting points for the vectors below *root*, and what is wrong with others."""
    return load_starting_points(starting_points_directory(root))


def select(vectors: Sequence[Vector], patterns: Iterable[str]) -> tuple[Vector, ...]:
    """Return those of *vectors* that at least one of *patterns* selects; all without patterns.

    A pattern is a glob on the id (``injection/*``), a folder or an id, ``flag:NAME`` or
    ``level:l1``. Raises `InputError` for one that selects nothing.
    """
    wanted = list(patterns)
    if not wanted:
        return tuple(vectors)
    chosen: set[str] = set()
    for pattern in wanted:
        found = {vector.id for vector in vectors if _selects(pattern, vector)}
        if not found:
            raise _selects_nothing(pattern, vectors)
        chosen |= found
    return tuple(vector for vector in vectors if vector.id in chosen)


def _selects(pattern: str, vector: Vector) -> bool:
    kind, colon, name = pattern.partition(":")
    if colon and kind == "flag":
        return name in vector.flags
    if colon and kind == "level":
        return name == vector.level
    plain = pattern.removesuffix(".toml").rstrip("/")
    return fnmatchcase(vector.id, plain) or vector.id.startswith(f"{plain}/")


def _selects_nothing(pattern: str, vectors: Sequence[Vector]) -> InputError:
    kind, colon, name = pattern.partition(":")
    if colon and kind == "flag":
        known: list[str] = sorted({flag for vector in vectors for flag in vector.flags})
    elif colon and kind == "level":
        known = list(LEVELS)
    else:
        name = pattern
        known = [vector.id for vector in vectors]
    return InputError(
        f"{pattern!a} selects no vector{suggestion(name, known)}",
        "a glob on ids, a folder, flag:NAME, level:l0 or level:l1",
    )
