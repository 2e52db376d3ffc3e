# SPDX-License-Identifier: GPL-2.0-only
"""Handlers of accesses to control registers, debug registers and MSRs (vmx.c:4343-4565)."""

from __future__ import annotations

from kvmref.integers import U8, U32, U64, sign_extend_32, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    DEBUG_REG_ACCESS_NUM,
    LMSW_SOURCE_DATA_SHIFT,
    TYPE_MOV_FROM_DR,
)
from kvmref.kernel.linux_3_3.include.kvm import (
    KVM_EXIT_DEBUG,
    KVM_EXIT_SET_TPR,
    KVM_GUESTDBG_USE_HW_BP,
)
from kvmref.kernel.linux_3_3.include.kvm_host import (
    DB_VECTOR,
    VCPU_REGS_RAX,
    VCPU_REGS_RCX,
    VCPU_REGS_RDX,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.processor_flags import DR6_BD, DR7_GD, X86_CR0_TS
from kvmref.kernel.linux_3_3.kvm_cache_regs import (
    is_guest_mode,
    kvm_read_cr0_bits,
    kvm_read_cr3,
    kvm_register_read,
    kvm_register_write,
)
from kvmref.kernel.linux_3_3.vmx.control_registers import vmx_set_cr0
from kvmref.kernel.linux_3_3.vmx.fpu import vmx_fpu_activate
from kvmref.kernel.linux_3_3.vmx.module import VMXON_CR0_ALWAYSON
from kvmref.kernel.linux_3_3.vmx.msrs import vmx_get_msr, vmx_set_msr
from kvmref.kernel.linux_3_3.vmx.rflags import skip_emulated_instruction
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_readl, vmcs_writel
from kvmref.kernel.linux_3_3.x86.control_registers import (
    kvm_get_cr8,
    kvm_lmsw,
    kvm_set_cr0,
    kvm_set_cr3,
    kvm_set_cr4,
    kvm_set_cr8,
)
from kvmref.kernel.linux_3_3.x86.debug_registers import kvm_get_dr, kvm_set_dr
from kvmref.kernel.linux_3_3.x86.exceptions import (
    kvm_complete_insn_gp,
    kvm_inject_gp,
    kvm_queue_exception,
    kvm_require_cpl,
)
from kvmref.processor.vmcs_fields import (
    CR0_READ_SHADOW,
    CR4_READ_SHADOW,
    EXIT_QUALIFICATION,
    GUEST_CS_BASE,
    GUEST_DR7,
    GUEST_RIP,
)


def handle_set_cr0(vcpu: kvm_vcpu, val: u64) -> int:
    """Write *val* to CR0: 0, or 1 for #GP.

    L2 gets here if L1 does not care, but L0 does: L2's value goes into the shadow.

    Source: arch/x86/kvm/vmx.c:4343-4364
    """
    if to_vmx(vcpu).nested.vmxon and (val & VMXON_CR0_ALWAYSON) != VMXON_CR0_ALWAYSON:
        return 1

    if is_guest_mode(vcpu):
        if kvm_set_cr0(
            vcpu,
            (val & vcpu.arch.cr0_guest_owned_bits)
            | (vcpu.arch.cr0 & ~vcpu.arch.cr0_guest_owned_bits),
        ):
            return 1
        vmcs_writel(vcpu, CR0_READ_SHADOW, val)
        return 0
    return kvm_set_cr0(vcpu, val)


def handle_set_cr4(vcpu: kvm_vcpu, val: u64) -> int:
    """Write *val* to CR4: 0, or 1 for #GP.

    Source: arch/x86/kvm/vmx.c:4366-4376
    """
    if is_guest_mode(vcpu):
        if kvm_set_cr4(
            vcpu,
            (val & vcpu.arch.cr4_guest_owned_bits)
            | (vcpu.arch.cr4 & ~vcpu.arch.cr4_guest_owned_bits),
        ):
            return 1
        vmcs_writel(vcpu, CR4_READ_SHADOW, val)
        return 0
    return kvm_set_cr4(vcpu, val)


def handle_clts(vcpu: kvm_vcpu) -> None:
    """Clear TS for CLTS.

    For L2 it is only pretended, in the shadow and for `vmx_fpu_activate`: L0 wants TS to stay.

    Source: arch/x86/kvm/vmx.c:4379-4392
    """
    if is_guest_mode(vcpu):
        vmcs_writel(vcpu, CR0_READ_SHADOW, vmcs_readl(vcpu, CR0_READ_SHADOW) & ~X86_CR0_TS)
        vcpu.arch.cr0 &= ~X86_CR0_TS
    else:
        vmx_set_cr0(vcpu, kvm_read_cr0_bits(vcpu, ~X86_CR0_TS & U64))


def handle_cr(vcpu: kvm_vcpu) -> int:
    """Handle an exit by an access to a control register.

    Source: arch/x86/kvm/vmx.c:4394-4471
    """
    exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)
    cr = exit_qualification & 15
    reg = (exit_qualification >> 8) & 15
    access = (exit_qualification >> 4) & 3
    if access == 0:  # MOV to CR
        val = kvm_register_read(vcpu, reg)
        if cr == 0:
            err = handle_set_cr0(vcpu, val)
            kvm_complete_insn_gp(vcpu, err)
            return 1
        if cr == 3:
            err = kvm_set_cr3(vcpu, val)
            kvm_complete_insn_gp(vcpu, err)
            return 1
        if cr == 4:
            err = handle_set_cr4(vcpu, val)
            kvm_complete_insn_gp(vcpu, err)
            return 1
        if cr == 8:
            cr8_prev = kvm_get_cr8(vcpu) & U8
            cr8 = kvm_register_read(vcpu, reg) & U8
            err = kvm_set_cr8(vcpu, cr8)
            kvm_complete_insn_gp(vcpu, err)
            if vcpu.kvm.irqchip_in_kernel:
                return 1
            if cr8_prev <= cr8:
                return 1
            vcpu.run.exit_reason = KVM_EXIT_SET_TPR
            return 0
    elif access == 2:  # CLTS
        handle_clts(vcpu)
        skip_emulated_instruction(vcpu)
        vmx_fpu_activate(vcpu)
        return 1
    elif access == 1:  # MOV from CR
        if cr == 3:
            val = kvm_read_cr3(vcpu)
            kvm_register_write(vcpu, reg, val)
            skip_emulated_instruction(vcpu)
            return 1
        if cr == 8:
            val = kvm_get_cr8(vcpu)
            kvm_register_write(vcpu, reg, val)
            skip_emulated_instruction(vcpu)
            return 1
    else:  # LMSW
        val = (exit_qualification >> LMSW_SOURCE_DATA_SHIFT) & 0x0F
        kvm_lmsw(vcpu, val)

        skip_emulated_instruction(vcpu)
        return 1
    vcpu.run.exit_reason = 0
    return 0


def handle_dr(vcpu: kvm_vcpu) -> int:
    """Handle an exit by an access to a debug register.

    DR7 goes through a signed 32-bit variable on its way to user space. The instruction is stepped
    over even if writing the register has queued an exception.

    Source: arch/x86/kvm/vmx.c:4473-4517
    """
    if not kvm_require_cpl(vcpu, 0):
        return 1
    dr = sign_extend_32(vmcs_readl(vcpu, GUEST_DR7))
    if dr & DR7_GD:
        # The exit came before the debug exception that general detect stands for.
        if vcpu.guest_debug & KVM_GUESTDBG_USE_HW_BP:
            vcpu.run.debug.dr6 = vcpu.arch.dr6
            vcpu.run.debug.dr7 = dr & U64
            vcpu.run.debug.pc = (
                vmcs_readl(vcpu, GUEST_CS_BASE) + vmcs_readl(vcpu, GUEST_RIP)
            ) & U64
            vcpu.run.debug.exception = DB_VECTOR
            vcpu.run.exit_reason = KVM_EXIT_DEBUG
            return 0
        vcpu.arch.dr7 &= ~DR7_GD
        vcpu.arch.dr6 |= DR6_BD
        vmcs_writel(vcpu, GUEST_DR7, vcpu.arch.dr7)
        kvm_queue_exception(vcpu, DB_VECTOR)
        return 1

    exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)
    dr = exit_qualification & DEBUG_REG_ACCESS_NUM
    reg = (exit_qualification >> 8) & 0xF
    if exit_qualification & TYPE_MOV_FROM_DR:
        err, val = kvm_get_dr(vcpu, dr)
        if not err:
            kvm_register_write(vcpu, reg, val)
    else:
        kvm_set_dr(vcpu, dr, vcpu.arch.regs[reg])
    skip_emulated_instruction(vcpu)
    return 1


def vmx_set_dr7(vcpu: kvm_vcpu, val: u64) -> None:
    """Set DR7 of the guest.

    Source: arch/x86/kvm/vmx.c:4519-4522
    """
    vmcs_writel(vcpu, GUEST_DR7, val)


def handle_rdmsr(vcpu: kvm_vcpu) -> int:
    """Handle an exit by RDMSR.

    Source: arch/x86/kvm/vmx.c:4530-4548
    """
    ecx = vcpu.arch.regs[VCPU_REGS_RCX] & U32

    err, data = vmx_get_msr(vcpu, ecx)
    if err:
        kvm_inject_gp(vcpu, 0)
        return 1

    vcpu.arch.regs[VCPU_REGS_RAX] = data & U32
    vcpu.arch.regs[VCPU_REGS_RDX] = (data >> 32) & U32
    skip_emulated_instruction(vcpu)
    return 1


def handle_wrmsr(vcpu: kvm_vcpu) -> int:
    """Handle an exit by WRMSR.

    Source: arch/x86/kvm/vmx.c:4550-4565
    """
    ecx = vcpu.arch.regs[VCPU_REGS_RCX] & U32
    data = (vcpu.arch.regs[VCPU_REGS_RAX] & U32) | ((vcpu.arch.regs[VCPU_REGS_RDX] & U32) << 32)

    if vmx_set_msr(vcpu, ecx, data) != 0:
        kvm_inject_gp(vcpu, 0)
        return 1

    skip_emulated_instruction(vcpu)
    return 1
