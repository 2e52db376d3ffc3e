# SPDX-License-Identifier: GPL-2.0-only
"""How values are written in files: the spelling of numbers, bit patterns and events in JSON.

Counters, flags, vectors and numbers of CPUs are JSON integers. Bit patterns (registers, addresses,
masks, fields of a VMCS) are strings, exactly as Python's ``hex()`` writes them. An event is a
string, or an array that starts with its name.

A *reader* takes a value as the JSON parser returns it and gives the typed value, or raises
`InputError` with what is accepted. What writes never fails, whatever the value: it is for messages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Final, TypeVar, Union, get_args, get_origin

from kvmref.errors import InputError
from kvmref.integers import Width
from kvmref.machine.keys import Value
from kvmref.trace import EVENTS, Event, Kind

T = TypeVar("T")

Reader = Callable[[object], T]
"""What makes a typed value of a JSON value."""

Row = Kind | tuple[Kind, ...] | dict[str, Kind]
"""What a value consists of that is no list: one scalar; an array with one element for each of a
tuple; an object with these members."""

Shape = Row | list[Row]
"""What a value consists of; the elements of an array of any length are like the only one here."""

_EVENTS_OF_OBJECTS: Final = frozenset({"vmentry"})
"""Events whose arguments are written as one object with their names, not one after the other."""

_BARE: Final = {name: name for name, arguments in EVENTS.items() if not arguments}

_LONGEST: Final = 60
"""How many characters of a wrong value a message shows."""

_LONGEST_BYTES: Final = 16
"""The most bytes that one event carries."""


def number(width: Width) -> Reader[int]:
    """Return a reader of integers of *width*, written in decimal."""
    return number_between(width.minimum, width.maximum)


def number_between(minimum: int, maximum: int) -> Reader[int]:
    """Return a reader of integers from *minimum* to *maximum*, written in decimal."""

    def read(value: object) -> int:
        # A truth value is an int of Python, but not a number of JSON.
        if type(value) is not int or not minimum <= value <= maximum:
            raise mismatch(value, f"an integer from {minimum} to {maximum}")
        return value

    return read


def bits(width: Width) -> Reader[int]:
    """Return a reader of bit patterns of *width*, written in hexadecimal."""
    maximum = width.maximum

    def read(value: object) -> int:
        if isinstance(value, str):
            try:
                pattern = int(value, 16)
            except ValueError:
                pattern = -1
            if 0 <= pattern <= maximum and hex(pattern) == value:
                return pattern
        raise mismatch(value, f'a string "0x…" in lower case, "0x0" to "{maximum:#x}"')

    return read


def flag(value: object) -> bool:
    """Read a flag: 0 or 1, or a truth value of JSON."""
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise mismatch(value, "0 or 1")


def one_of(*choices: T) -> Reader[T]:
    """Return a reader that accepts nothing but *choices*."""
    accepted = ", ".join(json.dumps(choice) for choice in choices)

    def read(value: object) -> T:
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return choice
        raise mismatch(value, accepted)

    return read


def obj(value: object) -> dict[str, object]:
    """Read an object, whatever it contains."""
    if isinstance(value, dict):
        return value
    raise mismatch(value, "an object")


def array(value: object) -> list[object]:
    """Read an array, whatever it contains."""
    if isinstance(value, list):
        return value
    raise mismatch(value, "an array")


def nullable(item: Reader[T]) -> Reader[T | None]:
    """Return a reader of ``null``, and of what *item* reads."""

    def read(value: object) -> T | None:
        return None if value is None else item(value)

    return read


def reader_of(shape: Shape) -> Reader[Value]:
    """Return the reader of values of *shape*."""
    match shape:
        case Kind.VMCS:
            return _vmcs
        case Kind():
            return _INTEGERS[shape]
        case tuple():
            return _tuple_of(shape)
        case dict():
            return _object_of(shape)
    match shape[0]:
        case Kind() as kind:
            return _array_of(_INTEGERS[kind])
        case tuple() as kinds:
            return _array_of(_tuple_of(kinds))
        case dict() as members:
            return _array_of(_object_of(members))


def spelled(shape: Shape, value: object) -> object:
    """Return the JSON value that stands for *value*, or *value* if it isn't of that *shape*."""
    if shape is Kind.BITS and isinstance(value, int):
        return hex(value)
    if shape is Kind.BYTES and isinstance(value, bytes):
        return value.hex()
    if isinstance(shape, dict) and isinstance(value, dict) and shape.keys() == value.keys():
        return {name: spelled(member, value[name]) for name, member in shape.items()}
    if isinstance(shape, list) and isinstance(value, list):
        return [spelled(shape[0], item) for item in value]
    if isinstance(shape, tuple) and isinstance(value, list) and len(shape) == len(value):
        return [spelled(kind, item) for kind, item in zip(shape, value, strict=True)]
    return value


def _array_of(item: Reader[T]) -> Reader[list[T]]:
    def read(value: object) -> list[T]:
        return [read_at(index, item, element) for index, element in enumerate(array(value))]

    return read


def _tuple_of(kinds: tuple[Kind, ...]) -> Reader[list[int]]:
    readers = [_INTEGERS[kind] for kind in kinds]

    def read(value: object) -> list[int]:
        elements = array(value)
        if len(elements) != len(readers):
            raise mismatch(value, f"an array of {len(readers)} elements")
        return [
            read_at(index, reader, element)
            for index, (reader, element) in enumerate(zip(readers, elements, strict=True))
        ]

    return read


def _object_of(members: dict[str, Kind]) -> Reader[dict[str, int]]:
    readers = {name: _INTEGERS[kind] for name, kind in members.items()}

    def read(value: object) -> dict[str, int]:
        given = obj(value)
        require_keys(given, readers, "an object of the array")
        return {name: read_at(name, reader, given[name]) for name, reader in readers.items()}

    return read


def read_at(key: str | int, reader: Reader[T], value: object) -> T:
    """Read *value*, which an object or an array has at *key*."""
    try:
        return reader(value)
    except InputError as error:
        raise error.within(key) from None


def width_of(annotation: object) -> Width | None:
    """Return the width that an annotation such as ``u8`` or ``u8 | None`` carries."""
    if get_origin(annotation) in (Union, UnionType):
        return next((width for arm in get_args(annotation) if (width := width_of(arm))), None)
    metadata = getattr(annotation, "__metadata__", ())
    return next((item for item in metadata if isinstance(item, Width)), None)


def require_keys(given: Mapping[str, object], known: Mapping[str, object], what: str) -> None:
    """Raise `InputError` unless *given* has exactly the keys that are *known* of *what*."""
    unknown = [name for name in given if name not in known]
    missing = [name for name in known if name not in given]
    if unknown or missing:
        problems = []
        if unknown:
            problems.append(f"unknown {_quoted(unknown)}")
        if missing:
            problems.append(f"missing {_quoted(missing)}")
        raise InputError(f"{what}: {', '.join(problems)}", f"exactly {', '.join(known)}")


def mismatch(value: object, accepted: str) -> InputError:
    """Return the error that says that *value* was found where something else is *accepted*."""
    return InputError(f"found {shown(value)}", accepted)


def shown(value: object) -> str:
    """Return *value* for a message: as JSON on one line, not too long, in plain ASCII."""
    return shortened(json.dumps(value, default=repr), _LONGEST)


def shortened(text: str, longest: int) -> str:
    """Return *text*, cut so that it has no more than *longest* characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _quoted(names: list[str]) -> str:
    return shortened(", ".join(json.dumps(name) for name in names), 4 * _LONGEST)


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        try:
            contents = bytes.fromhex(value)
        except ValueError:
            contents = b""
        if contents and len(contents) <= _LONGEST_BYTES and contents.hex() == value:
            return contents
    raise mismatch(value, f"a string of 1 to {_LONGEST_BYTES} bytes in lower-case hexadecimal")


_vmcs: Final[Reader[str]] = one_of("01", "02")

_INTEGERS: Final[dict[Kind, Reader[int]]] = {
    Kind.NUMBER: number(Width(64, signed=True)),
    Kind.BITS: bits(Width(64)),
}

_KINDS: Final[dict[Kind, Reader[int | str | bytes]]] = {
    **_INTEGERS,
    Kind.BYTES: _bytes,
    Kind.VMCS: _vmcs,
}

_ARGUMENTS: Final = {
    name: {argument: _KINDS[kind] for argument, kind in arguments.items()}
    for name, arguments in EVENTS.items()
    if arguments
}


def read_event(value: object) -> Event:
    """Read an item of a log."""
    if isinstance(value, str):
        bare = _BARE.get(value)
        if bare is not None:
            return bare
        raise mismatch(value, "the name of an event, with its arguments in an array if it has some")
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        raise mismatch(value, "a string, or an array that starts with a string")
    name = value[0]
    readers = _ARGUMENTS.get(name)
    if readers is None:
        raise mismatch(value, "the name of an event that has arguments, at the start of an array")
    arguments: list[object] = value[1:]
    if name in _EVENTS_OF_OBJECTS:
        if len(arguments) != 1:
            raise mismatch(value, f"{name} with one object")
        named = obj(arguments[0])
        if named.keys() != readers.keys():
            require_keys(named, readers, name)
        arguments = [named[argument] for argument in readers]
    elif len(arguments) != len(readers):
        raise mismatch(value, f"{name} with {', '.join(readers)}")
    event: list[str | int | bytes] = [name]
    given = iter(arguments)
    for argument, reader in readers.items():
        try:
            event.append(reader(next(given)))
        except InputError as error:
            raise error.within(argument) from None
    return tuple(event)


def read_log(value: object) -> list[Event]:
    """Read a log."""
    log: list[Event] = []
    for item in array(value):
        try:
            log.append(read_event(item))
        except InputError as error:
            raise error.within(len(log)) from None
    return log


def write_event(event: Event) -> str:
    """Return *event* as it is written in a log."""
    return json.dumps(spelled_event(event), default=repr, separators=(",", ":"))


def spelled_event(event: Event) -> object:
    """Return the JSON value that stands for *event*, or *event* if there is no such event."""
    if isinstance(event, str):
        return event
    name, *values = event
    kinds = EVENTS.get(str(name), {})
    if len(kinds) != len(values):
        return event
    spellings = [
        hex(value) if kind is Kind.BITS and isinstance(value, int) else spelled(kind, value)
        for kind, value in zip(kinds.values(), values, strict=True)
    ]
    if name in _EVENTS_OF_OBJECTS:
        return [name, dict(zip(kinds, spellings, strict=True))]
    return [name, *spellings]
