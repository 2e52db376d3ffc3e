# SPDX-License-Identifier: GPL-2.0-only
"""What happens, in sentences: steps, deliveries of events, exits and requests.

They are for people who look at pictures and reports; values and items of logs are in
`kvmref.harness.wording.findings`. Nothing is read back from here. Whatever an implementation under
test does has words, also what no kernel would ever do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvmref.harness.vectors.names import EVENT_TYPES, REASONS, REQUESTS, VECTORS
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    INTR_INFO_DELIVER_CODE_MASK,
    INTR_INFO_INTR_TYPE_MASK,
    INTR_INFO_VALID_MASK,
    INTR_INFO_VECTOR_MASK,
    VMX_EXIT_REASONS_FAILED_VMENTRY,
)
from kvmref.machine.steps import (
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

_REASON_NAMES: Final = {number: name for name, number in REASONS.items()}
_REQUEST_NAMES: Final = {bit: name for name, bit in REQUESTS.items()}
_EXCEPTIONS: Final = {vector: f"#{name}" for name, vector in VECTORS.items() if name != "NMI"}
_TYPES: Final = {number: name for name, number in EVENT_TYPES.items()}
_FIELDS: Final = {encoding: name for name, encoding in VMCS_FIELDS.items()}
_MOST: Final = 3
"""How many names of a list are told."""


def reason_in_words(reason: int) -> str:
    """Return the name of an exit reason, as the kernel calls it; its number if it has none."""
    basic = reason & 0xFFFF
    return _REASON_NAMES.get(basic, f"exit reason {basic}")


def entry_failed(reason: int) -> bool:
    """Tell whether *reason* says that the VM entry failed, so that the guest didn't run."""
    return reason & VMX_EXIT_REASONS_FAILED_VMENTRY != 0


def requests_in_words(requests: int) -> list[str]:
    """Return the names of the requests whose bits are set."""
    bits = (bit for bit in range(requests.bit_length()) if requests >> bit & 1)
    return [_REQUEST_NAMES.get(bit, f"bit {bit}") for bit in bits]


def injects(intr_info: int) -> bool:
    """Tell whether VM-entry interruption information makes the processor deliver an event."""
    return intr_info & INTR_INFO_VALID_MASK != 0


def delivered_in_words(intr_info: int, error_code: int = 0) -> str:
    """Return the event that interruption information stands for."""
    vector = intr_info & INTR_INFO_VECTOR_MASK
    kind = _TYPES.get(intr_info & INTR_INFO_INTR_TYPE_MASK)
    with_code = intr_info & INTR_INFO_DELIVER_CODE_MASK
    code = f", error code {error_code:#x}" if with_code else ""
    match kind:
        case None:
            return f"an event of a reserved type ({intr_info:#x})"
        case "NMI":
            return f"NMI{code}" if vector == VECTORS["NMI"] else f"NMI with vector {vector}{code}"
        case "hardware exception":
            return f"{exception_in_words(vector)}{code}"
        case "software exception":
            return f"software exception {exception_in_words(vector)}{code}"
    return f"{kind} {vector_in_words(vector)}{code}"


def exception_in_words(vector: int) -> str:
    """Return the mnemonic of an exception, such as ``#GP``."""
    return _EXCEPTIONS.get(vector, f"exception {vector}")


def vector_in_words(vector: int) -> str:
    """Return a vector in decimal and in hexadecimal."""
    return f"{vector} ({vector:#x})"


def step_in_words(step: Step) -> str:
    """Return what *step* does."""
    match step:
        case Enter():
            return "L0 calls vcpu_enter_guest"
        case Dump():
            return "the state is looked at"
        case Exit(outcome):
            return _outcome_in_words(outcome)
        case ClearExits():
            return "the script of guest runs is emptied"
        case Irq(vector, noreq):
            silently = ", without a request" if noreq else ""
            return f"interrupt {vector_in_words(vector)} arrives for L1{silently}"
        case Nmi():
            return "an NMI arrives for L1"
        case QueueException(vector, err, reinject):
            code = "" if err is None else f", error code {err:#x}"
            again = "queued again" if reinject else "queued"
            return f"{exception_in_words(vector)}{code} is {again}"
        case Request(bit):
            return f"request {_request(bit)} is made"
        case ClearRequest(bit):
            return f"request {_request(bit)} is cleared"
        case Kick():
            return "the virtual CPU is kicked"
        case Signal(value):
            return f"a signal is {'' if value else 'no longer '}pending"
        case Resched(value):
            return f"the thread should {'' if value else 'no longer '}give up the CPU"
        case HostIrq():
            return "a device interrupts the host during the next guest run"
        case HostIrqNow():
            return "a device interrupts the host"
        case Sched(cpu):
            where = "" if cpu is None else f" on CPU {cpu}"
            return f"the thread is scheduled out, and in again{where}"
        case Mem(gpa, size, value):
            return f"{size} bytes at {gpa:#x} become {value:#x}"
        case Unmap(gva):
            return f"the page of {gva:#x} is unmapped"
        case Map(gva):
            return f"the page of {gva:#x} is mapped again"
        case WriteVmcs12(gpa, fields, zero):
            done = "is cleared, then written" if zero else "is written"
            return f"the vmcs12 at {gpa:#x} {done}{_listed(fields)}"
        case PokeVmcs12(fields):
            return f"the current vmcs12 is written{_listed(fields)}"
        case WriteRegisters(regs):
            return f"registers are written{_listed(regs)}"
        case WriteVmcs(by_encoding):
            named = {_FIELDS.get(key, f"{key:#x}"): value for key, value in by_encoding.items()}
            return f"the VMCS is written{_listed(named)}"
        case Set(values):
            return f"variables of L0 are set{_listed(values)}"
        case Events(shadow, nmi_masked):
            given = {
                name: int(value)
                for name, value in (("shadow", shadow), ("nmi_masked", nmi_masked))
                if value is not None
            }
            return f"user space restores the state of events{_listed(given)}"
        case Tsc(value):
            return f"the host's TSC is {value:#x}"
        case Ktime(ns):
            return f"the host's clock is {ns} ns"
        case MmuFail():
            return "the next kvm_mmu_reload fails"
        case TimeFail():
            return "the next kvm_guest_time_update fails"
        case AllocFail(what):
            return f"the next allocation of a {what} fails"
        case At(event, action, count):
            nth = "the next" if count == 1 else f"occurrence {count} of"
            return f"at {nth} {event}: {step_in_words(action)}"
        case ClearHooks():
            return "all hooks are forgotten"
        case Destroy():
            return "L1 goes down"


def _request(bit: int) -> str:
    return _REQUEST_NAMES.get(bit, str(bit))


def _outcome_in_words(outcome: Outcome) -> str:
    if outcome.fail is not None:
        return f"the next VM entry will be a VMfail with error {outcome.fail}"
    reason = reason_in_words(outcome.reason)
    if entry_failed(outcome.reason):
        return f"the next VM entry will fail: {reason}"
    details = [
        delivered_in_words(info, code)
        for info, code in ((outcome.intr_info, outcome.intr_err),)
        if injects(info)
    ]
    if injects(outcome.idt_info):
        details.append(f"while delivering {delivered_in_words(outcome.idt_info, outcome.idt_err)}")
    return f"the next guest run will end with {', '.join([reason, *details])}"


def _listed(values: Mapping[str, int]) -> str:
    if not values:
        return ""
    if len(values) > _MOST:
        return f": {', '.join(list(values)[:_MOST])} and {len(values) - _MOST} more"
    return ": " + ", ".join(f"{name}={value:#x}" for name, value in values.items())
