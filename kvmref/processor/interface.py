# SPDX-License-Identifier: GPL-2.0-only
"""The Protocol through which a kernel sees the processor that it runs on.

The words are the SDM's. A kernel is a single thread that runs on one logical processor at a time
and can move to another one; the interrupt flag and the pending interrupt are those of the thread's
logical processor. Who decides what a guest does between VM entry and VM exit is up to the
implementation: a script, or an interpreter of guest code.
"""

from __future__ import annotations

from typing import Protocol

from kvmref.integers import u16, u32, u64
from kvmref.processor.vmcs import Vmcs


class GuestRegisters(Protocol):
    """The registers that VM entries and VM exits do not switch (SDM volume 3, 28.3.2.3).

    Software loads them before a VM entry and stores them after a VM exit.
    """

    regs: list[u64]
    """General-purpose registers in the order of their encodings: RAX, RCX, RDX, RBX, RSP, ..., R15.
    Index 4 (RSP) belongs to the VMCS and is not touched; further elements are the caller's own."""

    cr2: u64
    """Linear address of the last page fault."""


class Processor(Protocol):
    """The logical processors of a machine, seen from the one that runs the kernel."""

    cpu: int
    """Number of the logical processor that runs the kernel."""

    vmcs: Vmcs
    """The current VMCS of that logical processor."""

    def move_to(self, cpu: int) -> None:
        """Go on with the kernel on the logical processor *cpu*."""

    def vmptrld(self, vmcs: Vmcs) -> None:
        """Make *vmcs* current on this logical processor (SDM volume 3, VMPTRLD)."""

    def vmclear(self, vmcs: Vmcs) -> None:
        """Make *vmcs* not current, wherever it was; its contents stay (SDM volume 3, VMCLEAR)."""

    def invvpid(self, invalidation: int, vpid: u16, linear_address: u64) -> None:
        """Forget translations that are tagged with *vpid* (SDM volume 3, INVVPID)."""

    def invept(self, invalidation: int, eptp: u64) -> None:
        """Forget translations that were derived from *eptp* (SDM volume 3, INVEPT)."""

    def vm_entry(self, guest: GuestRegisters, launched: bool) -> bool:
        """Run the guest of the current VMCS until its next VM exit; tell whether it was entered.

        ``False`` stands for VMfailValid: VM_INSTRUCTION_ERROR of the current VMCS says why, and
        nothing else has changed. After ``True`` the exit-information fields describe the VM exit,
        be it one of a guest that ran or a VM-entry failure (bit 31 of the exit reason).

        *launched* chooses VMRESUME (``True``) or VMLAUNCH.
        """

    def rdmsr(self, index: u32) -> u64:
        """Return a model-specific register."""

    def wrmsr(self, index: u32, value: u64) -> None:
        """Store *value* in a model-specific register."""

    def rdtsc(self) -> u64:
        """Return the time-stamp counter."""

    def cli(self) -> None:
        """Clear the interrupt flag: from now on interrupts stay pending."""

    def sti(self) -> None:
        """Set the interrupt flag, and take the interrupt that is pending, if there is one."""

    def interrupt(self) -> None:
        """Make an external interrupt pending; it is taken at once if the interrupt flag is set."""
