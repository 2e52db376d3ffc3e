# SPDX-License-Identifier: GPL-2.0-only
"""Reads starting points, which vectors share: a setup, a vmcs12, and steps that lead somewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, get_type_hints

from kvmref.errors import InputError, InvalidVectorError
from kvmref.harness.notation.values import width_of
from kvmref.harness.vectors.names import names_of_setup
from kvmref.harness.vectors.reading import (
    ListOf,
    Place,
    Reader,
    Words,
    keys,
    member,
    read_toml,
    text,
    unknown,
)
from kvmref.harness.vectors.steps import StoreVmcs12, read_members, read_step
from kvmref.harness.vectors.values import NamedNumbers, flag, integer
from kvmref.kernel.setup import Setup
from kvmref.machine.steps import Step

FORMAT: Final = 1
"""The version of the format of vectors and starting points."""

NAME: Final = "[a-z0-9]+(?:-[a-z0-9]+)*"
"""What names of starting points, folders, vectors and flags look like."""

KEYS: Final = ("format", "title", "doc", "based_on", "setup", "vmcs12", "step")
REQUIRED: Final = ("format", "title", "doc")


@dataclass(slots=True, frozen=True)
class StartingPoint:
    """Where vectors start from."""

    name: str
    title: str
    doc: str
    """The state of the machine there."""
    setup: Mapping[str, int] = field(default_factory=dict)
    """Fields of `Setup` that differ from the defaults."""
    members: Mapping[str, int] = field(default_factory=dict)
    """Members of ``struct vmcs12`` that are not zero."""
    steps: tuple[Step | StoreVmcs12, ...] = ()

    def stores_vmcs12(self) -> bool:
        """Tell whether a vmcs12 is stored on the way."""
        return any(isinstance(step, StoreVmcs12) for step in self.steps)

    def preamble(self, members: Mapping[str, int]) -> tuple[Step, ...]:
        """Return the steps, with a vmcs12 that has *members*."""
        return tuple(
            step.storing(members) if isinstance(step, StoreVmcs12) else step for step in self.steps
        )


def _setup_readers() -> dict[str, Reader[int]]:
    annotations = get_type_hints(Setup, include_extras=True)
    readers: dict[str, Reader[int]] = {}
    for name, annotation in annotations.items():
        width = width_of(annotation)
        readers[name] = flag if width is None else integer(width, names_of_setup(name))
    return readers


SETUP: Final = _setup_readers()
"""How to read each field of `Setup`."""


read_setup: Final = NamedNumbers("field of the setup", SETUP)
"""The reader of fields of `Setup`, by name."""


def make_setup(changes: Mapping[str, int]) -> Setup:
    """Return the setup that has *changes*."""
    setup = Setup()
    return Setup(**{**{f.name: getattr(setup, f.name) for f in fields(Setup)}, **changes})


def read_format(given: Mapping[str, object], place: Place) -> None:
    """Report any version of the format but this one."""
    if "format" in given and (type(given["format"]) is not int or given["format"] != FORMAT):
        place.at("format").mismatch(given["format"], str(FORMAT))


def load_starting_points(
    directory: Path,
) -> tuple[dict[str, StartingPoint], tuple[InputError, ...]]:
    """Return the starting points of *directory* by name, and what is wrong with the others."""
    if not directory.is_dir():
        return {}, (InputError("no such directory", file=str(directory)),)
    files = sorted(directory.glob("*.toml"))
    errors: list[InputError] = []
    drafts: dict[str, _Draft] = {}
    for file in files:
        try:
            drafts[file.stem] = _read(file)
        except InvalidVectorError as error:
            errors += error.errors
    broken = {file.stem for file in files} - drafts.keys()
    points: dict[str, StartingPoint] = {}
    for name, draft in drafts.items():
        try:
            points[name] = _merged(name, drafts, broken, draft.place)
        except InvalidVectorError as error:
            errors += error.errors
    return points, tuple(errors)


@dataclass(slots=True, frozen=True)
class _Draft:
    """A file, before it is merged with what it is based on."""

    point: StartingPoint
    based_on: str
    place: Place


POINT: Final = Words(NAME, "the name of a starting point")


def _read(file: Path) -> _Draft:
    given = read_toml(file)
    place = Place(str(file))
    keys(given, KEYS, REQUIRED, place)
    read_format(given, place)
    point = StartingPoint(
        name=POINT(file.stem, place),
        title=member(given, "title", text, "", place),
        doc=member(given, "doc", text, "", place),
        setup=member(given, "setup", read_setup, {}, place),
        members=member(given, "vmcs12", read_members, {}, place),
        steps=tuple(member(given, "step", ListOf(read_step), [], place)),
    )
    based_on = member(given, "based_on", POINT, "", place)
    place.finish()
    return _Draft(point, based_on, place)


def _merged(
    name: str, drafts: Mapping[str, _Draft], broken: set[str], place: Place
) -> StartingPoint:
    """Return the starting point *name* with everything that it is based on."""
    chain = [name]
    while based_on := drafts[chain[-1]].based_on:
        if based_on in chain:
            way = " -> ".join([*chain, based_on])
            place.at("based_on").report(f"a starting point is based on itself: {way}")
            place.finish()
        if based_on in broken:
            place.at("based_on").report(f"the starting point {based_on} is invalid")
            place.finish()
        if based_on not in drafts:
            unknown("starting point", based_on, drafts, place.at("based_on"))
            place.finish()
        chain.append(based_on)
    points = [drafts[link].point for link in reversed(chain)]
    own = points[-1]
    return StartingPoint(
        name=own.name,
        title=own.title,
        doc=own.doc,
        setup={key: value for point in points for key, value in point.setup.items()},
        members={key: value for point in points for key, value in point.members.items()},
        steps=tuple(step for point in points for step in point.steps),
    )
