# SPDX-License-Identifier: GPL-2.0-only
"""The scripted processor: guest runs are told by a script.

A script queues *outcomes*: what the guest leaves behind, and why it exits. Each VM entry consumes
one. Nothing is interpreted and nothing is checked: control, host-state and guest-state fields may
hold anything, and an injected event has no effect on the guest. Interrupts of the host are the one
thing that happens by itself: while one is pending, the guest exits for it at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kvmref.integers import u8, u16, u32, u64
from kvmref.processor.interface import GuestRegisters
from kvmref.processor.vmcs import NO_VMCS, Vmcs
from kvmref.processor.vmcs_fields import (
    EXIT_QUALIFICATION,
    GUEST_LINEAR_ADDRESS,
    GUEST_PHYSICAL_ADDRESS,
    IDT_VECTORING_ERROR_CODE,
    IDT_VECTORING_INFO_FIELD,
    VM_ENTRY_INTR_INFO_FIELD,
    VM_EXIT_INSTRUCTION_LEN,
    VM_EXIT_INTR_ERROR_CODE,
    VM_EXIT_INTR_INFO,
    VM_EXIT_REASON,
    VM_INSTRUCTION_ERROR,
    VMX_INSTRUCTION_INFO,
)
from kvmref.trace import Tracer

EXTERNAL_INTERRUPT: Final = 1
"""Basic exit reason of an external interrupt (SDM volume 3, appendix C)."""

ENTRY_FAILURE: Final = 0x80000000
"""Bit of the exit reason that marks a VM-entry failure (SDM volume 3, 25.9.1)."""

VALID: Final = 0x80000000
"""Bit of the interruption information that says that it is valid (SDM volume 3, 25.8.3)."""

CPUS: Final = 2
"""How many logical processors there are."""


@dataclass(slots=True, frozen=True)
class Outcome:
    """How one run of a guest ends."""

    reason: u32 = EXTERNAL_INTERRUPT
    """VM_EXIT_REASON; with bit 31, the VM entry failed while guest state was being loaded."""
    qual: u64 = 0
    """EXIT_QUALIFICATION."""
    intr_info: u32 = 0
    """VM_EXIT_INTR_INFO."""
    intr_err: u32 = 0
    """VM_EXIT_INTR_ERROR_CODE."""
    idt_info: u32 = 0
    """IDT_VECTORING_INFO_FIELD."""
    idt_err: u32 = 0
    """IDT_VECTORING_ERROR_CODE."""
    len: u32 = 0
    """VM_EXIT_INSTRUCTION_LEN, bytes."""
    info: u32 = 0
    """VMX_INSTRUCTION_INFO."""
    gpa: u64 | None = None
    """GUEST_PHYSICAL_ADDRESS; not written if ``None``."""
    gla: u64 | None = None
    """GUEST_LINEAR_ADDRESS; not written if ``None``."""
    fields: dict[u32, u64] = field(default_factory=dict)
    """VMCS fields that the guest leaves changed, by encoding."""
    regs: dict[u8, u64] = field(default_factory=dict)
    """General-purpose registers that the guest leaves changed, by number."""
    cr2: u64 | None = None
    """CR2, if the guest leaves it changed."""
    fail: u32 | None = None
    """VM-instruction error of a VM entry that fails with VMfailValid; the rest is ignored then."""
    force: bool = False
    """Use this outcome even if an external interrupt is pending."""
    emul: int = 0
    """Not the processor's: steers the kernel's instruction emulator until the next run."""
    pf: int = 0
    """Not the processor's: steers the kernel's page-fault handler until the next run."""
    pferr: u16 = 0
    """Not the processor's: error code of a page fault that the handler injects."""


_DEFAULT: Final = Outcome()


class ScriptedProcessor:
    """A `kvmref.processor.interface.Processor` that reads guest runs from a script."""

    __slots__ = (
        "_current",
        "cpu",
        "device_interrupt",
        "interrupt_flag",
        "interrupt_pending",
        "msrs",
        "on_interrupt",
        "on_outcome",
        "outcomes",
        "trace",
        "tsc",
        "vmcs",
    )

    def __init__(self, msrs: dict[u32, u64], tsc: u64, trace: Tracer) -> None:
        """Start on CPU 0 with interrupts enabled, without a current VMCS.

        *msrs* are the model-specific registers that are not zero, *tsc* the time-stamp counter,
        which stands still; *trace* hears of guest runs that the script forgot.
        """
        self.cpu: int = 0
        self.vmcs: Vmcs = NO_VMCS
        self._current: list[Vmcs] = [NO_VMCS] * CPUS
        self.msrs = dict(msrs)
        self.tsc = tsc
        self.trace = trace
        self.interrupt_flag = True
        self.interrupt_pending = False
        self.device_interrupt = False
        """Whether an external interrupt arrives during the next run of the guest."""
        self.outcomes: deque[Outcome] = deque()
        """What the next runs of the guest come to."""
        self.on_interrupt: Callable[[], None] = _ignore_interrupt
        """What the kernel does when it takes an external interrupt."""
        self.on_outcome: Callable[[Outcome], None] = _ignore_outcome
        """Who is told which outcome a run has come to, before the kernel sees it."""

    def move_to(self, cpu: int) -> None:
        """Go on with the kernel on the logical processor *cpu*."""
        self.cpu = cpu
        self.vmcs = self._current[cpu]

    def vmptrld(self, vmcs: Vmcs) -> None:
        """Make *vmcs* current on this logical processor."""
        self._current[self.cpu] = self.vmcs = vmcs

    def vmclear(self, vmcs: Vmcs) -> None:
        """Make *vmcs* not current on any logical processor; its contents stay."""
        self._current = [NO_VMCS if current is vmcs else current for current in self._current]
        self.vmcs = self._current[self.cpu]

    def invvpid(self, invalidation: int, vpid: u16, linear_address: u64) -> None:
        """Do nothing: there are no translations."""

    def invept(self, invalidation: int, eptp: u64) -> None:
        """Do nothing: there are no translations."""

    def rdmsr(self, index: u32) -> u64:
        """Return a model-specific register; unknown ones read as zero."""
        return self.msrs.get(index, 0)

    def wrmsr(self, index: u32, value: u64) -> None:
        """Store *value* in a model-specific register."""
        self.msrs[index] = value

    def rdtsc(self) -> u64:
        """Return the time-stamp counter, which does not advance by itself."""
        return self.tsc

    def cli(self) -> None:
        """Clear the interrupt flag."""
        self.interrupt_flag = False

    def sti(self) -> None:
        """Set the interrupt flag, and take the interrupt that is pending, if there is one."""
        self.interrupt_flag = True
        if self.interrupt_pending:
            self._take_interrupt()

    def interrupt(self) -> None:
        """Make an external interrupt pending; it is taken at once if the interrupt flag is set."""
        self.interrupt_pending = True
        if self.interrupt_flag:
            self._take_interrupt()

    def _take_interrupt(self) -> None:
        self.interrupt_pending = False
        self.on_interrupt()

    def vm_entry(self, guest: GuestRegisters, launched: bool) -> bool:
        """Run the guest: consume one outcome, or exit for an external interrupt."""
        if self.device_interrupt:
            self.device_interrupt = False
            self.interrupt()
        outcome = self._choose()
        self.on_outcome(outcome)

        vmcs = self.vmcs
        for encoding, value in outcome.fields.items():
            vmcs.write(encoding, value)
        for register, value in outcome.regs.items():
            guest.regs[register] = value
        if outcome.cr2 is not None:
            guest.cr2 = outcome.cr2

        fields = vmcs.fields
        if outcome.fail is not None:
            fields[VM_INSTRUCTION_ERROR] = outcome.fail
            return False
        fields[VM_EXIT_REASON] = outcome.reason
        fields[EXIT_QUALIFICATION] = outcome.qual
        if not outcome.reason & ENTRY_FAILURE:
            fields[VM_EXIT_INTR_INFO] = outcome.intr_info
            fields[VM_EXIT_INTR_ERROR_CODE] = outcome.intr_err
            fields[IDT_VECTORING_INFO_FIELD] = outcome.idt_info
            fields[IDT_VECTORING_ERROR_CODE] = outcome.idt_err
            fields[VM_EXIT_INSTRUCTION_LEN] = outcome.len
            fields[VMX_INSTRUCTION_INFO] = outcome.info
            if outcome.gpa is not None:
                fields[GUEST_PHYSICAL_ADDRESS] = outcome.gpa
            if outcome.gla is not None:
                fields[GUEST_LINEAR_ADDRESS] = outcome.gla
            fields[VM_ENTRY_INTR_INFO_FIELD] &= ~VALID
        return True

    def _choose(self) -> Outcome:
        """Return how this run ends; an interrupt that is pending stays pending."""
        if self.outcomes and (self.outcomes[0].force or not self.interrupt_pending):
            return self.outcomes.popleft()
        if not self.interrupt_pending:
            self.trace.event("default_exit")
        return _DEFAULT


def _ignore_interrupt() -> None:
    """Take an external interrupt that nobody waits for."""


def _ignore_outcome(outcome: Outcome) -> None:
    """Hear of an outcome that nobody else wants to know."""
