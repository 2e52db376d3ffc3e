# SPDX-License-Identifier: GPL-2.0-only
"""Steps as JSON objects, in the notation of the operations of recordings.

The inverse of `kvmref.harness.notation.operations.read_operation`. How an argument is spelled is in
the table there; an argument that has its default value is not written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Final

from kvmref.harness.notation.operations import OPERATIONS
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
from kvmref.processor.scripted import Outcome
from kvmref.processor.vmcs_fields import VMCS_FIELDS
from kvmref.trace import Kind

STEP_NAMES: Final[dict[type[Step], str]] = {
    AllocFail: "alloc_fail",
    At: "at",
    ClearExits: "clear_exits",
    ClearHooks: "clear_hooks",
    ClearRequest: "clear_request",
    Destroy: "destroy",
    Dump: "dump",
    Enter: "enter",
    Events: "events",
    Exit: "exit",
    HostIrq: "host_irq",
    HostIrqNow: "host_irq_now",
    Irq: "irq",
    Kick: "kick",
    Ktime: "ktime",
    Map: "map",
    Mem: "mem",
    MmuFail: "mmu_fail",
    Nmi: "nmi",
    PokeVmcs12: "poke12",
    QueueException: "exception",
    Request: "request",
    Resched: "resched",
    Sched: "sched",
    Set: "set",
    Signal: "signal",
    TimeFail: "time_fail",
    Tsc: "tsc",
    Unmap: "unmap",
    WriteRegisters: "reg",
    WriteVmcs: "vmcs",
    WriteVmcs12: "vmcs12",
}
"""The operation that stands for each kind of step."""

_FIELD_NAMES: Final = {encoding: name for name, encoding in VMCS_FIELDS.items()}

SETTABLE_BITS: Final = frozenset(name for name, width in SETTABLE.items() if width == 64)
"""Variables of ``set`` that are bit patterns; the others are numbers."""

Written = dict[str, object]
"""An operation, as an object of JSON."""


@dataclass(slots=True, frozen=True)
class _Writer:
    """How one field of a step or an outcome becomes an argument."""

    name: str
    default: object
    write: Callable[..., object]


def write_step(step: Step) -> Written:
    """Return the operation that stands for *step*."""
    written: Written = {"op": STEP_NAMES[type(step)]}
    if isinstance(step, Exit):
        _write(step.outcome, _OUTCOME, written)
        if step.outcome.cr2 is not None:
            written["regs"] = {**_registers_left(step.outcome.regs), "cr2": hex(step.outcome.cr2)}
    else:
        _write(step, _WRITERS[type(step)], written)
    return written


def _write(source: Step | Outcome, writers: tuple[_Writer, ...], written: Written) -> None:
    for writer in writers:
        value = getattr(source, writer.name)
        if value != writer.default:
            written[writer.name] = writer.write(value)


def _pattern(value: int) -> str:
    return hex(value)


def _number(value: int) -> int:
    return int(value)


def _text(value: str) -> str:
    return value


def _patterns(values: dict[str, int]) -> Written:
    return {name: hex(value) for name, value in values.items()}


def _vmcs_fields(values: dict[int, int]) -> Written:
    return {_FIELD_NAMES[encoding]: hex(value) for encoding, value in values.items()}


def _registers_left(values: dict[int, int]) -> Written:
    return {GPR_NAMES[number]: hex(value) for number, value in values.items()}


def _settable(values: dict[str, int]) -> Written:
    return {name: hex(value) if name in SETTABLE_BITS else value for name, value in values.items()}


_OF_THEIR_OWN: Final[dict[tuple[str, str], Callable[..., object]]] = {
    ("alloc_fail", "what"): _text,
    ("at", "event"): _text,
    ("at", "do"): write_step,
    ("exit", "fields"): _vmcs_fields,
    ("exit", "regs"): _registers_left,
    ("poke12", "fields"): _patterns,
    ("reg", "regs"): _patterns,
    ("set", "values"): _settable,
    ("vmcs", "fields"): _vmcs_fields,
    ("vmcs12", "fields"): _patterns,
}
"""What writes the arguments that are no single number."""


def _writers(operation: str, source: type[Step | Outcome]) -> tuple[_Writer, ...]:
    """Return what writes the arguments of *operation*, in the order of the fields of *source*."""
    arguments = OPERATIONS[operation].arguments
    writers = []
    for field in fields(source):
        if field.name not in arguments:
            continue
        write = _OF_THEIR_OWN.get((operation, field.name))
        if write is None:
            write = _pattern if arguments[field.name].kind is Kind.BITS else _number
        default = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        writers.append(_Writer(field.name, default, write))
    return tuple(writers)


_OUTCOME: Final = _writers("exit", Outcome)
_WRITERS: Final = {step: _writers(name, step) for step, name in STEP_NAMES.items()}
