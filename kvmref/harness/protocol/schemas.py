# SPDX-License-Identifier: GPL-2.0-only
"""JSON Schemas of what messages consist of, made from the same tables that read it.

Nobody validates with them here: messages are read strictly anyway. They are for those who write an
implementation in another language, and for their tools.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kvmref.harness.notation.operations import OPERATIONS, Argument
from kvmref.harness.notation.setups import SETUP_WIDTHS
from kvmref.harness.notation.states import NULLABLE, shape_of
from kvmref.harness.notation.steps import SETTABLE_BITS
from kvmref.harness.notation.values import Shape
from kvmref.integers import Width
from kvmref.kernel.linux_3_3.vmx.vmcs12 import VMCS12_MEMBERS
from kvmref.machine.keys import GPR_NAMES, KEYS
from kvmref.machine.steps import SETTABLE
from kvmref.processor.scripted import CPUS
from kvmref.processor.vmcs_fields import VMCS_FIELDS
from kvmref.trace import EVENTS, POINTS, Kind

Schema = dict[str, object]
"""A JSON Schema, draft 2020-12."""

REFERENCE_TO_SETUP: Final[Schema] = {"$ref": "#/$defs/setup"}
REFERENCE_TO_STEP: Final[Schema] = {"$ref": "#/$defs/step"}
REFERENCE_TO_VALUES: Final[Schema] = {"$ref": "#/$defs/values"}


def integer(minimum: int, maximum: int) -> Schema:
    """Return the schema of integers from *minimum* to *maximum*."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def pattern(bits: int) -> Schema:
    """Return the schema of bit patterns of so many *bits*; exact for multiples of four."""
    digits = (bits + 3) // 4
    more = f"[0-9a-f]{{0,{digits - 1}}}" if digits > 1 else ""
    first = "[1-9a-f]" if bits >= 4 else f"[1-{(1 << bits) - 1}]" if bits > 1 else "1"
    return {"type": "string", "pattern": f"^0x(0|{first}{more})$"}


def text() -> Schema:
    """Return the schema of strings."""
    return {"type": "string"}


def enumerated(values: Iterable[object]) -> Schema:
    """Return the schema of what is one of *values*."""
    return {"enum": list(values)}


def list_of(item: Schema) -> Schema:
    """Return the schema of arrays of *item*, of any length."""
    return {"type": "array", "items": item}


def closed(properties: dict[str, Schema], required: Iterable[str] = ()) -> Schema:
    """Return the schema of objects with these *properties* and no others."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if needed := list(required):
        schema["required"] = needed
    return schema


def named_patterns(names: Iterable[str]) -> Schema:
    """Return the schema of objects that give some of *names* 64-bit patterns."""
    return {
        "type": "object",
        "propertyNames": enumerated(names),
        "additionalProperties": pattern(64),
    }


def of_shape(shape: Shape) -> Schema:
    """Return the schema of values of *shape*."""
    match shape:
        case Kind.BITS:
            return pattern(64)
        case Kind.VMCS:
            return enumerated(["01", "02"])
        case Kind.BYTES:
            return {"type": "string", "pattern": "^([0-9a-f]{2}){1,16}$"}
        case Kind.NUMBER:
            return integer(-(2**63), 2**63 - 1)
        case tuple():
            return _row([of_shape(kind) for kind in shape])
        case dict():
            return closed({name: of_shape(kind) for name, kind in shape.items()}, shape)
        case list():
            return list_of(of_shape(shape[0]))


def _row(items: list[Schema]) -> Schema:
    """Return the schema of arrays that have exactly these *items*."""
    return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}


def _event(name: str, arguments: dict[str, Kind]) -> Schema:
    if not arguments:
        return {"const": name}
    if name == "vmentry":
        return _row([{"const": name}, of_shape(dict(arguments))])
    return _row([{"const": name}, *(of_shape(kind) for kind in arguments.values())])


NUMBER_32: Final = integer(-(2**31), 2**31 - 1)
"""The schema of what ``enter`` returns."""

KEY_NAMES: Final[Schema] = {
    "anyOf": [
        enumerated(KEYS),
        {"type": "string", "pattern": r"^vmcs0[12]\.[A-Z0-9_]+$"},
        {"type": "string", "pattern": r"^vmcs12\.[a-z0-9_]+$"},
    ]
}
"""The schema of observation keys."""

LOG: Final = list_of({"$ref": "#/$defs/event"})
"""The schema of logs."""

_STEERING: Final = integer(0, 255)
_LEFT: Final = [*(name for name in GPR_NAMES if name != "rsp"), "cr2"]

_OF_THEIR_OWN: Final[dict[tuple[str, str], Schema]] = {
    ("alloc_fail", "what"): enumerated(["vmcs", "item"]),
    ("at", "do"): REFERENCE_TO_STEP,
    ("at", "event"): enumerated([*EVENTS, *POINTS]),
    ("clear_request", "bit"): integer(0, 63),
    ("exit", "emul"): _STEERING,
    ("exit", "fields"): named_patterns(VMCS_FIELDS),
    ("exit", "pf"): _STEERING,
    ("exit", "regs"): named_patterns(_LEFT),
    ("mem", "size"): enumerated([1, 4, 8]),
    ("poke12", "fields"): named_patterns(VMCS12_MEMBERS),
    ("reg", "regs"): named_patterns([*GPR_NAMES, "rip", "rflags", "cr2"]),
    ("request", "bit"): integer(0, 63),
    ("sched", "cpu"): integer(0, CPUS - 1),
    ("set", "values"): closed(
        {
            name: pattern(width) if name in SETTABLE_BITS else integer(0, (1 << width) - 1)
            for name, width in SETTABLE.items()
        }
    ),
    ("vmcs", "fields"): named_patterns(VMCS_FIELDS),
    ("vmcs12", "fields"): named_patterns(VMCS12_MEMBERS),
}
"""Arguments whose readers are their own."""


def _argument(operation: str, name: str, argument: Argument) -> Schema:
    own = _OF_THEIR_OWN.get((operation, name))
    if own is not None:
        return own
    width = argument.width
    if width is None:
        return enumerated([0, 1, False, True])
    if argument.kind is Kind.BITS:
        return pattern(width.maximum.bit_length())
    return integer(width.minimum, width.maximum)


def step() -> Schema:
    """Return the schema of steps."""
    return {
        "oneOf": [
            closed(
                {
                    "op": {"const": name},
                    **{
                        argument: _argument(name, argument, known)
                        for argument, known in operation.arguments.items()
                    },
                },
                ["op", *(a for a, known in operation.arguments.items() if known.required)],
            )
            for name, operation in OPERATIONS.items()
        ]
    }


def setup() -> Schema:
    """Return the schema of setups."""
    members = {name: pattern(_bits(width)) for name, width in SETUP_WIDTHS.items()}
    return closed(members, members)


def _bits(width: Width) -> int:
    return width.maximum.bit_length()


def event() -> Schema:
    """Return the schema of the items of a log."""
    return {"oneOf": [_event(name, arguments) for name, arguments in EVENTS.items()]}


def values() -> Schema:
    """Return the schema of observed values."""
    absent: Schema = {"anyOf": [pattern(64), {"type": "null"}]}
    known = {key: of_shape(shape_of(key)) for key in KEYS}
    nullable: dict[str, Schema] = {
        key: {"anyOf": [known[key], {"type": "null"}]} for key in known if key in NULLABLE
    }
    fields = {
        f"{region}.{name}": absent
        for region, names in (
            ("vmcs01", VMCS_FIELDS),
            ("vmcs02", VMCS_FIELDS),
            ("vmcs12", VMCS12_MEMBERS),
        )
        for name in names
    }
    return closed({**known, **nullable, **fields})
