# SPDX-License-Identifier: GPL-2.0-only
"""The guest's time-stamp counter (vmx.c:1795-1866)."""

from __future__ import annotations

from kvmref.integers import U64, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import CPU_BASED_USE_TSC_OFFSETING
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu
from kvmref.kernel.linux_3_3.kvm_cache_regs import is_guest_mode
from kvmref.kernel.linux_3_3.outside.time import native_read_tsc, rdtscll
from kvmref.kernel.linux_3_3.vmx.capabilities import nested_cpu_has
from kvmref.kernel.linux_3_3.vmx.nested_pages import get_vmcs12
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_read64, vmcs_write64
from kvmref.processor.vmcs_fields import TSC_OFFSET


def guest_read_tsc(vcpu: kvm_vcpu) -> u64:
    """Return the time-stamp counter of the guest that is loaded.

    Source: arch/x86/kvm/vmx.c:1795-1802
    """
    host_tsc = rdtscll(vcpu.env)
    tsc_offset = vmcs_read64(vcpu, TSC_OFFSET)
    return (host_tsc + tsc_offset) & U64


def vmx_read_l1_tsc(vcpu: kvm_vcpu) -> u64:
    """Return the time-stamp counter of L1, even while L2 is loaded.

    Source: arch/x86/kvm/vmx.c:1808-1817
    """
    host_tsc = rdtscll(vcpu.env)
    tsc_offset = (
        to_vmx(vcpu).nested.vmcs01_tsc_offset
        if is_guest_mode(vcpu)
        else vmcs_read64(vcpu, TSC_OFFSET)
    )
    return (host_tsc + tsc_offset) & U64


def vmx_write_tsc_offset(vcpu: kvm_vcpu, offset: u64) -> None:
    """Set L1's offset from the host's time-stamp counter; L2's own offset is added to it.

    Source: arch/x86/kvm/vmx.c:1832-1851
    """
    if is_guest_mode(vcpu):
        to_vmx(vcpu).nested.vmcs01_tsc_offset = offset
        vmcs12 = get_vmcs12(vcpu)
        vmcs_write64(
            vcpu,
            TSC_OFFSET,
            (
                offset
                + (vmcs12.tsc_offset if nested_cpu_has(vmcs12, CPU_BASED_USE_TSC_OFFSETING) else 0)
            )
            & U64,
        )
    else:
        vmcs_write64(vcpu, TSC_OFFSET, offset)


def vmx_compute_tsc_offset(vcpu: kvm_vcpu, target_tsc: u64) -> u64:
    """Return the offset that makes the guest's time-stamp counter read *target_tsc* now.

    Source: arch/x86/kvm/vmx.c:1863-1866
    """
    return (target_tsc - native_read_tsc(vcpu.env)) & U64
