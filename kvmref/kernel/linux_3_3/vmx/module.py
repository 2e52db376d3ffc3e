# SPDX-License-Identifier: GPL-2.0-only
"""The variables of the module kvm-intel: parameters, and what it found out about the host.

In C these are static variables of vmx.c; here a machine has its own set, so that machines do not
share anything. They are set up once by `kvmref.kernel.linux_3_3.vmx.hardware_setup`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from kvmref.integers import U64, s32, u32, u64
from kvmref.kernel.linux_3_3.include.msr_index import (
    MSR_CSTAR,
    MSR_EFER,
    MSR_LSTAR,
    MSR_STAR,
    MSR_SYSCALL_MASK,
    MSR_TSC_AUX,
)
from kvmref.kernel.linux_3_3.include.processor_flags import (
    X86_CR0_CD,
    X86_CR0_NE,
    X86_CR0_NW,
    X86_CR0_PE,
    X86_CR0_PG,
    X86_CR0_WP,
    X86_CR4_DE,
    X86_CR4_OSFXSR,
    X86_CR4_OSXMMEXCPT,
    X86_CR4_PAE,
    X86_CR4_PCE,
    X86_CR4_PVI,
    X86_CR4_VME,
    X86_CR4_VMXE,
    X86_EFLAGS_IOPL,
    X86_EFLAGS_VM,
)
from kvmref.kernel.linux_3_3.vmx.structs import struct_loaded_vmcs
from kvmref.processor.vmcs import Vmcs

KVM_GUEST_CR0_MASK_UNRESTRICTED_GUEST: Final = X86_CR0_WP | X86_CR0_NE | X86_CR0_NW | X86_CR0_CD
KVM_GUEST_CR0_MASK: Final = KVM_GUEST_CR0_MASK_UNRESTRICTED_GUEST | X86_CR0_PG | X86_CR0_PE
KVM_VM_CR0_ALWAYS_ON_UNRESTRICTED_GUEST: Final = X86_CR0_WP | X86_CR0_NE
KVM_VM_CR0_ALWAYS_ON: Final = KVM_VM_CR0_ALWAYS_ON_UNRESTRICTED_GUEST | X86_CR0_PG | X86_CR0_PE
KVM_CR4_GUEST_OWNED_BITS: Final = (
    X86_CR4_PVI | X86_CR4_DE | X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT
)
KVM_PMODE_VM_CR4_ALWAYS_ON: Final = X86_CR4_PAE | X86_CR4_VMXE
KVM_RMODE_VM_CR4_ALWAYS_ON: Final = X86_CR4_VME | X86_CR4_PAE | X86_CR4_VMXE
RMODE_GUEST_OWNED_EFLAGS_BITS: Final = U64 & ~(X86_EFLAGS_IOPL | X86_EFLAGS_VM)

VMXON_CR0_ALWAYSON: Final = X86_CR0_PE | X86_CR0_PG | X86_CR0_NE
"""Bits of CR0 that L1 must keep set while it uses VMX."""
VMXON_CR4_ALWAYSON: Final = X86_CR4_VMXE
"""Bits of CR4 that L1 must keep set while it uses VMX."""

VMCS02_POOL_SIZE: Final = 1
"""How many vmcs02 are kept for vmcs12s that ran recently."""

vmx_msr_index: Final = (
    MSR_SYSCALL_MASK,
    MSR_LSTAR,
    MSR_CSTAR,
    MSR_EFER,
    MSR_TSC_AUX,
    MSR_STAR,
)
"""MSRs that are switched between host and guest; STAR is last because it is needed least."""


@dataclass(slots=True, eq=False, repr=False)
class struct_vmcs_config:
    """What goes into the control fields of every VMCS (``struct vmcs_config``)."""

    size: s32 = 0
    revision_id: u32 = 0
    pin_based_exec_ctrl: u32 = 0
    cpu_based_exec_ctrl: u32 = 0
    cpu_based_2nd_exec_ctrl: u32 = 0
    vmexit_ctrl: u32 = 0
    vmentry_ctrl: u32 = 0


@dataclass(slots=True, eq=False, repr=False)
class struct_vmx_capability:
    """What the host's EPT and VPID can do (``struct vmx_capability``)."""

    ept: u32 = 0
    vpid: u32 = 0


@dataclass(slots=True, eq=False, repr=False)
class nested_vmx_ctls:
    """The VMX controls that L1 may use: bits that must be one (low) and that may be one (high).

    In C, ten variables whose names begin with ``nested_vmx_``.
    """

    procbased_ctls_low: u32 = 0
    procbased_ctls_high: u32 = 0
    secondary_ctls_low: u32 = 0
    secondary_ctls_high: u32 = 0
    pinbased_ctls_low: u32 = 0
    pinbased_ctls_high: u32 = 0
    exit_ctls_low: u32 = 0
    exit_ctls_high: u32 = 0
    entry_ctls_low: u32 = 0
    entry_ctls_high: u32 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_intel:
    """The static variables of vmx.c. Those that C indexes by CPU are lists."""

    enable_vpid: bool = True
    flexpriority_enabled: bool = True
    enable_ept: bool = True
    enable_unrestricted_guest: bool = True
    emulate_invalid_guest_state: bool = False
    vmm_exclusive: bool = True
    yield_on_hlt: bool = True
    fasteoi: bool = True
    nested: bool = False
    ple_gap: s32 = 128
    ple_window: s32 = 4096
    host_efer: u64 = 0
    cpu_has_load_ia32_efer: bool = False
    cpu_has_load_perf_global_ctrl: bool = False
    vmcs_config: struct_vmcs_config = field(default_factory=struct_vmcs_config)
    vmx_capability: struct_vmx_capability = field(default_factory=struct_vmx_capability)
    nested_vmx: nested_vmx_ctls = field(default_factory=nested_vmx_ctls)
    vmxarea: list[Vmcs | None] = field(default_factory=lambda: [None, None])
    """The VMXON region of each CPU."""
    current_vmcs: list[Vmcs | None] = field(default_factory=lambda: [None, None])
    """The VMCS that was last loaded on each CPU."""
    loaded_vmcss_on_cpu: list[list[struct_loaded_vmcs]] = field(default_factory=lambda: [[], []])
    """The VMCSs that each CPU may hold in its caches, the newest first."""
