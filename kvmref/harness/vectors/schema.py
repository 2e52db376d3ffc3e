# SPDX-License-Identifier: GPL-2.0-only
"""The JSON Schema of vectors and starting points, made from the readers that load them.

It is for editors: completion, and most mistakes underlined while typing. The loader knows more than
a schema can say, and has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kvmref.harness.protocol.schemas import Schema, closed, enumerated, integer, list_of
from kvmref.harness.vectors import loader, starting_points
from kvmref.harness.vectors.expectations import (
    BYTES,
    EVENT,
    NONE,
    RETURN,
    all_keys,
    argument_reader,
    can_be_none,
    read_bytes,
    value_reader,
)
from kvmref.harness.vectors.names import EVENT_PARTS, Names, names_of_key
from kvmref.harness.vectors.reading import Distinct, ListOf, OneOf, Reader, Words
from kvmref.harness.vectors.starting_points import FORMAT, read_setup
from kvmref.harness.vectors.steps import (
    ARGUMENTS,
    HOOKED,
    VMCS_FIELD_VALUES,
    read_members,
    read_vmcs_fields,
    required_arguments,
)
from kvmref.harness.vectors.values import (
    EVENT_TYPE,
    EVENT_VECTOR,
    HEXADECIMAL,
    LARGEST_INTEGER,
    Integer,
    NamedNumbers,
    Row,
    flag,
)
from kvmref.trace import EVENTS

_TEXT: Final[Schema] = {"type": "string", "pattern": r"\S"}

_HEXADECIMAL: Final[Schema] = {"type": "string", "pattern": f"^{HEXADECIMAL}$"}


def vector_schema() -> Schema:
    """Return the schema of files of format 1: one definition for vectors, one for starting points.

    A file with ``doc`` is a starting point.
    """
    schemas = _Schemas()
    definitions = {
        "vector": schemas.vector(),
        "starting-point": schemas.starting_point(),
        "setup": schemas.named(read_setup),
        "vmcs12": schemas.named(read_members),
        "vmcs-fields": schemas.named(VMCS_FIELD_VALUES),
        "operation": {"oneOf": [schemas.operation(name, {}) for name in ARGUMENTS]},
        "step": {"oneOf": [schemas.step(name) for name in ARGUMENTS]},
        "values": {
            **closed({key: schemas.value(key) for key in all_keys()}),
            "minProperties": 1,
        },
        "pattern": schemas.pattern(),
        "interruption-information": schemas.event(),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Vectors and starting points of kvmref, format {FORMAT}",
        "if": {"required": ["doc"]},
        "then": _reference("starting-point"),
        "else": _reference("vector"),
        "$defs": {**definitions, **schemas.numbers},
    }


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


class _Schemas:
    """Makes schemas of readers. Numbers, of which there are many alike, become references."""

    def __init__(self) -> None:
        self.numbers: dict[str, Schema] = {}
        """What the references to numbers refer to."""

    def vector(self) -> Schema:
        """Return the schema of vectors."""
        properties: dict[str, Schema] = {
            "format": {"const": FORMAT},
            "title": _TEXT,
            "why": _TEXT,
            "reason": _TEXT,
            "level": self.of(loader.LEVEL),
            "kernels": self.of(loader.KERNELS_READER),
            "functions": self.of(loader.FUNCTIONS),
            "flags": self.of(loader.FLAGS),
            "start": self.of(starting_points.POINT),
            "commits": self.of(loader.COMMITS),
            "setup": _reference("setup"),
            "vmcs12": _reference("vmcs12"),
            "step": {**list_of(_reference("step")), "minItems": 1},
        }
        return closed(properties, loader.REQUIRED)

    def starting_point(self) -> Schema:
        """Return the schema of starting points."""
        properties: dict[str, Schema] = {
            "format": {"const": FORMAT},
            "title": _TEXT,
            "doc": _TEXT,
            "based_on": self.of(starting_points.POINT),
            "setup": _reference("setup"),
            "vmcs12": _reference("vmcs12"),
            "step": list_of(_reference("operation")),
        }
        return closed(properties, starting_points.REQUIRED)

    def step(self, name: str) -> Schema:
        """Return the schema of a vector's step that does the operation *name*."""
        log: Schema = {**list_of(_reference("pattern")), "minItems": 1}
        expectations = {"values": _reference("values"), "log": log, "never": log}
        if name == "enter":
            expectations["ret"] = self.of(RETURN)
        expect = {**closed(expectations), "minProperties": 1}
        return self.operation(name, {"note": _TEXT, "expect": expect})

    def operation(self, name: str, besides: Mapping[str, Schema]) -> Schema:
        """Return the schema of a table with the operation *name*, and other keys *besides*."""
        arguments = {key: self.of(reader) for key, reader in ARGUMENTS[name].items()}
        if name == HOOKED[0]:
            arguments["step"] = _reference("operation")
        properties: dict[str, Schema] = {"do": {"const": name}, **arguments, **besides}
        return closed(properties, ["do", *required_arguments(name)])

    def pattern(self) -> Schema:
        """Return the schema of patterns of the log."""
        patterns = [
            closed(
                {
                    "event": {"const": name},
                    **{argument: self.of(argument_reader(name, argument)) for argument in kinds},
                },
                ["event"],
            )
            for name, kinds in EVENTS.items()
        ]
        return {"anyOf": [self.of(EVENT), *patterns]}

    def value(self, key: str) -> Schema:
        """Return the schema of what can be expected of an observation key."""
        reader = value_reader(key)
        forms = [] if reader is None else [self.of(reader)]
        names = names_of_key(key)
        if names.flags:
            flags = self._flags(names)
            forms.append({**closed({"set": flags, "clear": flags}), "minProperties": 1})
        if can_be_none(key):
            forms.append({"const": NONE})
        return _any(forms)

    def of(self, reader: Reader[object]) -> Schema:
        """Return the schema of what *reader* accepts."""
        match reader:
            case Integer():
                return self._number(reader)
            case OneOf():
                return enumerated(reader.choices)
            case Words():
                return {"type": "string", "pattern": f"^(?:{reader.pattern})$"}
            case Distinct():
                least = {"minItems": reader.at_least} if reader.at_least else {}
                return {**list_of(self.of(reader.item)), "uniqueItems": True, **least}
            case ListOf():
                return list_of(self.of(reader.item))
            case Row():
                columns = [self.of(column) for column in reader.columns]
                row: Schema = {"type": "array", "prefixItems": columns, "items": False}
                return {**row, "minItems": len(columns)}
            case NamedNumbers():
                return _reference("vmcs12") if reader is read_members else self.named(reader)
        return _OF_FUNCTIONS[reader]

    def named(self, reader: NamedNumbers) -> Schema:
        """Return the schema of a table of numbers."""
        properties = {name: self.of(number) for name, number in reader.readers.items()}
        return closed(properties, reader.readers if reader.complete else ())

    def event(self) -> Schema:
        """Return the schema of interruption information by its parts."""
        parts = dict.fromkeys(EVENT_PARTS, _OF_FUNCTIONS[flag])
        properties = {"type": self.of(EVENT_TYPE), "vector": self.of(EVENT_VECTOR), **parts}
        nmi: Schema = {"properties": {"type": {"const": "NMI"}}}
        return {**closed(properties, ["type"]), "anyOf": [nmi, {"required": ["vector"]}]}

    def _number(self, reader: Integer) -> Schema:
        """Return a reference to the schema of the ways in which a number is written."""
        names = reader.names
        forms = [integer(reader.minimum, min(reader.maximum, LARGEST_INTEGER)), _HEXADECIMAL]
        if names.choices:
            forms.append(enumerated(names.choices))
        if names.flags:
            forms.append(_combination(names.all))
        if names.event:
            forms.append(_reference("interruption-information"))
        return self._defined(f"{names.what} {reader.minimum:x} {reader.maximum:x}", _any(forms))

    def _flags(self, names: Names) -> Schema:
        """Return a reference to the schema of arrays of flags."""
        return self._defined(f"array of {names.what}", _combination(names.flags))

    def _defined(self, words: str, schema: Schema) -> Schema:
        """Return a reference to *schema*, which is called by *words*."""
        name = re.sub("[^a-z0-9]+", "-", words.lower())
        self.numbers[name] = schema
        return _reference(name)


def _combination(names: Mapping[str, int]) -> Schema:
    """Return the schema of arrays of names and numbers."""
    return list_of(_any([enumerated(names), integer(0, LARGEST_INTEGER), _HEXADECIMAL]))


def _any(forms: list[Schema]) -> Schema:
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


_OF_FUNCTIONS: Final[dict[Reader[object], Schema]] = {
    flag: enumerated([False, True, 0, 1]),
    read_bytes: {"type": "string", "pattern": f"^(?:{BYTES.pattern})$"},
    read_vmcs_fields: _reference("vmcs-fields"),
}
"""Schemas of the readers that are functions."""
