# SPDX-License-Identifier: GPL-2.0-only
"""Reads what a vector expects after a step: values of keys, and patterns of the log."""

from __future__ import annotations

from typing import Final

from kvmref.harness.implementations.interface import level_of
from kvmref.harness.notation.states import NULLABLE, shape_of
from kvmref.harness.notation.values import Shape
from kvmref.harness.vectors.model import EventPattern, Expectation, ExpectedValue
from kvmref.harness.vectors.names import Names, names_of_argument, names_of_key
from kvmref.harness.vectors.reading import (
    ListOf,
    OneOf,
    Place,
    Reader,
    Words,
    keys,
    member,
    table,
    unknown,
)
from kvmref.harness.vectors.steps import OPERATION
from kvmref.harness.vectors.values import FlagStates, Integer, NamedNumbers, Row, integer
from kvmref.integers import Width
from kvmref.kernel.linux_3_3.vmx.vmcs12 import VMCS12_MEMBERS
from kvmref.machine.keys import KEYS, Value
from kvmref.processor.vmcs_fields import FIELD_MASKS, VMCS_FIELDS
from kvmref.trace import EVENTS, Kind

NONE: Final = "none"
"""How a vector writes that a key has no value; TOML has no null."""

EXPECTATIONS: Final = ("ret", "values", "log", "never")
"""What can be expected."""

RETURN: Final = integer(Width(32, signed=True))
"""The reader of what ``enter`` returns."""

_VMCS: Final = OneOf("VMCS", ("01", "02"))
BYTES: Final = Words("(?:[0-9a-f]{2}){1,16}", "1 to 16 bytes in lower-case hexadecimal")
"""The reader of the contents of memory, before they become bytes."""

_NUMBERS: Final = {
    Kind.BITS: integer(Width(64)),
    Kind.NUMBER: integer(Width(64, signed=True)),
}


def _row(shape: tuple[Kind, ...]) -> Row:
    return Row(tuple(_NUMBERS[kind] for kind in shape))


def _members(shape: dict[str, Kind]) -> NamedNumbers:
    readers = {name: _NUMBERS[kind] for name, kind in shape.items()}
    return NamedNumbers("member", readers, complete=True)


def value_reader(key: str) -> Reader[Value] | None:
    """Return the reader of what *key* shows; ``None`` if there is no such key."""
    region, _, field = key.partition(".")
    names = names_of_key(key)
    if region == "vmcs12" and field in VMCS12_MEMBERS:
        return integer(Width(8 * VMCS12_MEMBERS[field]), names)
    if region in ("vmcs01", "vmcs02") and field in VMCS_FIELDS:
        return Integer(0, FIELD_MASKS[VMCS_FIELDS[field]], names)
    if key not in KEYS:
        return None
    if key == "irr":
        return ListOf(integer(Width(8)))
    return _reader_of_shape(shape_of(key), names)


def _reader_of_shape(shape: Shape, names: Names) -> Reader[Value]:
    match shape:
        case Kind.VMCS:
            return _VMCS
        case Kind():
            return integer(Width(64, signed=shape is Kind.NUMBER), names)
        case tuple():
            return _row(shape)
        case dict():
            return _members(shape)
    match shape[0]:
        case Kind() as kind:
            return ListOf(_NUMBERS[kind])
        case tuple() as kinds:
            return ListOf(_row(kinds))
        case dict() as members:
            return ListOf(_members(members))


def can_be_none(key: str) -> bool:
    """Tell whether *key* may have no value, because the thing that it is about isn't there."""
    return key in NULLABLE or key.startswith(("vmcs02.", "vmcs12."))


def all_keys() -> list[str]:
    """Return every observation key."""
    return [
        *KEYS,
        *(f"vmcs12.{member}" for member in VMCS12_MEMBERS),
        *(f"{region}.{field}" for region in ("vmcs01", "vmcs02") for field in VMCS_FIELDS),
    ]


def _read_value(key: str, value: object, place: Place) -> ExpectedValue:
    """Read what *key* must show."""
    reader = value_reader(key)
    if reader is None:
        if isinstance(value, dict) and any(name.startswith(f"{key}.") for name in all_keys()):
            place.mismatch(value, 'keys with dots in quotes, such as "vmx.exit_reason"')
        else:
            unknown("observation key", key, all_keys(), place)
        return ExpectedValue(0)
    if value == NONE and can_be_none(key):
        return ExpectedValue(None)
    names = names_of_key(key)
    if isinstance(value, dict) and names.flags:
        required, forbidden = FlagStates(names)(value, place)
        return ExpectedValue(required, required | forbidden)
    return ExpectedValue(reader(value, place))


def _read_values(value: object, place: Place, level: str) -> dict[str, ExpectedValue]:
    """Read what keys must show to an observer of *level*."""
    expected: dict[str, ExpectedValue] = {}
    if value == {}:
        place.mismatch(value, "at least one key")
    for key, given in table(value, place).items():
        here = place.quoted(key)
        errors = len(place.errors)
        expected[key] = _read_value(key, given, here)
        if len(place.errors) == errors and level == "l1" and level_of(key) != "l1":
            here.report("a key of level l0 in a vector of level l1", "keys of level l1")
    return expected


EVENT: Final = OneOf("event", tuple(EVENTS))
"""The reader of the name of an event."""


def _read_pattern(value: object, place: Place) -> EventPattern:
    """Read a pattern: the name of an event, or a table with some of its arguments."""
    given = {"event": value} if isinstance(value, str) else value
    if not isinstance(given, dict):
        place.mismatch(value, "the name of an event, or a table with event and arguments of it")
        return EventPattern("")
    if "event" not in given:
        place.report("missing event", "the name of an event")
        return EventPattern("")
    here = place if isinstance(value, str) else place.at("event")
    errors = len(place.errors)
    name = EVENT(given["event"], here)
    if len(place.errors) > errors:
        return EventPattern("")
    kinds = EVENTS[name]
    keys(given, ("event", *kinds), (), place)
    arguments = {
        argument: argument_reader(name, argument)(given[argument], place.at(argument))
        for argument in kinds
        if argument in given
    }
    return EventPattern(name, arguments)


def read_bytes(value: object, place: Place) -> bytes:
    """Read the contents of memory."""
    return bytes.fromhex(BYTES(value, place))


def argument_reader(event: str, argument: str) -> Reader[int | str | bytes]:
    """Return the reader of an *argument* of an *event* of a log."""
    kind = EVENTS[event][argument]
    if kind is Kind.VMCS:
        return _VMCS
    if kind is Kind.BYTES:
        return read_bytes
    return integer(Width(64, signed=kind is Kind.NUMBER), names_of_argument(event, argument))


def _read_log(value: object, place: Place) -> tuple[EventPattern, ...]:
    if value == []:
        place.mismatch(value, "at least one event")
    return tuple(ListOf(_read_pattern)(value, place))


def read_expectation(value: object, place: Place, level: str, operation: object) -> Expectation:
    """Read what an observer of *level* expects after a step that does *operation*."""
    given = table(value, place)
    keys(given, EXPECTATIONS, (), place)
    if isinstance(value, dict) and not given:
        place.report("nothing is expected", ", ".join(EXPECTATIONS))
    if level == "l1":
        for key in ("ret", "log", "never"):
            if key in given:
                place.at(key).report("only L0 sees it, and the level is l1", "values")
    if "ret" in given and operation in OPERATION.choices and operation != "enter":
        place.at("ret").report("only enter returns a value", "values, log, never")
    return Expectation(
        ret=member(given, "ret", RETURN, None, place),
        values=_read_values(given["values"], place.at("values"), level)
        if "values" in given
        else {},
        log=member(given, "log", _read_log, (), place),
        never=member(given, "never", _read_log, (), place),
    )
