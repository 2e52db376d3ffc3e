# SPDX-License-Identifier: GPL-2.0-only
"""What stands for the MSRs that are common to all vendors."""

from __future__ import annotations

from kvmref.integers import u32, u64
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu
from kvmref.kernel.linux_3_3.include.msr_index import (
    MSR_EFER,
    MSR_IA32_APICBASE,
    MSR_IA32_CR_PAT,
)
from kvmref.kernel.linux_3_3.outside.irqchip import kvm_set_apic_base
from kvmref.kernel.linux_3_3.x86.efer import set_efer


def kvm_get_msr_common(vcpu: kvm_vcpu, msr: u32) -> tuple[int, u64]:
    """Return 0 and the value of an MSR, or 1 and nothing for one that is not there."""
    if msr == MSR_EFER:
        return 0, vcpu.arch.efer
    if msr == MSR_IA32_CR_PAT:
        return 0, vcpu.arch.pat
    if msr == MSR_IA32_APICBASE:
        return 0, vcpu.arch.apic_base
    return 1, 0


def kvm_set_msr_common(vcpu: kvm_vcpu, msr: u32, data: u64) -> int:
    """Store an MSR; return 0, or 1 for a value or an MSR that the guest may not store."""
    if msr == MSR_EFER:
        return set_efer(vcpu, data)
    if msr == MSR_IA32_APICBASE:
        kvm_set_apic_base(vcpu, data)
        return 0
    return 1
