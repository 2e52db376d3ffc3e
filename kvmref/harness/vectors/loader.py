# SPDX-License-Identifier: GPL-2.0-only
"""Reads a vector from its TOML file, or says everything that is wrong with it.

The format is described in ``spec/vectors.md``. No contents of a file lead to anything but a
`Vector` or an `InvalidVectorError` with one line for each mistake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from kvmref.errors import InvalidVectorError
from kvmref.harness.vectors.directories import starting_points_directory
from kvmref.harness.vectors.expectations import read_expectation
from kvmref.harness.vectors.model import Expectation, Vector, VectorStep
from kvmref.harness.vectors.names import KERNELS, LEVELS
from kvmref.harness.vectors.reading import (
    Distinct,
    OneOf,
    Place,
    Words,
    array,
    keys,
    member,
    read_toml,
    text,
    unknown,
)
from kvmref.harness.vectors.starting_points import (
    NAME,
    StartingPoint,
    load_starting_points,
    make_setup,
    read_format,
    read_setup,
)
from kvmref.harness.vectors.steps import StoreVmcs12, read_members, read_step
from kvmref.kernel.linux_3_3.boot import UnsupportedHostError
from kvmref.machine.machine import DEFAULT_SETUP, Machine
from kvmref.machine.steps import Destroy

REQUIRED: Final = (
    "format",
    "title",
    "why",
    "reason",
    "level",
    "kernels",
    "functions",
    "flags",
    "start",
    "step",
)
"""The keys that every vector has."""

OPTIONAL: Final = ("commits", "setup", "vmcs12")
"""The keys that a vector can have besides."""

LEVEL: Final = OneOf("level", LEVELS)
KERNELS_READER: Final = Distinct(OneOf("kernel", KERNELS), at_least=1)
FUNCTIONS: Final = Distinct(Words("[A-Za-z_][A-Za-z0-9_]*", "the name of a C function"), at_least=1)
COMMITS: Final = Distinct(Words("[0-9a-f]{12,40}", "12 to 40 lower-case hexadecimal digits"))
FLAGS: Final = Distinct(Words(NAME, "lower-case words joined by hyphens"), at_least=1)


def load_vector(
    path: Path, root: Path, points: Mapping[str, StartingPoint] | None = None
) -> Vector:
    """Return the vector that *path* contains; its id is its path below *root*.

    *points* are the starting points, by default those of the folder ``starting-points`` beside
    *root* or, without one, those that come with kvmref. Raises `InvalidVectorError`.
    """
    if points is None:
        points, errors = load_starting_points(starting_points_directory(root))
        if errors:
            raise InvalidVectorError(errors)
    place = Place(str(path))
    name = _id_of(path, root, place)
    return read_vector(read_toml(path), name, points, place)


def read_vector(
    given: Mapping[str, object], name: str, points: Mapping[str, StartingPoint], place: Place
) -> Vector:
    """Return the vector called *name* that *given*, the contents of a TOML file, describe.

    Raises `InvalidVectorError`, also for what has already been reported of *place*, the file.
    """
    vector = _read(name, given, points, place)
    place.finish()
    if vector.setup != DEFAULT_SETUP:
        try:
            Machine(vector.setup)
        except UnsupportedHostError as error:
            place.at("setup").report(f"KVM does not load on such a host: {error}")
            place.finish()
    return vector


def _id_of(path: Path, root: Path, place: Place) -> str:
    """Return the id of the vector at *path*."""
    if not path.is_relative_to(root):
        place.report(f"not below {root}", "a file below the folder of the vectors")
        return ""
    parts = path.relative_to(root).with_suffix("").parts
    for part in parts:
        if not re.fullmatch(NAME, part):
            place.report(
                f"found {part!a} in the path, which is the id", "lower-case words joined by hyphens"
            )
    return "/".join(parts)


def _read(
    name: str, given: Mapping[str, object], points: Mapping[str, StartingPoint], place: Place
) -> Vector:
    """Return the vector called *name* that *given* describes."""
    keys(given, (*REQUIRED, *OPTIONAL), REQUIRED, place)
    read_format(given, place)
    level = member(given, "level", LEVEL, "l0", place)
    start = _read_start(given.get("start"), points, place.at("start"))
    changes: dict[str, int] = member(given, "vmcs12", read_members, {}, place)
    members = {**start.members, **changes}
    if changes and not start.stores_vmcs12() and not _stores(given.get("step")):
        place.at("vmcs12").report(f"no step stores it, and {start.name} has no vmcs12")
    return Vector(
        id=name,
        title=member(given, "title", text, "", place),
        why=member(given, "why", text, "", place),
        reason=member(given, "reason", text, "", place),
        level=level,
        kernels=member(given, "kernels", KERNELS_READER, (), place),
        functions=member(given, "functions", FUNCTIONS, (), place),
        commits=member(given, "commits", COMMITS, (), place),
        flags=member(given, "flags", FLAGS, (), place),
        start=start.name,
        setup=make_setup({**start.setup, **member(given, "setup", read_setup, {}, place)}),
        preamble=start.preamble(members),
        steps=member(given, "step", partial(_read_steps, level, members), (), place),
    )


def _read_start(value: object, points: Mapping[str, StartingPoint], place: Place) -> StartingPoint:
    """Return the starting point called *value*; without one, something that anything fits to."""
    if isinstance(value, str) and value in points:
        return points[value]
    if isinstance(value, str):
        unknown("starting point", value, points, place)
    elif value is not None:
        place.mismatch(value, "the name of a starting point")
    return StartingPoint("", "", "", steps=(StoreVmcs12(0),))


def _stores(steps: object) -> bool:
    """Tell whether one of *steps*, which may be anything, stores the vmcs12 of the vector."""
    return isinstance(steps, list) and any(
        isinstance(step, dict)
        and step.get("do") == "vmcs12"
        and "fields" not in step
        and "zero" not in step
        for step in steps
    )


def _read_steps(
    level: str, members: Mapping[str, int], value: object, place: Place
) -> tuple[VectorStep, ...]:
    """Read the steps of a vector of *level*, whose vmcs12 has *members*."""
    steps: list[VectorStep] = []
    errors = len(place.errors)
    for index, given in enumerate(array(value, place)):
        here = place.at(index)
        step = read_step(given, here, ("note", "expect"))
        if isinstance(step, StoreVmcs12):
            step = step.storing(members)
        note, expect = "", Expectation()
        if isinstance(given, dict):
            if "note" in given:
                note = text(given["note"], here.at("note"))
            if "expect" in given:
                expect = read_expectation(
                    given["expect"], here.at("expect"), level, given.get("do")
                )
        if steps and isinstance(steps[-1].step, Destroy):
            here.report("a step after destroy", "destroy as the last step")
        steps.append(VectorStep(step, note, expect))
    if len(place.errors) == errors and all(step.expect == Expectation() for step in steps):
        place.report("nothing is expected after any step", "at least one step with expect")
    return tuple(steps)
