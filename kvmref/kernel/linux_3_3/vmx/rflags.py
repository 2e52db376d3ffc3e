# SPDX-License-Identifier: GPL-2.0-only
"""RFLAGS, the interrupt shadow, and stepping over an instruction (vmx.c:1588-1667)."""

from __future__ import annotations

from kvmref.integers import U64, u32, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    GUEST_ACTIVITY_ACTIVE,
    GUEST_ACTIVITY_HLT,
    GUEST_INTR_STATE_MOV_SS,
    GUEST_INTR_STATE_STI,
)
from kvmref.kernel.linux_3_3.include.kvm_host import (
    KVM_X86_SHADOW_INT_MOV_SS,
    KVM_X86_SHADOW_INT_STI,
    VCPU_EXREG_CPL,
    VCPU_EXREG_RFLAGS,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.processor_flags import X86_EFLAGS_IOPL, X86_EFLAGS_VM
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_rip_read, kvm_rip_write
from kvmref.kernel.linux_3_3.vmx.module import RMODE_GUEST_OWNED_EFLAGS_BITS
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import (
    vmcs_read32,
    vmcs_readl,
    vmcs_write32,
    vmcs_writel,
)
from kvmref.processor.vmcs_fields import (
    GUEST_ACTIVITY_STATE,
    GUEST_INTERRUPTIBILITY_INFO,
    GUEST_RFLAGS,
    VM_EXIT_INSTRUCTION_LEN,
)


def vmx_get_rflags(vcpu: kvm_vcpu) -> u64:
    """Return RFLAGS as the guest sees them.

    Source: arch/x86/kvm/vmx.c:1588-1603
    """
    vmx = to_vmx(vcpu)
    if not vcpu.arch.regs_avail & (1 << VCPU_EXREG_RFLAGS):
        vcpu.arch.regs_avail |= 1 << VCPU_EXREG_RFLAGS
        rflags = vmcs_readl(vcpu, GUEST_RFLAGS)
        if vmx.rmode.vm86_active:
            rflags &= RMODE_GUEST_OWNED_EFLAGS_BITS
            save_rflags = vmx.rmode.save_rflags
            rflags |= save_rflags & ~RMODE_GUEST_OWNED_EFLAGS_BITS
        vmx.rflags = rflags
    return vmx.rflags


def vmx_set_rflags(vcpu: kvm_vcpu, rflags: u64) -> None:
    """Set RFLAGS as the guest sees them.

    Source: arch/x86/kvm/vmx.c:1605-1615
    """
    vmx = to_vmx(vcpu)
    vcpu.arch.regs_avail |= 1 << VCPU_EXREG_RFLAGS
    vcpu.arch.regs_avail &= ~(1 << VCPU_EXREG_CPL)
    vmx.rflags = rflags
    if vmx.rmode.vm86_active:
        vmx.rmode.save_rflags = rflags
        rflags |= X86_EFLAGS_IOPL | X86_EFLAGS_VM
    vmcs_writel(vcpu, GUEST_RFLAGS, rflags)


def vmx_get_interrupt_shadow(vcpu: kvm_vcpu, mask: int) -> u32:
    """Return the guest's blocking by MOV SS and STI, as KVM_X86_SHADOW_INT_* bits in *mask*.

    Source: arch/x86/kvm/vmx.c:1617-1628
    """
    interruptibility = vmcs_read32(vcpu, GUEST_INTERRUPTIBILITY_INFO)
    ret = 0

    if interruptibility & GUEST_INTR_STATE_STI:
        ret |= KVM_X86_SHADOW_INT_STI
    if interruptibility & GUEST_INTR_STATE_MOV_SS:
        ret |= KVM_X86_SHADOW_INT_MOV_SS

    return ret & mask


def vmx_set_interrupt_shadow(vcpu: kvm_vcpu, mask: int) -> None:
    """Set the guest's blocking by MOV SS or STI; MOV SS goes first, 0 is none.

    Source: arch/x86/kvm/vmx.c:1630-1644
    """
    interruptibility_old = vmcs_read32(vcpu, GUEST_INTERRUPTIBILITY_INFO)
    interruptibility = interruptibility_old

    interruptibility &= ~(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS)

    if mask & KVM_X86_SHADOW_INT_MOV_SS:
        interruptibility |= GUEST_INTR_STATE_MOV_SS
    elif mask & KVM_X86_SHADOW_INT_STI:
        interruptibility |= GUEST_INTR_STATE_STI

    if interruptibility != interruptibility_old:
        vmcs_write32(vcpu, GUEST_INTERRUPTIBILITY_INFO, interruptibility)


def skip_emulated_instruction(vcpu: kvm_vcpu) -> None:
    """Step over the instruction that exited, and out of its interrupt shadow.

    Source: arch/x86/kvm/vmx.c:1646-1656
    """
    rip = kvm_rip_read(vcpu)
    rip = (rip + vmcs_read32(vcpu, VM_EXIT_INSTRUCTION_LEN)) & U64
    kvm_rip_write(vcpu, rip)

    vmx_set_interrupt_shadow(vcpu, 0)


def vmx_clear_hlt(vcpu: kvm_vcpu) -> None:
    """Wake a guest that halts without an exit; RIP is already behind the HLT.

    Source: arch/x86/kvm/vmx.c:1658-1667
    """
    if (
        not to_vmx(vcpu).module.yield_on_hlt
        and vmcs_read32(vcpu, GUEST_ACTIVITY_STATE) == GUEST_ACTIVITY_HLT
    ):
        vmcs_write32(vcpu, GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE)
