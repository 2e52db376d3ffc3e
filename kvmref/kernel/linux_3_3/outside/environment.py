# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel finds outside itself: the state behind everything in this folder.

The port reaches it as ``vcpu.env``. It is plain data: the functions that stand for the rest of the
kernel are in the modules beside this one, and scripts steer them by storing here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kvmref.integers import s64, u16
from kvmref.kernel.linux_3_3.outside.memory import GuestMemory
from kvmref.kernel.setup import Setup
from kvmref.processor.interface import Processor
from kvmref.trace import Tracer


@dataclass(slots=True, eq=False, repr=False)
class Environment:
    """The surroundings of one kernel and its one virtual CPU."""

    trace: Tracer
    """Who hears of what happens."""
    processor: Processor
    """The processor that executes the kernel."""
    setup: Setup
    """What the machine was made from; here only its CPUID matters."""
    memory: GuestMemory = field(default_factory=GuestMemory)
    """Memory of the guest."""
    unmapped: set[int] = field(default_factory=set)
    """Numbers of the linear pages that are not mapped."""
    need_resched: bool = False
    """The thread should give up the CPU."""
    signal_pending: bool = False
    """A signal waits for the thread."""
    ktime: s64 = 0
    """Monotonic time, in nanoseconds; it stands still."""
    emul: int = 0
    """What the instruction emulator comes to: 1 needs user space, 2 fails, any other succeeds."""
    pf: int = 0
    """What the page-fault handler comes to: 0 resumes the guest, 1 injects #PF, 2 and 3 give up."""
    pferr: u16 = 0
    """Error code of the #PF that the page-fault handler injects."""
    mmu_fail: bool = False
    """The next attempt to load a root of page tables fails."""
    time_fail: bool = False
    """The next update of the guest's clock fails."""
    alloc_fail: str = ""
    """What the next allocation of fails: ``vmcs``, ``item``, or nothing."""
    irr: int = 0
    """Interrupts that wait in the in-kernel interrupt controller, one bit for each vector."""
