# SPDX-License-Identifier: GPL-2.0-only
"""Giving the FPU to the guest and taking it back; CR0 and CR4 as L2 sees them (vmx.c:1524-1586)."""

from __future__ import annotations

from kvmref.integers import U64, u64
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu
from kvmref.kernel.linux_3_3.include.processor_flags import X86_CR0_MP, X86_CR0_TS
from kvmref.kernel.linux_3_3.kvm_cache_regs import is_guest_mode, kvm_read_cr0_bits
from kvmref.kernel.linux_3_3.vmx.control_registers import vmx_decache_cr0_guest_bits
from kvmref.kernel.linux_3_3.vmx.exception_bitmap import update_exception_bitmap
from kvmref.kernel.linux_3_3.vmx.nested_pages import get_vmcs12
from kvmref.kernel.linux_3_3.vmx.vmcs12 import struct_vmcs12
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_readl, vmcs_set_bits, vmcs_writel
from kvmref.processor.vmcs_fields import CR0_GUEST_HOST_MASK, CR0_READ_SHADOW, GUEST_CR0


def vmx_fpu_activate(vcpu: kvm_vcpu) -> None:
    """Let the guest use the FPU without exits.

    Source: arch/x86/kvm/vmx.c:1524-1541
    """
    if vcpu.fpu_active:
        return
    vcpu.fpu_active = 1
    cr0 = vmcs_readl(vcpu, GUEST_CR0)
    cr0 &= ~(X86_CR0_TS | X86_CR0_MP)
    cr0 |= kvm_read_cr0_bits(vcpu, X86_CR0_TS | X86_CR0_MP)
    vmcs_writel(vcpu, GUEST_CR0, cr0)
    update_exception_bitmap(vcpu)
    vcpu.arch.cr0_guest_owned_bits = X86_CR0_TS
    if is_guest_mode(vcpu):
        vcpu.arch.cr0_guest_owned_bits &= ~get_vmcs12(vcpu).cr0_guest_host_mask
    vmcs_writel(vcpu, CR0_GUEST_HOST_MASK, ~vcpu.arch.cr0_guest_owned_bits & U64)


def nested_read_cr0(fields: struct_vmcs12) -> u64:
    """Return the CR0 that L2 reads.

    Source: arch/x86/kvm/vmx.c:1550-1554
    """
    return (fields.guest_cr0 & ~fields.cr0_guest_host_mask) | (
        fields.cr0_read_shadow & fields.cr0_guest_host_mask
    )


def nested_read_cr4(fields: struct_vmcs12) -> u64:
    """Return the CR4 that L2 reads.

    Source: arch/x86/kvm/vmx.c:1555-1559
    """
    return (fields.guest_cr4 & ~fields.cr4_guest_host_mask) | (
        fields.cr4_read_shadow & fields.cr4_guest_host_mask
    )


def vmx_fpu_deactivate(vcpu: kvm_vcpu) -> None:
    """Make the guest exit when it uses the FPU; the caller has cleared ``fpu_active``.

    Source: arch/x86/kvm/vmx.c:1561-1586
    """
    vmx_decache_cr0_guest_bits(vcpu)
    vmcs_set_bits(vcpu, GUEST_CR0, X86_CR0_TS | X86_CR0_MP)
    update_exception_bitmap(vcpu)
    vcpu.arch.cr0_guest_owned_bits = 0
    vmcs_writel(vcpu, CR0_GUEST_HOST_MASK, ~vcpu.arch.cr0_guest_owned_bits & U64)
    if is_guest_mode(vcpu):
        # Now that TS is shadowed, the shadow needs L2's TS. vmcs12.guest_cr0 does not have it yet.
        vmcs12 = get_vmcs12(vcpu)
        vmcs12.guest_cr0 = (vmcs12.guest_cr0 & ~X86_CR0_TS) | (vcpu.arch.cr0 & X86_CR0_TS)
        vmcs_writel(vcpu, CR0_READ_SHADOW, nested_read_cr0(vmcs12))
    else:
        vmcs_writel(vcpu, CR0_READ_SHADOW, vcpu.arch.cr0)
