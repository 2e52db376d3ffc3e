# SPDX-License-Identifier: GPL-2.0-only
"""What a machine starts with: module parameters, capability MSRs, CPUID, and the registers of L1.

Nothing here does anything: it is the one value that processors and kernels are made from.
"""

from __future__ import annotations

from dataclasses import dataclass

from kvmref.integers import u16, u32, u64


@dataclass(slots=True, frozen=True, kw_only=True)
class Setup:
    """The configuration of a machine. The defaults are a 64-bit L1 on a host with EPT and VPID."""

    enable_ept: bool = True
    """Module parameter; lowered to what the host has. So are the next three."""
    enable_vpid: bool = True
    enable_unrestricted_guest: bool = True
    flexpriority: bool = True
    yield_on_hlt: bool = True
    """Module parameter: HLT exits."""
    nested: bool = True
    """Module parameter: guests may use VMX. (Linux 3.3.8's own default is off.)"""
    ple_gap: u32 = 0x80
    """Module parameter: longest gap between the PAUSEs of a loop, in TSC ticks; 0 is off."""
    virtual_nmis: bool = True
    """Off: bit 5 is cleared in the high half of IA32_VMX_PINBASED_CTLS."""
    tpr_shadow: bool = True
    """Off: bit 21 is cleared in the high half of IA32_VMX_PROCBASED_CTLS."""
    secondary: bool = True
    """Off: bit 31 is cleared in the high half of IA32_VMX_PROCBASED_CTLS."""
    irqchip: bool = True
    """The interrupt controller is in the kernel."""
    cpuid_vmx: bool = True
    """The guest's CPUID has VMX; the next four likewise."""
    cpuid_xsave: bool = True
    cpuid_smep: bool = True
    cpuid_fsgsbase: bool = True
    cpuid_rdtscp: bool = True
    pin_lo: u32 = 0x16
    """IA32_VMX_PINBASED_CTLS: bits that must be one; ``pin_hi``: bits that may be one."""
    pin_hi: u32 = 0x7F
    proc_lo: u32 = 0x401E172
    """IA32_VMX_PROCBASED_CTLS, low and high half."""
    proc_hi: u32 = 0xFFF9FFFE
    sec_lo: u32 = 0x0
    """IA32_VMX_PROCBASED_CTLS2, low and high half."""
    sec_hi: u32 = 0x4FF
    exit_lo: u32 = 0x36DFF
    """IA32_VMX_EXIT_CTLS, low and high half."""
    exit_hi: u32 = 0x7FFFFF
    entry_lo: u32 = 0x11FF
    """IA32_VMX_ENTRY_CTLS, low and high half."""
    entry_hi: u32 = 0xFFFF
    ept_vpid_cap: u64 = 0xF0106114141
    """IA32_VMX_EPT_VPID_CAP."""
    vmx_basic: u64 = 0xDA040000000010
    """IA32_VMX_BASIC."""
    host_efer: u64 = 0xD01
    """IA32_EFER of the host."""
    tsc: u64 = 0x100000
    """Time-stamp counter of the host, which stands still."""
    l1_cr0: u64 = 0x80050033
    """Registers of L1, this one and the following."""
    l1_cr3: u64 = 0x2000
    l1_cr4: u64 = 0x26B0
    l1_efer: u64 = 0xD01
    l1_rip: u64 = 0x10000
    l1_rsp: u64 = 0x9000
    l1_rflags: u64 = 0x202
    l1_cs_ar: u32 = 0xA09B
    """Access rights of CS, in the format of a VMCS."""
    l1_cs_sel: u16 = 0x10
    guest_debug: u64 = 0x0
    """``vcpu->guest_debug``: who debugs the guest, KVM_GUESTDBG_* bits."""
