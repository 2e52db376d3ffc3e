# SPDX-License-Identifier: GPL-2.0-only
"""Reading TOML without stopping at the first mistake.

A *reader* takes a value as the TOML parser returns it and the place where it stands. It returns a
value of its type whatever it finds: if it found a mistake, it has reported it at that place, and
what it returns is never used, because whoever started the reading raises `InvalidVectorError` then.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Final, Generic, TypeVar

from kvmref.errors import InputError, InvalidVectorError
from kvmref.harness.notation.values import shortened
from kvmref.harness.vectors.names import suggestion

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST: Final = 60
_LONGEST_LIST: Final = 200
_TOO_WIDE: Final = 1 << 63


class Place:
    """A place in a file, and the errors that are reported of all the places of the file."""

    __slots__ = ("_keys", "errors", "file")

    def __init__(
        self, file: str, errors: list[InputError] | None = None, keys: tuple[str | int, ...] = ()
    ) -> None:
        """Stand for all of *file*, or for what it has at *keys*."""
        self.file = file
        self.errors: list[InputError] = [] if errors is None else errors
        self._keys = keys

    def at(self, key: str | int) -> Place:
        """Return the place of the value that the table or the array here has at *key*."""
        if isinstance(key, str) and not _BARE_KEY.fullmatch(key):
            return self.quoted(key)
        return Place(self.file, self.errors, (*self._keys, key))

    def quoted(self, key: str) -> Place:
        """Return the same for a key that is always shown in quotes."""
        return Place(self.file, self.errors, (*self._keys, shortened(json.dumps(key), _LONGEST)))

    def report(self, problem: str, accepted: str | None = None) -> None:
        """Report that there is a *problem* here; *accepted* would have been right."""
        error = InputError(problem, accepted)
        for key in reversed(self._keys):
            error = error.within(key)
        self.errors.append(error.located(self.file))

    def mismatch(self, value: object, accepted: str | None) -> None:
        """Report that *value* was found where something else is *accepted*."""
        self.report(f"found {shown(value)}", accepted)

    def finish(self) -> None:
        """Raise `InvalidVectorError` if anything has been reported."""
        if self.errors:
            raise InvalidVectorError(tuple(self.errors))


Reader = Callable[[object, Place], T]
"""What makes a typed value of a TOML value, and reports what is wrong with it."""


def read_toml(path: Path) -> dict[str, object]:
    """Return the contents of a TOML file.

    Raises `InvalidVectorError` if it can't be read, or isn't TOML.
    """
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, f"can't be read: {error.strerror or error}") from None
    try:
        text = contents.decode()
    except UnicodeDecodeError as error:
        line = contents.count(b"\n", 0, error.start) + 1
        raise _unreadable(
            path, f"invalid UTF-8: byte {contents[error.start]:#04x}", "UTF-8", line
        ) from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise _unreadable(path, "invalid TOML: nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, f"invalid TOML: {shortened(str(error), _LONGEST_LIST)}") from None
    except ValueError:
        # Python's own limit for integers, which the parser doesn't know of.
        raise _unreadable(path, "invalid TOML: a number with too many digits") from None


def _unreadable(
    path: Path, problem: str, accepted: str | None = None, line: int | None = None
) -> InvalidVectorError:
    return InvalidVectorError((InputError(problem, accepted, file=str(path), line=line),))


def shown(value: object) -> str:
    """Return *value* for a message: on one line, not too long, and whatever it is."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if -_TOO_WIDE <= value < _TOO_WIDE else shortened(hex(value), 24)
        case str():
            return shortened(json.dumps(value), _LONGEST)
        case dict():
            return "a table" if value else "an empty table"
        case list():
            return "an array" if value else "an empty array"
        case date() | time():
            return value.isoformat()
        case _:
            return shortened(str(value), _LONGEST)


def listed(names: Collection[str]) -> str | None:
    """Return what is accepted where one of *names* is: all of them, if they are not too many."""
    everything = ", ".join(names)
    if len(everything) > _LONGEST_LIST:
        return f"one of {len(names)} names; see spec/vectors.md"
    return everything or None


def unknown(what: str, name: str, known: Iterable[str], place: Place) -> None:
    """Report that *name* is none of the *known* names of *what*."""
    names = list(known)
    place.report(
        f"unknown {what} {shortened(json.dumps(name), _LONGEST)}{suggestion(name, names)}",
        listed(names),
    )


def table(value: object, place: Place) -> dict[str, object]:
    """Read a table, whatever it contains."""
    if isinstance(value, dict):
        return value
    place.mismatch(value, "a table")
    return {}


def array(value: object, place: Place) -> list[object]:
    """Read an array, whatever it contains."""
    if isinstance(value, list):
        return value
    place.mismatch(value, "an array")
    return []


def keys(
    given: Mapping[str, object], known: Iterable[str], required: Iterable[str], place: Place
) -> None:
    """Report the keys of *given* that aren't *known*, and those that are *required* and missing."""
    names = list(known)
    for key in given:
        if key not in names:
            unknown("key", key, names, place.at(key))
    for key in required:
        if key not in given:
            place.report(f"missing {key}")


def member(given: Mapping[str, object], key: str, reader: Reader[T], missing: T, at: Place) -> T:
    """Read what the table *given* has at *key*; return *missing* if it has nothing there."""
    return reader(given[key], at.at(key)) if key in given else missing


def text(value: object, place: Place) -> str:
    """Read a text that isn't empty; line breaks are blanks."""
    if not isinstance(value, str):
        place.mismatch(value, "a text")
        return ""
    words = " ".join(value.split())
    if not words:
        place.mismatch(value, "a text that isn't empty")
    return words


@dataclass(slots=True, frozen=True)
class OneOf(Generic[T]):
    """A reader that accepts nothing but *choices*, each of them a *what*."""

    what: str
    choices: tuple[T, ...]

    def __call__(self, value: object, place: Place) -> T:
        """Read one of the choices."""
        for choice in self.choices:
            if type(value) is type(choice) and value == choice:
                return choice
        names = [str(choice) for choice in self.choices]
        if isinstance(value, str):
            unknown(self.what, value, names, place)
        else:
            place.mismatch(value, listed(names))
        return self.choices[0]


@dataclass(slots=True, frozen=True)
class Words:
    """A reader of strings that match all of *pattern*, described as *accepted*."""

    pattern: str
    accepted: str

    def __call__(self, value: object, place: Place) -> str:
        """Read a string."""
        if isinstance(value, str) and re.fullmatch(self.pattern, value):
            return value
        place.mismatch(value, self.accepted)
        return ""


@dataclass(slots=True, frozen=True)
class ListOf(Generic[T]):
    """A reader of arrays of any length, each element of which *item* reads."""

    item: Reader[T]

    def __call__(self, value: object, place: Place) -> list[T]:
        """Read an array."""
        return [
            self.item(element, place.at(index)) for index, element in enumerate(array(value, place))
        ]


@dataclass(slots=True, frozen=True)
class Distinct(Generic[T]):
    """A reader of arrays of different elements, each of which *item* reads."""

    item: Reader[T]
    at_least: int = 0

    def __call__(self, value: object, place: Place) -> tuple[T, ...]:
        """Read an array."""
        elements = array(value, place)
        if isinstance(value, list) and len(elements) < self.at_least:
            place.mismatch(value, "an array with at least one element")
        found: list[T] = []
        for index, element in enumerate(elements):
            before = len(place.errors)
            one = self.item(element, place.at(index))
            if len(place.errors) == before:
                if one in found:
                    place.at(index).report(f"{shown(element)} for the second time")
                found.append(one)
        return tuple(found)
