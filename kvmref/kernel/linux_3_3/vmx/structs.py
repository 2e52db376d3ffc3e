# SPDX-License-Identifier: GPL-2.0-only
"""The structs of vmx.c: what VMX adds to a virtual CPU (vmx.c:132-436).

In C, ``struct vcpu_vmx`` begins with a ``struct kvm_vcpu``; here it is a subclass, and
``vmx->vcpu`` is the object itself. `to_vmx` is the way from one to the other, as in C.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kvmref.integers import U64, s32, s64, u8, u16, u32, u64
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu
from kvmref.processor.vmcs import Vmcs

if TYPE_CHECKING:
    from kvmref.kernel.linux_3_3.outside.memory import page
    from kvmref.kernel.linux_3_3.vmx.module import kvm_intel
    from kvmref.kernel.linux_3_3.vmx.vmcs12 import struct_vmcs12

NR_AUTOLOAD_MSRS: Final = 8
NO_VMPTR: Final = U64
"""Value of ``nested.current_vmptr`` when L1 has no current VMCS (-1ull in C)."""

# ``enum segment_cache_field``
SEG_FIELD_SEL: Final = 0
SEG_FIELD_BASE: Final = 1
SEG_FIELD_LIMIT: Final = 2
SEG_FIELD_AR: Final = 3
SEG_FIELD_NR: Final = 4


@dataclass(slots=True, eq=False, repr=False)
class struct_loaded_vmcs:
    """A VMCS that may be loaded on a CPU (``struct loaded_vmcs``).

    ``cpu`` is where it was last loaded, or -1.
    """

    vmcs: Vmcs | None = None
    cpu: s32 = 0
    launched: s32 = 0


@dataclass(slots=True, eq=False, repr=False)
class shared_msr_entry:
    """An MSR that is switched lazily (``struct shared_msr_entry``).

    ``index`` is a position in ``vmx_msr_index``.
    """

    index: u32 = 0
    data: u64 = 0
    mask: u64 = 0


@dataclass(slots=True, eq=False, repr=False)
class vmx_msr_entry:
    """An entry of an MSR-load area (``struct vmx_msr_entry``)."""

    index: u32 = 0
    value: u64 = 0


@dataclass(slots=True, eq=False, repr=False)
class struct_msr_autoload:
    """The MSR-load areas for VM entry and VM exit, ``nr`` entries each."""

    nr: u32 = 0
    guest: list[vmx_msr_entry] = field(
        default_factory=lambda: [vmx_msr_entry() for _ in range(NR_AUTOLOAD_MSRS)]
    )
    host: list[vmx_msr_entry] = field(
        default_factory=lambda: [vmx_msr_entry() for _ in range(NR_AUTOLOAD_MSRS)]
    )


@dataclass(slots=True, eq=False, repr=False)
class struct_host_state:
    """What of the host's state waits to be restored."""

    loaded: s32 = 0
    fs_sel: u16 = 0
    gs_sel: u16 = 0
    ldt_sel: u16 = 0
    gs_ldt_reload_needed: s32 = 0
    fs_reload_needed: s32 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_save_segment:
    """A segment register, access rights in the format of a VMCS (``struct kvm_save_segment``)."""

    selector: u16 = 0
    base: u64 = 0
    limit: u32 = 0
    ar: u32 = 0


@dataclass(slots=True, eq=False, repr=False)
class struct_rmode:
    """What emulated real mode (virtual-8086 mode) hides from the guest."""

    vm86_active: s32 = 0
    save_rflags: u64 = 0
    tr: kvm_save_segment = field(default_factory=kvm_save_segment)
    es: kvm_save_segment = field(default_factory=kvm_save_segment)
    ds: kvm_save_segment = field(default_factory=kvm_save_segment)
    fs: kvm_save_segment = field(default_factory=kvm_save_segment)
    gs: kvm_save_segment = field(default_factory=kvm_save_segment)


@dataclass(slots=True, eq=False, repr=False)
class struct_segment_cache:
    """Segment registers read from the VMCS; four bits of ``bitmask`` per segment, one per field."""

    bitmask: u32 = 0
    seg: list[kvm_save_segment] = field(
        default_factory=lambda: [kvm_save_segment() for _ in range(8)]
    )


@dataclass(slots=True, eq=False, repr=False)
class vmcs02_list:
    """An entry of the pool: a vmcs02 and the vmcs12 it was used for (``struct vmcs02_list``)."""

    vmptr: u64 = 0
    vmcs02: struct_loaded_vmcs = field(default_factory=struct_loaded_vmcs)


@dataclass(slots=True, eq=False, repr=False)
class nested_vmx:
    """The emulated VMX of L1 (``struct nested_vmx``)."""

    vmxon: bool = False
    """L1 has executed VMXON."""
    current_vmptr: u64 = 0
    """Guest-physical address of the current VMCS of L1."""
    current_vmcs12_page: page | None = None
    current_vmcs12: struct_vmcs12 | None = None
    vmcs02_pool: list[vmcs02_list] = field(default_factory=list)
    """The most recently used entry first."""
    vmcs02_num: s32 = 0
    vmcs01_tsc_offset: u64 = 0
    nested_run_pending: bool = False
    """L2 must run next, and may not exit to L1 before it has."""
    apic_access_page: page | None = None
    """Guest page that vmcs02 refers to by its host-physical address."""


@dataclass(slots=True, eq=False, repr=False, kw_only=True)
class vcpu_vmx(kvm_vcpu):
    """A virtual CPU on VMX (``struct vcpu_vmx``)."""

    module: kvm_intel
    """The static variables of vmx.c; in C they are reached without a pointer."""
    host_rsp: u64 = 0
    fail: u8 = 0
    """The last VM entry ended with VMfail."""
    cpl: u8 = 0
    nmi_known_unmasked: bool = False
    exit_intr_info: u32 = 0
    idt_vectoring_info: u32 = 0
    rflags: u64 = 0
    guest_msrs: list[shared_msr_entry] = field(default_factory=list)
    nmsrs: s32 = 0
    save_nmsrs: s32 = 0
    msr_host_kernel_gs_base: u64 = 0
    msr_guest_kernel_gs_base: u64 = 0
    vmcs01: struct_loaded_vmcs = field(default_factory=struct_loaded_vmcs)
    loaded_vmcs: struct_loaded_vmcs
    """``vmcs01``, or the ``vmcs02`` of the pool's entry in use."""
    launched: bool = False
    """``__launched`` in C, where it is an operand of the assembly that enters the guest."""
    msr_autoload: struct_msr_autoload = field(default_factory=struct_msr_autoload)
    host_state: struct_host_state = field(default_factory=struct_host_state)
    rmode: struct_rmode = field(default_factory=struct_rmode)
    segment_cache: struct_segment_cache = field(default_factory=struct_segment_cache)
    vpid: s32 = 0
    emulation_required: bool = False
    soft_vnmi_blocked: s32 = 0
    """NMIs are blocked, on a host without virtual NMIs."""
    entry_time: s64 = 0
    """When the guest was entered, in nanoseconds."""
    vnmi_blocked_time: s64 = 0
    """For how long the guest has run with NMIs blocked, in nanoseconds."""
    exit_reason: u32 = 0
    rdtscp_enabled: bool = False
    nested: nested_vmx = field(default_factory=nested_vmx)


def to_vmx(vcpu: kvm_vcpu) -> vcpu_vmx:
    """Return the ``struct vcpu_vmx`` that *vcpu* is the beginning of.

    Source: arch/x86/kvm/vmx.c:433-436
    """
    assert isinstance(vcpu, vcpu_vmx)
    return vcpu
