# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel on a processor tells the outside world about itself, while it runs.

An event is the name of something observable that happened, with its arguments: a bare string, or a
tuple that starts with the name. Arguments are plain integers, strings and bytes; nothing here
formats anything, and nothing below the harness knows how an event looks in a file. `EVENTS` lists
every event with the kinds of its arguments.

A *point* is a place that can be acted upon but that is not an event: nothing observable happens
there. `POINTS` lists them.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

Event = str | tuple[str | int | bytes, ...]
"""One item of a log."""


class Tracer(Protocol):
    """Whoever listens to a kernel and its processor."""

    def event(self, event: Event) -> None:
        """Take note of *event*, which happens now; what it announces takes effect afterwards."""

    def point(self, name: str) -> None:
        """Take note that execution has reached the point *name*."""


class Discard:
    """The tracer that listens to nothing."""

    __slots__ = ()

    def event(self, event: Event) -> None:
        """Ignore *event*."""

    def point(self, name: str) -> None:
        """Ignore the point *name*."""


class Kind(Enum):
    """What an argument of an event is, which decides how it is written."""

    NUMBER = "number"
    """A counter, a vector, the number of a CPU: written in decimal."""

    BITS = "bits"
    """A register, an address, a mask: written in hexadecimal."""

    BYTES = "bytes"
    """The contents of memory, in address order."""

    VMCS = "vmcs"
    """The name of a VMCS: ``01``, or ``02`` for every other one."""


_N, _B, _V = Kind.NUMBER, Kind.BITS, Kind.VMCS

EVENTS: Final[dict[str, dict[str, Kind]]] = {
    "ack_irq": {"vector": _N},
    "after_handle_nmi": {},
    "alloc_vmcs_fail": {},
    "before_handle_nmi": {},
    "clear_async_pf": {},
    "default_exit": {},
    "deliver_pmi": {},
    "emulate_cpuid": {},
    "emulate_hypercall": {},
    "emulate_instruction": {"type": _N},
    "emulate_wbinvd": {},
    "fpu_restore": {},
    "fpu_save": {},
    "free_vmcs": {"vmcs": _V},
    "get_cpu": {},
    "guest_time_update": {},
    "guest_write": {"gpa": _B, "bytes": Kind.BYTES},
    "handle_mmio_pf": {"gpa": _B},
    "inject_realmode": {"vector": _N, "inc_eip": _N},
    "int2": {},
    "invept": {"type": _N, "eptp": _B},
    "invvpid": {"type": _N, "vpid": _N},
    "kick_ipi": {},
    "kmalloc_fail": {},
    "kvm_guest_enter": {},
    "kvm_guest_exit": {},
    "lapic_eoi": {},
    "local_irq_disable": {},
    "local_irq_enable": {},
    "machine_check": {},
    "migrate_timers": {},
    "mmu_invlpg": {"gva": _B},
    "mmu_load": {},
    "mmu_load_fail": {},
    "mmu_page_fault": {"cr2": _B, "error": _B},
    "mmu_reset_context": {},
    "mmu_sync_roots": {},
    "mmu_unload": {},
    "mmu_unprotect": {"gva": _B},
    "new_cr3": {},
    "on_spin": {},
    "pio_out": {"size": _N, "port": _N},
    "pmu_event": {},
    "preempt_disable": {},
    "preempt_enable": {},
    "put_cpu": {},
    "rdpmc": {},
    "reschedule_interrupt": {},
    "set_debugreg": {"n": _N, "value": _B},
    "smp_call": {"cpu": _N},
    "smp_send_reschedule": {"cpu": _N},
    "srcu_read_lock": {},
    "srcu_read_unlock": {},
    "steal_time": {},
    "task_switch": {"selector": _N, "reason": _N, "has_error": _N, "error": _B},
    "update_cpuid": {},
    "vmclear": {"vmcs": _V},
    "vmentry": {
        "vmcs": _V,
        "launched": _N,
        "intr_info": _B,
        "err": _B,
        "len": _B,
        "rip": _B,
        "rsp": _B,
    },
    "vmexit": {"vmcs": _V, "reason": _B},
    "vmfail": {"vmcs": _V, "error": _N},
    "vmptrld": {"vmcs": _V},
    "write_tsc": {"value": _B},
    "xsetbv": {"index": _N, "value": _B},
}
"""Every event, with the names and the kinds of its arguments, in order."""

POINTS: Final = ("smp_mb", "need_resched", "signal_pending", "smp_wmb", "reload_ds_es")
"""Every point, in the order in which a pass through the kernel reaches them."""
