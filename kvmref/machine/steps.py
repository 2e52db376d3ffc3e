# SPDX-License-Identifier: GPL-2.0-only
"""The steps: everything that can be done to a machine, as a closed union of values.

A step is data; `kvmref.machine.machine.Machine.step` performs it. "The VMCS" without qualification
is the one that is loaded on the CPU that runs the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kvmref.integers import s64, u8, u16, u32, u64
from kvmref.processor.scripted import Outcome
from kvmref.trace import Event


@dataclass(slots=True, frozen=True)
class Enter:
    """L0 calls ``vcpu_enter_guest`` once, whatever ``mp_state`` and ``apf.halted`` say."""


@dataclass(slots=True, frozen=True)
class Dump:
    """Do nothing: a place in a script where the state is looked at."""


@dataclass(slots=True, frozen=True)
class Exit:
    """Append an outcome to the queue that the scripted processor consumes."""

    outcome: Outcome


@dataclass(slots=True, frozen=True)
class ClearExits:
    """Empty that queue."""


@dataclass(slots=True, frozen=True)
class Irq:
    """An interrupt for L1 arrives.

    With the in-kernel interrupt controller it becomes pending there, EVENT is requested unless
    *noreq*, and the virtual CPU is kicked; without, user space queues it and requests EVENT.
    """

    vector: u8
    noreq: bool = False


@dataclass(slots=True, frozen=True)
class Nmi:
    """An NMI for L1 arrives, and the virtual CPU is kicked."""


@dataclass(slots=True, frozen=True)
class QueueException:
    """An exception is queued for the guest that runs, as a fresh or as an interrupted one."""

    vector: u8
    err: u32 | None = None
    """Its error code, if it has one."""
    reinject: bool = False


@dataclass(slots=True, frozen=True)
class Request:
    """Make a request: set *bit* of ``vcpu->requests``."""

    bit: u8


@dataclass(slots=True, frozen=True)
class ClearRequest:
    """Clear *bit* of ``vcpu->requests``."""

    bit: u8


@dataclass(slots=True, frozen=True)
class Kick:
    """Make the virtual CPU leave its guest, if it is in guest mode."""


@dataclass(slots=True, frozen=True)
class Signal:
    """Whether a signal is pending for the thread, from now on."""

    value: bool


@dataclass(slots=True, frozen=True)
class Resched:
    """Whether the thread should give up the CPU, from now on."""

    value: bool


@dataclass(slots=True, frozen=True)
class HostIrq:
    """A device interrupt of the host arrives during the next run of the guest."""


@dataclass(slots=True, frozen=True)
class HostIrqNow:
    """A device interrupt of the host arrives now."""


@dataclass(slots=True, frozen=True)
class Sched:
    """The thread is scheduled out, and in again on *cpu* (by default, the one it ran on)."""

    cpu: u8 | None = None


@dataclass(slots=True, frozen=True)
class Mem:
    """Store the low *size* bytes (1, 4 or 8) of *value* in guest memory, as far as there is any."""

    gpa: u64
    size: u8
    value: u64


@dataclass(slots=True, frozen=True)
class Unmap:
    """From now on the page of the linear address *gva* is not mapped."""

    gva: u64


@dataclass(slots=True, frozen=True)
class Map:
    """The page of the linear address *gva* is mapped again."""

    gva: u64


@dataclass(slots=True, frozen=True)
class WriteVmcs12:
    """Store members of ``struct vmcs12``, by name, on the guest page that contains *gpa*."""

    gpa: u64
    fields: dict[str, u64] = field(default_factory=dict)
    zero: bool = False
    """Clear the page first."""


@dataclass(slots=True, frozen=True)
class PokeVmcs12:
    """Store members of ``struct vmcs12``, by name, in the current vmcs12, if there is one."""

    fields: dict[str, u64]


@dataclass(slots=True, frozen=True)
class WriteRegisters:
    """Write registers of the guest: ``rax`` ... ``r15``, ``rip``, ``rsp``, ``rflags``, ``cr2``."""

    regs: dict[str, u64]


@dataclass(slots=True, frozen=True)
class WriteVmcs:
    """Write fields of the VMCS, by encoding."""

    fields: dict[u32, u64]


@dataclass(slots=True, frozen=True)
class Set:
    """Store into variables of L0, by name, without side effect; see `SETTABLE`."""

    values: dict[str, u64]


SETTABLE: dict[str, int] = {
    "apf_halted": 1,
    "cr8": 64,
    "dr7": 64,
    "guest_debug": 64,
    "mp_state": 31,
    "nmi_pending": 32,
    "riw": 8,
    "run_exit_reason": 32,
    "switch_db_regs": 31,
    "xcr0": 64,
}
"""What `Set` can store into, and how many bits each variable takes."""


@dataclass(slots=True, frozen=True)
class Events:
    """User space restores the state of events; EVENT is requested in any case."""

    shadow: u8 | None = None
    """Interrupt shadow: 1 is blocking by MOV SS, 2 is blocking by STI."""
    nmi_masked: bool | None = None
    """Whether NMIs are blocked."""


@dataclass(slots=True, frozen=True)
class Tsc:
    """The host's time-stamp counter, from now on."""

    value: u64


@dataclass(slots=True, frozen=True)
class Ktime:
    """What ``ktime_get`` returns from now on, in nanoseconds."""

    ns: s64


@dataclass(slots=True, frozen=True)
class MmuFail:
    """The next ``kvm_mmu_reload`` that has to load a root fails."""


@dataclass(slots=True, frozen=True)
class TimeFail:
    """The next ``kvm_guest_time_update`` fails."""


@dataclass(slots=True, frozen=True)
class AllocFail:
    """The next allocation of *what* fails: ``vmcs`` or ``item``."""

    what: str


@dataclass(slots=True, frozen=True)
class At:
    """A hook: perform *do* at the *count*-th next occurrence of an event or a point."""

    event: str
    do: Step
    count: u16 = 1


@dataclass(slots=True, frozen=True)
class ClearHooks:
    """Forget all hooks."""


@dataclass(slots=True, frozen=True)
class Destroy:
    """L1 goes down: L0 frees what it keeps for nested VMX. The last step of a machine."""


Step = (
    Enter
    | Dump
    | Exit
    | ClearExits
    | Irq
    | Nmi
    | QueueException
    | Request
    | ClearRequest
    | Kick
    | Signal
    | Resched
    | HostIrq
    | HostIrqNow
    | Sched
    | Mem
    | Unmap
    | Map
    | WriteVmcs12
    | PokeVmcs12
    | WriteRegisters
    | WriteVmcs
    | Set
    | Events
    | Tsc
    | Ktime
    | MmuFail
    | TimeFail
    | AllocFail
    | At
    | ClearHooks
    | Destroy
)
"""Anything that can be done to a machine."""


@dataclass(slots=True, frozen=True)
class StepResult:
    """What a step came to."""

    ret: int | None
    """Return value of ``vcpu_enter_guest``: 1 go on, 0 leave to user space, negative an error.
    ``None`` for every step but `Enter`."""
    log: list[Event]
    """What happened, in order."""
