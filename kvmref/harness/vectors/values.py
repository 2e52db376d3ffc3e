# SPDX-License-Identifier: GPL-2.0-only
"""Readers of numbers: written as integers, as ``"0x…"``, by names, or by their parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kvmref.harness.vectors.names import EVENT_PARTS, EVENT_TYPES, NO_NAMES, VECTORS, Names
from kvmref.harness.vectors.reading import OneOf, Place, Reader, array, keys, table, unknown
from kvmref.integers import U64, Width
from kvmref.kernel.linux_3_3.include.kvm_host import NMI_VECTOR

LARGEST_INTEGER: Final = (1 << 63) - 1
"""The largest integer that every TOML parser reads; what is larger is written as ``"0x…"``."""

HEXADECIMAL: Final = "0x[0-9a-fA-F]{1,16}"
"""What the string form of a number looks like."""

_HEXADECIMAL: Final = re.compile(HEXADECIMAL)


@dataclass(slots=True, frozen=True)
class Integer:
    """A reader of integers from *minimum* to *maximum*, which can also be written with *names*."""

    minimum: int
    maximum: int
    names: Names = NO_NAMES

    def __call__(self, value: object, place: Place) -> int:
        """Read an integer."""
        names = self.names
        match value:
            case bool():
                place.mismatch(value, self.accepted())
            case int() if value > LARGEST_INTEGER:
                place.mismatch(value, 'integers of 2^63 and more as a string "0x…"')
            case int() if self.minimum <= value <= self.maximum:
                return value
            case str() if _HEXADECIMAL.fullmatch(value):
                if self.minimum <= int(value, 16) <= self.maximum:
                    return int(value, 16)
                place.mismatch(value, self.accepted())
            case str() if names.choices:
                if value in names.choices:
                    return names.choices[value]
                unknown(names.what, value, names.choices, place)
            case list() if names.flags:
                return combined(value, names, self.maximum, place)
            case dict() if names.event:
                return event(value, place)
            case _:
                place.mismatch(value, self.accepted())
        return self.minimum

    def accepted(self) -> str:
        """Return what is accepted, for a message."""
        forms = [f"an integer from {_spelled(self.minimum)} to {_spelled(self.maximum)}"]
        if self.names.choices:
            forms.append(f"a name ({self.names.what})")
        if self.names.flags:
            forms.append(f"an array of names ({self.names.what})")
        if self.names.event:
            forms.append("a table with type, vector, error_code, unblock_nmi, valid")
        return ", or ".join(forms)


def _spelled(number: int) -> str:
    return str(number) if abs(number) < 1 << 16 else hex(number)


def integer(width: Width, names: Names = NO_NAMES) -> Integer:
    """Return the reader of integers of *width*."""
    return Integer(width.minimum, width.maximum, names)


def combined(value: object, names: Names, maximum: int, place: Place) -> int:
    """Read an array of names and numbers, and combine them."""
    known = names.all
    number = Integer(0, maximum)
    bits = 0
    chosen = ""
    for index, element in enumerate(array(value, place)):
        here = place.at(index)
        if not isinstance(element, str) or _HEXADECIMAL.fullmatch(element):
            bits |= number(element, here)
        elif element not in known:
            unknown(names.what, element, known, here)
        else:
            if element in names.choices:
                if chosen:
                    here.report(f"{element} besides {chosen}", f"one {names.what}")
                chosen = element
            bits |= known[element]
    return bits


def flag(value: object, place: Place) -> bool:
    """Read a flag."""
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    place.mismatch(value, "true, false, 1 or 0")
    return False


EVENT_TYPE: Final = OneOf("type of event", tuple(EVENT_TYPES))
"""The reader of the type of an event."""

EVENT_VECTOR: Final = integer(Width(8), Names("vector", choices=VECTORS))
"""The reader of the vector of an event."""


def event(value: object, place: Place) -> int:
    """Read interruption information by its parts."""
    parts = table(value, place)
    is_nmi = parts.get("type") == "NMI"
    keys(parts, ("type", "vector", *EVENT_PARTS), ["type"] if is_nmi else ["type", "vector"], place)
    info = 0
    if "type" in parts:
        info |= EVENT_TYPES[EVENT_TYPE(parts["type"], place.at("type"))]
    if "vector" in parts:
        info |= EVENT_VECTOR(parts["vector"], place.at("vector"))
    elif is_nmi:
        info |= NMI_VECTOR
    for part, mask in EVENT_PARTS.items():
        if flag(parts.get(part, part == "valid"), place.at(part)):
            info |= mask
    return info


@dataclass(slots=True, frozen=True)
class NamedNumbers:
    """A reader of tables of numbers: the names of *what*, and how to read the number of each."""

    what: str
    readers: Mapping[str, Reader[int]]
    complete: bool = False
    """Every name must be there."""

    def __call__(self, value: object, place: Place) -> dict[str, int]:
        """Read a table."""
        numbers: dict[str, int] = {}
        for name, number in table(value, place).items():
            reader = self.readers.get(name)
            if reader is None:
                unknown(self.what, name, self.readers, place.at(name))
            else:
                numbers[name] = reader(number, place.at(name))
        if self.complete and isinstance(value, dict):
            for name in self.readers:
                if name not in value:
                    place.report(f"missing {name}")
        return numbers


@dataclass(slots=True, frozen=True)
class Row:
    """A reader of arrays with one number for each of *columns*."""

    columns: tuple[Integer, ...]

    def __call__(self, value: object, place: Place) -> list[int]:
        """Read an array."""
        elements = array(value, place)
        if isinstance(value, list) and len(elements) != len(self.columns):
            place.report(f"an array of {len(elements)} elements", f"{len(self.columns)} elements")
            return []
        return [
            column(element, place.at(index))
            for index, (column, element) in enumerate(zip(self.columns, elements, strict=False))
        ]


@dataclass(slots=True, frozen=True)
class FlagStates:
    """A reader of which flags must be set and which must be clear, by *names*."""

    names: Names

    def __call__(self, value: object, place: Place) -> tuple[int, int]:
        """Read the bits that must be set, and those that must be clear."""
        given = table(value, place)
        keys(given, ("set", "clear"), (), place)
        names = Names(self.names.what, self.names.flags)
        required = combined(given.get("set", []), names, U64, place.at("set"))
        forbidden = combined(given.get("clear", []), names, U64, place.at("clear"))
        if required & forbidden:
            place.report(f"bits {required & forbidden:#x} both set and clear")
        if not given:
            place.report("neither set nor clear is given")
        return required, forbidden
