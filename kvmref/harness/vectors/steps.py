# SPDX-License-Identifier: GPL-2.0-only
"""Reads the steps of vectors and starting points: TOML tables that name an operation.

The operations and their arguments are those of recordings (`kvmref.harness.notation.operations`),
with three differences: the operation is called ``do``, the one that a hook performs is called
``step``, and numbers can be written in every way that `kvmref.harness.vectors.values` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kvmref.harness.notation.operations import OPERATIONS
from kvmref.harness.vectors.names import names_of_argument, names_of_field, names_of_register
from kvmref.harness.vectors.reading import OneOf, Place, Reader, keys, table
from kvmref.harness.vectors.values import Integer, NamedNumbers, flag, integer
from kvmref.integers import Width
from kvmref.kernel.linux_3_3.vmx.vmcs12 import VMCS12_MEMBERS
from kvmref.machine.keys import GPR_NAMES
from kvmref.machine.steps import SETTABLE, Destroy, Dump, Enter, Step, WriteVmcs12
from kvmref.processor.scripted import CPUS
from kvmref.processor.vmcs_fields import FIELD_MASKS, VMCS_FIELDS
from kvmref.trace import EVENTS, POINTS

DEEPEST_HOOK: Final = 4
"""How many hooks can stand in one another."""


@dataclass(slots=True, frozen=True)
class StoreVmcs12:
    """Make the guest page that contains *gpa* the vmcs12 that the file describes.

    It is what ``vmcs12`` without ``fields`` and ``zero`` stands for until the members are known.
    """

    gpa: int

    def storing(self, members: Mapping[str, int]) -> WriteVmcs12:
        """Return the step that stores *members*."""
        return WriteVmcs12(self.gpa, dict(members), zero=True)


read_members: Final = NamedNumbers(
    "member of struct vmcs12",
    {name: integer(Width(8 * size), names_of_field(name)) for name, size in VMCS12_MEMBERS.items()},
)
"""The reader of members of ``struct vmcs12``, by name."""

VMCS_FIELD_VALUES: Final = NamedNumbers(
    "VMCS field",
    {
        name: Integer(0, FIELD_MASKS[encoding], names_of_field(name))
        for name, encoding in VMCS_FIELDS.items()
    },
)
"""The reader of fields of a VMCS, by name."""

_REGISTERS: Final = {
    name: integer(Width(64), names_of_register(name))
    for name in (*GPR_NAMES, "rip", "rflags", "cr2")
}
_LEFT_BY_GUEST: Final = {*GPR_NAMES, "cr2"} - {"rsp"}


def read_vmcs_fields(value: object, place: Place) -> dict[int, int]:
    """Read fields of a VMCS, by name, and return them by encoding."""
    return {VMCS_FIELDS[name]: field for name, field in VMCS_FIELD_VALUES(value, place).items()}


_STEERING: Final = integer(Width(8))

_OF_THEIR_OWN: Final[dict[tuple[str, str], Reader[object]]] = {
    ("alloc_fail", "what"): OneOf("kind of allocation", ("vmcs", "item")),
    ("at", "event"): OneOf("event or point", (*EVENTS, *POINTS)),
    ("clear_request", "bit"): Integer(0, 63, names_of_argument("clear_request", "bit")),
    ("exit", "emul"): _STEERING,
    ("exit", "fields"): read_vmcs_fields,
    ("exit", "pf"): _STEERING,
    ("exit", "regs"): NamedNumbers(
        "register that a guest can leave changed",
        {name: reader for name, reader in _REGISTERS.items() if name in _LEFT_BY_GUEST},
    ),
    ("mem", "size"): OneOf("size", (1, 4, 8)),
    ("poke12", "fields"): read_members,
    ("reg", "regs"): NamedNumbers("register", _REGISTERS),
    ("request", "bit"): Integer(0, 63, names_of_argument("request", "bit")),
    ("sched", "cpu"): Integer(0, CPUS - 1),
    ("set", "values"): NamedNumbers(
        "variable", {name: integer(Width(width)) for name, width in SETTABLE.items()}
    ),
    ("vmcs", "fields"): read_vmcs_fields,
    ("vmcs12", "fields"): read_members,
}
"""Arguments whose type doesn't say everything about them."""


def _readers(name: str) -> dict[str, Reader[object]]:
    """Return how to read each argument of the operation *name*, under the key of a vector."""
    readers: dict[str, Reader[object]] = {}
    for argument, known in OPERATIONS[name].arguments.items():
        own = _OF_THEIR_OWN.get((name, argument))
        if (name, argument) == HOOKED:
            continue
        if own is not None:
            readers[argument] = own
        elif known.width is not None:
            readers[argument] = integer(known.width, names_of_argument(name, argument))
        else:
            readers[argument] = flag
    return readers


HOOKED: Final = ("at", "do")
"""The argument that is a step itself; vectors call it ``step``."""

ARGUMENTS: Final = {name: _readers(name) for name in OPERATIONS}
"""How to read the arguments of each operation, without the step of a hook."""

OPERATION: Final = OneOf("operation", tuple(OPERATIONS))
"""The reader of the name of an operation."""


def read_step(
    value: object, place: Place, besides: tuple[str, ...] = (), depth: int = 0
) -> Step | StoreVmcs12:
    """Read a step; keys that are *besides* it belong to somebody else."""
    given = table(value, place)
    if "do" not in given:
        if isinstance(value, dict):
            place.report("missing do", "the name of an operation, such as enter")
        return Dump()
    errors = len(place.errors)
    name = OPERATION(given["do"], place.at("do"))
    if len(place.errors) > errors:
        return Dump()
    readers = ARGUMENTS[name]
    has_hook = name == HOOKED[0]
    keys(
        given,
        ("do", *readers, *(["step"] if has_hook else []), *besides),
        required_arguments(name),
        place,
    )
    arguments: dict[str, object] = {
        key: reader(given[key], place.at(key)) for key, reader in readers.items() if key in given
    }
    if has_hook and "step" in given:
        arguments[HOOKED[1]] = _read_hook(given["step"], place.at("step"), depth)
    if len(place.errors) > errors:
        return Dump()
    step = OPERATIONS[name].make(**arguments)
    if isinstance(step, WriteVmcs12) and "fields" not in given and "zero" not in given:
        return StoreVmcs12(step.gpa)
    return step


def required_arguments(name: str) -> list[str]:
    """Return the arguments that the operation *name* must have, as vectors call them."""
    return [
        "step" if (name, argument) == HOOKED else argument
        for argument, known in OPERATIONS[name].arguments.items()
        if known.required
    ]


def _read_hook(value: object, place: Place, depth: int) -> Step:
    """Read the step that a hook performs."""
    if depth == DEEPEST_HOOK:
        place.report("too many hooks in one another", f"{DEEPEST_HOOK} at most")
        return Dump()
    errors = len(place.errors)
    step = read_step(value, place, depth=depth + 1)
    if len(place.errors) > errors:
        return Dump()
    if isinstance(step, StoreVmcs12):
        place.report("missing fields", "fields or zero, in a hook")
        return Dump()
    if isinstance(step, Enter | Dump | Destroy):
        place.report("an operation with results in a hook", "any but enter, dump and destroy")
    return step
