# SPDX-License-Identifier: GPL-2.0-only
"""The operations of a script as JSON objects, and the steps that they stand for.

An operation names a step and gives its arguments. It never says what came of the step: results are
for `kvmref.harness.recordings.recording`.

`OPERATIONS` is a table: name, step, and how each argument is spelled (decimal, hexadecimal, or a
reader of its own). Widths, defaults and flags are not repeated there; they come from the fields and
annotations of the step. The table is the reason why no structuring library (cattrs, say) is used:
types tell the width of an argument but not its spelling, which differs between arguments of the
same type, so that each one would need its own override there, and the overrides are this table.
Reading all 152 recordings takes less than two seconds, most of it in JSON and in the logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Final, get_args, get_type_hints

from kvmref.errors import InputError
from kvmref.harness.notation.values import (
    Reader,
    bits,
    flag,
    mismatch,
    number,
    number_between,
    obj,
    one_of,
    read_at,
    shown,
    width_of,
)
from kvmref.integers import Width
from kvmref.kernel.linux_3_3.vmx.vmcs12 import VMCS12_MEMBERS
from kvmref.machine.keys import GPR_NAMES
from kvmref.machine.steps import (
    SETTABLE,
    AllocFail,
    At,
    ClearExits,
    ClearHooks,
    ClearRequest,
    Destroy,
    Dump,
    Enter,
    Events,
    Exit,
    HostIrq,
    HostIrqNow,
    Irq,
    Kick,
    Ktime,
    Map,
    Mem,
    MmuFail,
    Nmi,
    PokeVmcs12,
    QueueException,
    Request,
    Resched,
    Sched,
    Set,
    Signal,
    Step,
    TimeFail,
    Tsc,
    Unmap,
    WriteRegisters,
    WriteVmcs,
    WriteVmcs12,
)
from kvmref.processor.scripted import CPUS, Outcome
from kvmref.processor.vmcs_fields import VMCS_FIELDS
from kvmref.trace import EVENTS, POINTS, Kind

_N: Final = Kind.NUMBER
_B: Final = Kind.BITS

_GPR_NUMBERS: Final = {name: index for index, name in enumerate(GPR_NAMES)}
_LEFT_BY_GUEST: Final = frozenset({*GPR_NAMES, "cr2"} - {"rsp"})
_WRITABLE: Final = frozenset({*GPR_NAMES, "rip", "rflags", "cr2"})
_PLACES: Final = frozenset({*EVENTS, *POINTS})
_SETTABLE_BITS: Final = frozenset({"cr8", "dr7", "guest_debug", "xcr0"})
_REQUESTS: Final = number_between(0, 63)

_u64: Final = bits(Width(64))


@dataclass(slots=True, frozen=True)
class Argument:
    """One argument of an operation."""

    read: Reader[object]
    required: bool
    kind: Kind | None = None
    """How a number is spelled; ``None`` for a flag, and for what has a reader of its own."""
    width: Width | None = None
    """How wide a number is, likewise."""


@dataclass(slots=True, frozen=True)
class Operation:
    """One kind of operation: its arguments by name, and what makes its step of them."""

    arguments: dict[str, Argument]
    make: Callable[..., Step]


def read_operation(given: Mapping[str, object], results: frozenset[str] = frozenset()) -> Step:
    """Return the step that *given* stands for; keys that are *results* are not looked at."""
    name = given.get("op")
    operation = OPERATIONS.get(name) if isinstance(name, str) else None
    if operation is None:
        problem = "missing op" if "op" not in given else f"unknown operation {shown(name)}"
        raise InputError(problem, ", ".join(OPERATIONS))
    known = operation.arguments
    arguments: dict[str, object] = {}
    for key, value in given.items():
        argument = known.get(key)
        if argument is not None:
            arguments[key] = read_at(key, argument.read, value)
        elif key != "op" and key not in results:
            raise InputError(f"{name}: unknown argument {shown(key)}", _accepted(known, results))
    for key, argument in known.items():
        if argument.required and key not in arguments:
            raise InputError(f"{name}: missing argument {key}", _accepted(known, results))
    return operation.make(**arguments)


def _accepted(known: Mapping[str, Argument], results: frozenset[str]) -> str:
    return ", ".join([*known, *sorted(results)]) or "no arguments"


def _named(known: Mapping[str, object] | frozenset[str], what: str) -> Reader[dict[str, int]]:
    """Return a reader of objects of 64-bit patterns, whose keys are *what* is *known*."""

    def read(value: object) -> dict[str, int]:
        values = {}
        for name, pattern in obj(value).items():
            if name not in known:
                raise mismatch(name, what)
            values[name] = read_at(name, _u64, pattern)
        return values

    return read


_vmcs_fields_by_name: Final = _named(
    VMCS_FIELDS, "the name of a VMCS field, such as GUEST_RIP, without *_HIGH"
)
_vmcs12_members: Final = _named(
    VMCS12_MEMBERS, "a member of struct vmcs12 that is no padding, such as guest_rip"
)
_registers_left: Final = _named(_LEFT_BY_GUEST, "rax to r15 without rsp, or cr2")
_registers_written: Final = _named(_WRITABLE, "rax to r15, rip, rflags or cr2")


def _vmcs_fields(value: object) -> dict[int, int]:
    return {VMCS_FIELDS[name]: field for name, field in _vmcs_fields_by_name(value).items()}


_SETTABLE_READERS: Final = {
    name: bits(Width(width)) if name in _SETTABLE_BITS else number(Width(width))
    for name, width in SETTABLE.items()
}


def _settable(value: object) -> dict[str, int]:
    values = {}
    for name, stored in obj(value).items():
        reader = _SETTABLE_READERS.get(name)
        if reader is None:
            raise mismatch(name, ", ".join(_SETTABLE_READERS))
        values[name] = read_at(name, reader, stored)
    return values


def _place(value: object) -> str:
    if isinstance(value, str) and value in _PLACES:
        return value
    raise mismatch(value, f"the name of an event of the log, or one of {', '.join(POINTS)}")


def _hooked(value: object) -> Step:
    step = read_operation(obj(value))
    if isinstance(step, Enter | Dump | Destroy):
        raise InputError("an operation with results in a hook", "any operation without results")
    return step


def _exit(*, regs: Mapping[str, int] | None = None, **rest: object) -> Exit:
    """Return the step that queues an outcome; CR2 stands among the registers in a script."""
    registers = dict(regs or {})
    cr2 = registers.pop("cr2", None)
    numbered = {_GPR_NUMBERS[name]: value for name, value in registers.items()}
    outcome: Callable[..., Outcome] = Outcome
    return Exit(outcome(regs=numbered, cr2=cr2, **rest))


def _is_flag(annotation: object) -> bool:
    return annotation is bool or bool in get_args(annotation)


def _arguments(
    source: type[Step | Outcome], spellings: Mapping[str, Kind | Reader[object]]
) -> dict[str, Argument]:
    """Return the arguments of an operation: fields of *source*, spelled as given.

    Flags need no spelling; a field of any other type without one is no argument.
    """
    annotations = get_type_hints(source, include_extras=True)
    arguments = {}
    for field in fields(source):
        annotation = annotations[field.name]
        spelling = spellings.get(field.name)
        width = width_of(annotation)
        if isinstance(spelling, Kind) and width is not None:
            read: Reader[object] = bits(width) if spelling is Kind.BITS else number(width)
        elif spelling is not None and not isinstance(spelling, Kind):
            read = spelling
        elif _is_flag(annotation):
            read = flag
        else:
            continue
        required = field.default is MISSING and field.default_factory is MISSING
        kind = spelling if isinstance(spelling, Kind) else None
        arguments[field.name] = Argument(read, required, kind, width if kind else None)
    return arguments


def _operation(step: type[Step], /, **spellings: Kind | Reader[object]) -> Operation:
    """Return the operation that performs *step*, and whose arguments are spelled as given."""
    return Operation(_arguments(step, spellings), step)


_STEERING: Final = number(Width(8))

_OUTCOME: Final[dict[str, Kind | Reader[object]]] = {
    "reason": _B,
    "qual": _B,
    "intr_info": _B,
    "intr_err": _B,
    "idt_info": _B,
    "idt_err": _B,
    "len": _B,
    "info": _B,
    "gpa": _B,
    "gla": _B,
    "fields": _vmcs_fields,
    "regs": _registers_left,
    "fail": _N,
    "emul": _STEERING,
    "pf": _STEERING,
    "pferr": _B,
}

OPERATIONS: Final[dict[str, Operation]] = {
    "alloc_fail": _operation(AllocFail, what=one_of("vmcs", "item")),
    "at": _operation(At, event=_place, count=_N, do=_hooked),
    "clear_exits": _operation(ClearExits),
    "clear_hooks": _operation(ClearHooks),
    "clear_request": _operation(ClearRequest, bit=_REQUESTS),
    "destroy": _operation(Destroy),
    "dump": _operation(Dump),
    "enter": _operation(Enter),
    "events": _operation(Events, shadow=_N),
    "exception": _operation(QueueException, vector=_N, err=_B),
    "exit": Operation(_arguments(Outcome, _OUTCOME), _exit),
    "host_irq": _operation(HostIrq),
    "host_irq_now": _operation(HostIrqNow),
    "irq": _operation(Irq, vector=_N),
    "kick": _operation(Kick),
    "ktime": _operation(Ktime, ns=_N),
    "map": _operation(Map, gva=_B),
    "mem": _operation(Mem, gpa=_B, size=one_of(1, 4, 8), value=_B),
    "mmu_fail": _operation(MmuFail),
    "nmi": _operation(Nmi),
    "poke12": _operation(PokeVmcs12, fields=_vmcs12_members),
    "reg": _operation(WriteRegisters, regs=_registers_written),
    "request": _operation(Request, bit=_REQUESTS),
    "resched": _operation(Resched),
    "sched": _operation(Sched, cpu=number_between(0, CPUS - 1)),
    "set": _operation(Set, values=_settable),
    "signal": _operation(Signal),
    "time_fail": _operation(TimeFail),
    "tsc": _operation(Tsc, value=_B),
    "unmap": _operation(Unmap, gva=_B),
    "vmcs": _operation(WriteVmcs, fields=_vmcs_fields),
    "vmcs12": _operation(WriteVmcs12, gpa=_B, fields=_vmcs12_members),
}
"""Every operation, by name."""
