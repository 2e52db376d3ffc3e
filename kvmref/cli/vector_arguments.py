# SPDX-License-Identifier: GPL-2.0-only
"""The vectors that a command line asks for.

An argument is a file, or a folder of files; what is neither is an id or a glob on the ids of the
vectors that come with kvmref. Without arguments it is all of these. A folder that has the folders
``vectors`` and ``starting-points`` stands for the former.

The id of a vector is its path below the root of its suite: that folder above it which has a folder
``starting-points`` beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kvmref.errors import InputError, InvalidVectorError
from kvmref.harness.vectors.loader import load_vector
from kvmref.harness.vectors.model import Vector
from kvmref.harness.vectors.suite import load_suite, select, starting_points_for, vector_files


@dataclass(slots=True, frozen=True)
class Asked:
    """The vectors that are asked for, each once."""

    vectors: tuple[Vector, ...]
    errors: tuple[InputError, ...]
    """What is wrong with those that couldn't be read."""
    complete: bool
    """They are whole suites, so that a vector that isn't among them doesn't exist."""


def load_asked(arguments: Sequence[str]) -> Asked:
    """Return the vectors that *arguments* name; raises `InputError` for one that names none."""
    if not arguments:
        suite = load_suite()
        return Asked(suite.vectors, suite.errors, True)
    vectors: dict[str, Vector] = {}
    errors: list[InputError] = []
    complete = True
    patterns = []
    for argument in arguments:
        path = _vectors_in(Path(argument))
        if path.exists():
            root = root_of(path)
            complete &= path.resolve() == root
            for loaded in _load(path, root):
                if isinstance(loaded, InputError):
                    errors.append(loaded)
                else:
                    vectors.setdefault(loaded.id, loaded)
        else:
            patterns.append(argument)
    if patterns:
        suite = load_suite()
        errors += suite.errors
        complete = False
        for vector in select(suite.vectors, patterns):
            vectors.setdefault(vector.id, vector)
    distinct = {str(error): error for error in errors}
    return Asked(tuple(vectors.values()), tuple(distinct.values()), complete)


def root_of(path: Path) -> Path:
    """Return the root of the suite that *path* is in; the folder itself if there is none."""
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    for candidate in (folder, *folder.parents):
        if (candidate.parent / "starting-points").is_dir():
            return candidate
    return folder


def _vectors_in(path: Path) -> Path:
    """Return the folder of vectors in *path* if starting points are beside it there, or *path*."""
    vectors = path / "vectors"
    return vectors if vectors.is_dir() and (path / "starting-points").is_dir() else path


def _load(path: Path, root: Path) -> Iterator[Vector | InputError]:
    place, root = _as_given(path, root)
    points, errors = starting_points_for(root)
    yield from errors
    for file in vector_files(place) if place.is_dir() else [place]:
        try:
            yield load_vector(file, root, points)
        except InvalidVectorError as error:
            yield from error.errors


def _as_given(path: Path, root: Path) -> tuple[Path, Path]:
    """Return both paths relative to the working directory, if that is how *path* was given."""
    here = Path.cwd()
    if path.is_absolute() or not root.is_relative_to(here):
        return path.resolve(), root
    return path.resolve().relative_to(here), root.relative_to(here)
