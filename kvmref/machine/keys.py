# SPDX-License-Identifier: GPL-2.0-only
"""The observation keys: what can be seen of a machine, under which name, and by whom.

A key is a dotted path, made of C names. Its level says who can see the value: ``l1`` for what a
guest hypervisor or its guest can see of itself, ``l0`` for KVM's own state. Besides the keys listed
here there is one for every field of a VMCS (``vmcs01.F``, ``vmcs02.F``, level l0) and for every
member of ``struct vmcs12`` (``vmcs12.m``, level l1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kvmref.kernel.linux_3_3.include.kvm_host import (
    INVALID_PAGE,
    VCPU_EXREG_CR3,
    VCPU_EXREG_RFLAGS,
    VCPU_REGS_RIP,
    VCPU_REGS_RSP,
)
from kvmref.kernel.linux_3_3.include.processor_flags import X86_CR0_PG
from kvmref.kernel.linux_3_3.kvm_cache_regs import is_guest_mode
from kvmref.kernel.linux_3_3.vmx.event_injection import vmx_get_nmi_mask
from kvmref.kernel.linux_3_3.vmx.rflags import vmx_get_interrupt_shadow
from kvmref.kernel.linux_3_3.vmx.structs import vcpu_vmx
from kvmref.processor.scripted import ScriptedProcessor
from kvmref.processor.vmcs_fields import (
    GUEST_CR0,
    GUEST_CR3,
    GUEST_CR4,
    GUEST_RFLAGS,
    GUEST_RIP,
    GUEST_RSP,
)
from kvmref.trace import Kind

Value = int | str | None | list[int] | list[list[int]] | list[dict[str, int]] | dict[str, int]
"""An observed value: a number, the name of a VMCS, a list, an entry of the vmcs02 pool, nothing."""

GPR_NAMES: Final = (
    "rax",
    "rcx",
    "rdx",
    "rbx",
    "rsp",
    "rbp",
    "rsi",
    "rdi",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
)
"""Names of the general-purpose registers, in the order of their numbers."""


@dataclass(slots=True, frozen=True)
class Key:
    """One observation key."""

    name: str
    level: str
    """``l1`` or ``l0``."""
    kind: Kind
    """How a number is written; the elements of lists have kinds of their own."""
    doc: str
    """What it is."""
    read: Callable[[vcpu_vmx], Value]
    """How to get it; changes nothing."""


def _rip(vmx: vcpu_vmx) -> int:
    """Return RIP, from the cache if it is there."""
    if vmx.arch.regs_avail & (1 << VCPU_REGS_RIP):
        return vmx.arch.regs[VCPU_REGS_RIP]
    return _loaded(vmx, GUEST_RIP)


def _rsp(vmx: vcpu_vmx) -> int:
    """Return RSP, from the cache if it is there."""
    if vmx.arch.regs_avail & (1 << VCPU_REGS_RSP):
        return vmx.arch.regs[VCPU_REGS_RSP]
    return _loaded(vmx, GUEST_RSP)


def _rflags(vmx: vcpu_vmx) -> int:
    """Return RFLAGS, from the cache if they are there."""
    if vmx.arch.regs_avail & (1 << VCPU_EXREG_RFLAGS):
        return vmx.rflags
    return _loaded(vmx, GUEST_RFLAGS)


def _cr0(vmx: vcpu_vmx) -> int:
    """Return CR0 with the bits that the guest owns."""
    owned = vmx.arch.cr0_guest_owned_bits
    return (vmx.arch.cr0 & ~owned) | (_loaded(vmx, GUEST_CR0) & owned)


def _cr3(vmx: vcpu_vmx) -> int:
    """Return CR3, from the cache if it is there or cannot have changed."""
    cached = vmx.arch.regs_avail & (1 << VCPU_EXREG_CR3)
    if not cached and vmx.module.enable_ept and vmx.arch.cr0 & X86_CR0_PG:
        return _loaded(vmx, GUEST_CR3)
    return vmx.arch.cr3


def _cr4(vmx: vcpu_vmx) -> int:
    """Return CR4 with the bits that the guest owns."""
    owned = vmx.arch.cr4_guest_owned_bits
    return (vmx.arch.cr4 & ~owned) | (_loaded(vmx, GUEST_CR4) & owned)


def _loaded(vmx: vcpu_vmx, field: int) -> int:
    """Return a field of the loaded VMCS."""
    vmcs = vmx.loaded_vmcs.vmcs
    assert vmcs is not None
    return vmcs.fields[field]


def _loaded_name(vmx: vcpu_vmx) -> str:
    """Return the name of the loaded VMCS."""
    vmcs = vmx.loaded_vmcs.vmcs
    assert vmcs is not None
    return vmcs.name


def _apic_access_page(vmx: vcpu_vmx) -> Value:
    """Return the guest-physical address of the page that vmcs02 refers to, if it does."""
    page = vmx.nested.apic_access_page
    return None if page is None else page.gfn << 12


def _pool(vmx: vcpu_vmx) -> Value:
    """Return the entries of the vmcs02 pool."""
    if not vmx.nested.vmxon:
        return []
    return [
        {"vmptr": item.vmptr, "launched": item.vmcs02.launched, "cpu": item.vmcs02.cpu}
        for item in vmx.nested.vmcs02_pool
    ]


def _irr(vmx: vcpu_vmx) -> Value:
    """Return the vectors that wait in the interrupt controller."""
    irr = vmx.env.irr
    return [vector for vector in range(256) if irr >> vector & 1] if irr else []


def _pinned(vmx: vcpu_vmx) -> Value:
    """Return the guest pages that somebody holds, with the number of references."""
    return [[gpa, references] for gpa, references in vmx.env.memory.pinned()]


def _keys() -> dict[str, Key]:
    """Return the table of keys."""
    keys: dict[str, Key] = {}

    def add(name: str, level: str, kind: Kind, doc: str, read: Callable[[vcpu_vmx], Value]) -> None:
        keys[name] = Key(name, level, kind, doc, read)

    n, b = Kind.NUMBER, Kind.BITS
    add("requests", "l0", b, "requests that are made, by bit", lambda v: v.requests)
    add("mode", "l0", n, "0 outside the guest, 1 in it, 2 on the way out", lambda v: v.mode)
    add("cpu", "l0", n, "CPU of the virtual CPU", lambda v: v.cpu)
    add("loaded", "l0", Kind.VMCS, "name of the loaded VMCS", _loaded_name)
    add("nested.vmxon", "l1", n, "L1 has executed VMXON", lambda v: int(v.nested.vmxon))
    add(
        "nested.nested_run_pending",
        "l0",
        n,
        "L2 must run before it may exit to L1",
        lambda v: int(v.nested.nested_run_pending),
    )
    add("nested.vmcs02_num", "l0", n, "entries of the pool", lambda v: v.nested.vmcs02_num)
    add("nested.guest_mode", "l1", n, "L2 runs", lambda v: int(is_guest_mode(v)))
    add(
        "nested.current_vmptr",
        "l1",
        b,
        "address of L1's current VMCS, all ones if there is none",
        lambda v: v.nested.current_vmptr,
    )
    add(
        "nested.vmcs01_tsc_offset",
        "l0",
        b,
        "L1's TSC offset while L2 runs",
        lambda v: v.nested.vmcs01_tsc_offset,
    )
    add("nested.apic_access_page", "l0", b, "page that vmcs02 refers to", _apic_access_page)
    add("nested.pool", "l0", n, "the vmcs02 pool", _pool)
    add("vmcs01_launched", "l0", n, "vmcs01 is launched", lambda v: v.vmcs01.launched)
    add("vmcs01_cpu", "l0", n, "CPU that vmcs01 is loaded on, or -1", lambda v: v.vmcs01.cpu)
    add("pinned", "l0", n, "guest pages that are held: address, references", _pinned)
    add(
        "exception.pending",
        "l0",
        n,
        "an exception is queued",
        lambda v: int(v.arch.exception.pending),
    )
    add(
        "exception.has_error_code",
        "l0",
        n,
        "it has an error code",
        lambda v: int(v.arch.exception.has_error_code),
    )
    add(
        "exception.reinject",
        "l0",
        n,
        "its delivery was interrupted",
        lambda v: int(v.arch.exception.reinject),
    )
    add("exception.nr", "l0", n, "its vector", lambda v: v.arch.exception.nr)
    add("exception.error_code", "l0", b, "its error code", lambda v: v.arch.exception.error_code)
    add(
        "interrupt.pending",
        "l0",
        n,
        "an interrupt is queued",
        lambda v: int(v.arch.interrupt.pending),
    )
    add("interrupt.soft", "l0", n, "it is INT n", lambda v: int(v.arch.interrupt.soft))
    add("interrupt.nr", "l0", n, "its vector", lambda v: v.arch.interrupt.nr)
    add("nmi.queued", "l0", n, "NMIs that have arrived", lambda v: v.arch.nmi_queued)
    add("nmi.pending", "l0", n, "NMIs to inject", lambda v: v.arch.nmi_pending)
    add("nmi.injected", "l0", n, "an NMI is being injected", lambda v: int(v.arch.nmi_injected))
    add(
        "int_shadow",
        "l1",
        n,
        "interrupt shadow: 1 MOV SS, 2 STI",
        lambda v: vmx_get_interrupt_shadow(v, 3),
    )
    add("nmi_mask", "l1", n, "NMIs are blocked", lambda v: int(vmx_get_nmi_mask(v)))
    add(
        "event_exit_inst_len",
        "l0",
        n,
        "length of the instruction that a software event came from",
        lambda v: v.arch.event_exit_inst_len,
    )
    add("irr", "l1", n, "vectors that wait in the interrupt controller", _irr)
    for number, name in enumerate(GPR_NAMES):
        if number != VCPU_REGS_RSP:
            add(f"gprs.{name}", "l1", b, name.upper(), _gpr(number))
    add("rip", "l1", b, "RIP", _rip)
    add("rsp", "l1", b, "RSP", _rsp)
    add("rflags", "l1", b, "RFLAGS", _rflags)
    add("cr0", "l1", b, "CR0", _cr0)
    add("cr4", "l1", b, "CR4", _cr4)
    add("cr3", "l1", b, "CR3", _cr3)
    add("cr2", "l1", b, "CR2", lambda v: v.arch.cr2)
    add("cr8", "l1", b, "CR8", lambda v: v.arch.cr8)
    add("efer", "l1", b, "EFER", lambda v: v.arch.efer)
    add(
        "dr",
        "l1",
        b,
        "DR0 to DR3, DR6, DR7",
        lambda v: [*v.arch.db, v.arch.dr6, v.arch.dr7],
    )
    add("arch.cr0", "l0", b, "CR0 as cached", lambda v: v.arch.cr0)
    add("arch.cr3", "l0", b, "CR3 as cached", lambda v: v.arch.cr3)
    add("arch.cr4", "l0", b, "CR4 as cached", lambda v: v.arch.cr4)
    add(
        "arch.cr0_guest_owned_bits",
        "l0",
        b,
        "bits of CR0 that do not exit",
        lambda v: v.arch.cr0_guest_owned_bits,
    )
    add(
        "arch.cr4_guest_owned_bits",
        "l0",
        b,
        "bits of CR4 that do not exit",
        lambda v: v.arch.cr4_guest_owned_bits,
    )
    add("arch.pat", "l0", b, "PAT, its low half", lambda v: v.arch.pat)
    add("arch.regs_rip", "l0", b, "RIP as cached, valid or not", lambda v: v.arch.regs[16])
    add("arch.regs_rsp", "l0", b, "RSP as cached, valid or not", lambda v: v.arch.regs[4])
    add("arch.rflags", "l0", b, "RFLAGS as cached, valid or not", lambda v: v.rflags)
    add("arch.cpl", "l0", n, "privilege level as cached, valid or not", lambda v: v.cpl)
    add("arch.regs_avail", "l0", b, "registers that are cached", lambda v: v.arch.regs_avail)
    add("arch.regs_dirty", "l0", b, "registers to write back", lambda v: v.arch.regs_dirty)
    add(
        "arch.segcache",
        "l0",
        b,
        "segment fields that are cached",
        lambda v: v.segment_cache.bitmask,
    )
    add(
        "arch.root_valid",
        "l0",
        n,
        "a root of page tables is loaded",
        lambda v: int(v.arch.mmu.root_hpa != INVALID_PAGE),
    )
    add("arch.pdptrs", "l0", b, "PDPTEs as cached", lambda v: list(v.arch.mmu.pdptrs))
    add("fpu_active", "l0", n, "the guest may use the FPU", lambda v: v.fpu_active)
    add(
        "guest_fpu_loaded", "l0", n, "the guest's FPU state is loaded", lambda v: v.guest_fpu_loaded
    )
    add("xcr0_loaded", "l0", n, "the guest's XCR0 is loaded", lambda v: v.guest_xcr0_loaded)
    add("mp_state", "l0", n, "0 runnable, 3 halted", lambda v: v.arch.mp_state)
    add(
        "apf_halted",
        "l0",
        n,
        "halted until a page has been fetched",
        lambda v: int(v.arch.apf.halted),
    )
    add("xcr0", "l1", b, "XCR0", lambda v: v.arch.xcr0)
    add("guest_debug", "l0", b, "who debugs the guest", lambda v: v.guest_debug)
    add("vmx.fail", "l0", n, "the last VM entry was a VMfail", lambda v: v.fail)
    add(
        "vmx.nmi_known_unmasked",
        "l0",
        n,
        "NMIs are known not to be blocked",
        lambda v: int(v.nmi_known_unmasked),
    )
    add(
        "vmx.soft_vnmi_blocked",
        "l0",
        n,
        "NMIs are blocked, by software",
        lambda v: v.soft_vnmi_blocked,
    )
    add(
        "vmx.vnmi_blocked_time",
        "l0",
        n,
        "for how long, in nanoseconds",
        lambda v: v.vnmi_blocked_time,
    )
    add("vmx.entry_time", "l0", n, "time of the VM entry, nanoseconds", lambda v: v.entry_time)
    add(
        "vmx.emulation_required",
        "l0",
        n,
        "guest state may be invalid",
        lambda v: int(v.emulation_required),
    )
    add("vmx.rdtscp_enabled", "l0", n, "the guest has RDTSCP", lambda v: int(v.rdtscp_enabled))
    add("vmx.save_nmsrs", "l0", n, "MSRs to switch lazily", lambda v: v.save_nmsrs)
    add("vmx.vpid", "l0", n, "VPID, 0 for none", lambda v: v.vpid)
    add("vmx.exit_reason", "l0", b, "reason of the last exit", lambda v: v.exit_reason)
    add("vmx.exit_intr_info", "l0", b, "interruption information", lambda v: v.exit_intr_info)
    add(
        "vmx.idt_vectoring_info",
        "l0",
        b,
        "IDT-vectoring information of the last exit",
        lambda v: v.idt_vectoring_info,
    )
    add("vmx.host_rsp", "l0", b, "HOST_RSP as cached", lambda v: v.host_rsp)
    add(
        "vmx.host_loaded", "l0", n, "the host's state is in the VMCS", lambda v: v.host_state.loaded
    )
    add("vmx.vm86_active", "l0", n, "real mode is emulated", lambda v: v.rmode.vm86_active)
    add("run.exit_reason", "l0", n, "why user space was returned to", lambda v: v.run.exit_reason)
    add(
        "run.riw",
        "l0",
        n,
        "user space waits for an interrupt window",
        lambda v: v.run.request_interrupt_window,
    )
    add("run.hw", "l0", b, "unknown exit reason", lambda v: v.run.hw.hardware_exit_reason)
    add(
        "run.fail_entry",
        "l0",
        b,
        "why a VM entry failed",
        lambda v: v.run.fail_entry.hardware_entry_failure_reason,
    )
    add(
        "run.ex",
        "l0",
        n,
        "exception for user space: vector, error code",
        lambda v: [v.run.ex.exception, v.run.ex.error_code],
    )
    add("run.internal", "l0", n, "internal error: suberror, ndata, two data words", _run_internal)
    add("run.debug", "l0", n, "debug exit: exception, pc, dr6, dr7", _run_debug)
    for name in _STATISTICS:
        add(f"stat.{name}", "l0", n, f"statistics: {name}", _stat(name))
    add("exits_queued", "l0", n, "the script has more outcomes", _exits_queued)
    return keys


_STATISTICS: Final = (
    "exits",
    "irq_exits",
    "irq_window_exits",
    "nmi_window_exits",
    "irq_injections",
    "nmi_injections",
    "halt_exits",
    "tlb_flush",
    "pf_guest",
    "host_state_reload",
)


def _exits_queued(vmx: vcpu_vmx) -> Value:
    """Return whether the processor's script has more outcomes; other processors have no script."""
    processor = vmx.processor
    return int(isinstance(processor, ScriptedProcessor) and len(processor.outcomes) > 0)


def _gpr(number: int) -> Callable[[vcpu_vmx], Value]:
    """Return a reader of a general-purpose register."""
    return lambda v: v.arch.regs[number]


def _stat(name: str) -> Callable[[vcpu_vmx], Value]:
    """Return a reader of a counter of ``vcpu->stat``."""

    def read(vmx: vcpu_vmx) -> Value:
        count: int = getattr(vmx.stat, name)
        return count

    return read


def _run_internal(vmx: vcpu_vmx) -> Value:
    """Return what user space is told of an internal error."""
    internal = vmx.run.internal
    return [internal.suberror, internal.ndata, internal.data[0], internal.data[1]]


def _run_debug(vmx: vcpu_vmx) -> Value:
    """Return what user space is told of a debug exit."""
    debug = vmx.run.debug
    return [debug.exception, debug.pc, debug.dr6, debug.dr7]


KEYS: Final[dict[str, Key]] = _keys()
"""Every key that is not a field of a VMCS, by name."""
