# SPDX-License-Identifier: GPL-2.0-only
"""What the reference did, in the form of the trace events that KVM of Linux 3.3 has for it.

The lines are those that ftrace shows for ``kvm_entry``, ``kvm_exit``, ``kvm_inj_virq`` and
``kvm_inj_exception``, so that tools and eyes that are used to a trace of a host can read them.
There is no clock: the time of an event is its number, in microseconds.

As in Linux, what L1 makes the processor inject into L2 is no event of its own; and a VM entry that
fails is traced as an exit as well, for whatever reason the VMCS says from before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kvmref.harness.reports.watch import ExitState, Watched
from kvmref.harness.vectors.names import REASONS, VECTORS
from kvmref.kernel.linux_3_3.include.kvm_host import KVM_REQ_EVENT, KVM_REQ_NMI
from kvmref.machine.steps import Enter

_UNNAMED_REASONS: Final = ("INVD", "INVALID_STATE", "XSETBV")
"""Exit reasons that Linux 3.3 knows, but has no names for in traces."""

_REASONS: Final = {number: name for name, number in REASONS.items() if name not in _UNNAMED_REASONS}
_EXCEPTIONS: Final = {number: f"#{name}" for name, number in VECTORS.items() if name != "NMI"}
_MAKES_EVENT: Final = 1 << KVM_REQ_EVENT | 1 << KVM_REQ_NMI
"""Requests that make a pass look for events to inject."""

_TASK: Final = "qemu-kvm"
_PROCESS: Final = 1
_ANYWHERE: Final = "...."
"""Interrupts are on, and the thread can be preempted."""
_IN_GUEST: Final = "d..1"
"""Interrupts are off, and the thread can't be preempted."""


def trace(watched: Iterable[Watched]) -> Iterator[str]:
    """Yield the lines of the trace."""
    yield "# tracer: nop"
    yield "#"
    time = 0
    for item in watched:
        if isinstance(item.step, Enter):
            for flags, event in _pass(item):
                time += 1
                yield (
                    f"{_TASK:>16s}-{_PROCESS:<5d} [{item.samples[0].cpu:03d}] {flags}"
                    f" {time // 1_000_000:5d}.{time % 1_000_000:06d}: {event}"
                )


def _pass(item: Watched) -> Iterator[tuple[str, str]]:
    """Yield the events of one pass through ``vcpu_enter_guest``."""
    yield from ((_ANYWHERE, event) for event in _injections(item))
    for index, event in enumerate(item.log):
        name = event if isinstance(event, str) else event[0]
        if name == "vmentry":
            yield _IN_GUEST, "kvm_entry: vcpu 0"
        elif index in item.exits:
            yield _IN_GUEST, _exit(item.exits[index])


def _injections(item: Watched) -> Iterator[str]:
    """Yield what L0 injects for itself, which comes before interrupts go off."""
    before = item.samples[0]
    reached = "local_irq_disable" in item.log
    later = item.samples[item.log.index("local_irq_disable") + 1 if reached else -1]
    looked = before.requests & _MAKES_EVENT or (item.interrupt_window and not item.irqchip)
    if before.exception is not None and reached and looked:
        name = _EXCEPTIONS.get(before.exception, f"{before.exception:#x}")
        yield f"kvm_inj_exception: {name} ({before.error_code or 0:#x})"
    if later.irq_injections != before.irq_injections:
        yield f"kvm_inj_virq: irq {later.interrupt}"


def _exit(state: ExitState) -> str:
    reason = _REASONS.get(state.reason, f"{state.reason:#x}")
    return (
        f"kvm_exit: reason {reason} rip {state.rip:#x}"
        f" info {state.qualification:x} {state.intr_info:x}"
    )
