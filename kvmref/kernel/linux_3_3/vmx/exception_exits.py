# SPDX-License-Identifier: GPL-2.0-only
"""Handlers of exits by exceptions and NMIs (vmx.c:4127-4295)."""

from __future__ import annotations

from kvmref.integers import U8, U64, u32
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    INTR_INFO_DELIVER_CODE_MASK,
    INTR_INFO_INTR_TYPE_MASK,
    INTR_INFO_VECTOR_MASK,
    INTR_TYPE_NMI_INTR,
    VECTORING_INFO_VALID_MASK,
)
from kvmref.kernel.linux_3_3.include.kvm import (
    KVM_EXIT_DEBUG,
    KVM_EXIT_EXCEPTION,
    KVM_EXIT_INTERNAL_ERROR,
    KVM_GUESTDBG_SINGLESTEP,
    KVM_GUESTDBG_USE_HW_BP,
    KVM_GUESTDBG_USE_SW_BP,
    KVM_INTERNAL_ERROR_SIMUL_EX,
)
from kvmref.kernel.linux_3_3.include.kvm_host import (
    BP_VECTOR,
    BR_VECTOR,
    DB_VECTOR,
    DE_VECTOR,
    DF_VECTOR,
    EMULATE_DONE,
    EMULTYPE_TRAP_UD,
    GP_VECTOR,
    MF_VECTOR,
    OF_VECTOR,
    SS_VECTOR,
    UD_VECTOR,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.processor_flags import DR6_FIXED_1
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_rip_read
from kvmref.kernel.linux_3_3.outside.emulator import emulate_instruction
from kvmref.kernel.linux_3_3.outside.mmu import kvm_mmu_page_fault, kvm_mmu_unprotect_page_virt
from kvmref.kernel.linux_3_3.outside.nmi import do_machine_check
from kvmref.kernel.linux_3_3.vmx.fpu import vmx_fpu_activate
from kvmref.kernel.linux_3_3.vmx.interruption_info import (
    is_invalid_opcode,
    is_machine_check,
    is_no_device,
    is_page_fault,
)
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_read32, vmcs_readl
from kvmref.kernel.linux_3_3.x86.exceptions import kvm_queue_exception
from kvmref.kernel.linux_3_3.x86.halt import kvm_emulate_halt
from kvmref.kernel.linux_3_3.x86_h import kvm_event_needs_reinjection
from kvmref.processor.vmcs_fields import (
    EXIT_QUALIFICATION,
    GUEST_CS_BASE,
    GUEST_DR7,
    VM_EXIT_INSTRUCTION_LEN,
    VM_EXIT_INTR_ERROR_CODE,
)


def handle_rmode_exception(vcpu: kvm_vcpu, vec: int, err_code: u32) -> int:
    """Handle an exception of emulated real mode: 1 if that was possible.

    #GP and #SS without an error code may come from an instruction that virtual-8086 mode cannot
    execute; it is emulated.

    Source: arch/x86/kvm/vmx.c:4127-4171
    """
    if (vec == GP_VECTOR or vec == SS_VECTOR) and err_code == 0:
        if emulate_instruction(vcpu, 0) == EMULATE_DONE:
            return 1
    if vec == DB_VECTOR:
        if vcpu.guest_debug & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP):
            return 0
        kvm_queue_exception(vcpu, vec)
        return 1
    if vec == BP_VECTOR:
        # User space that debugs the guest may want to inject the exception again.
        vcpu.arch.event_exit_inst_len = vmcs_read32(vcpu, VM_EXIT_INSTRUCTION_LEN) & U8
        if vcpu.guest_debug & KVM_GUESTDBG_USE_SW_BP:
            return 0
    if vec in (
        BP_VECTOR,
        DE_VECTOR,
        OF_VECTOR,
        BR_VECTOR,
        UD_VECTOR,
        DF_VECTOR,
        SS_VECTOR,
        GP_VECTOR,
        MF_VECTOR,
    ):
        kvm_queue_exception(vcpu, vec)
        return 1
    return 0


def kvm_machine_check(vcpu: kvm_vcpu) -> None:
    """Let the host handle a machine check that happened in the guest.

    Source: arch/x86/kvm/vmx.c:4180-4190
    """
    do_machine_check(vcpu.env)


def handle_machine_check(vcpu: kvm_vcpu) -> int:
    """Handle an exit by #MC: nothing is left to do.

    Source: arch/x86/kvm/vmx.c:4192-4196
    """
    return 1


def handle_exception(vcpu: kvm_vcpu) -> int:
    """Handle an exit by an exception or an NMI.

    Source: arch/x86/kvm/vmx.c:4198-4295
    """
    vmx = to_vmx(vcpu)
    kvm_run = vcpu.run

    vect_info = vmx.idt_vectoring_info
    intr_info = vmx.exit_intr_info

    if is_machine_check(intr_info):
        return handle_machine_check(vcpu)

    if vect_info & VECTORING_INFO_VALID_MASK and not is_page_fault(intr_info):
        vcpu.run.exit_reason = KVM_EXIT_INTERNAL_ERROR
        vcpu.run.internal.suberror = KVM_INTERNAL_ERROR_SIMUL_EX
        vcpu.run.internal.ndata = 2
        vcpu.run.internal.data[0] = vect_info
        vcpu.run.internal.data[1] = intr_info
        return 0

    if (intr_info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR:
        # The host has handled it before interrupts were enabled.
        return 1

    if is_no_device(intr_info):
        vmx_fpu_activate(vcpu)
        return 1

    if is_invalid_opcode(intr_info):
        er = emulate_instruction(vcpu, EMULTYPE_TRAP_UD)
        if er != EMULATE_DONE:
            kvm_queue_exception(vcpu, UD_VECTOR)
        return 1

    error_code = 0
    if intr_info & INTR_INFO_DELIVER_CODE_MASK:
        error_code = vmcs_read32(vcpu, VM_EXIT_INTR_ERROR_CODE)
    if is_page_fault(intr_info):
        # With EPT, #PF does not exit on L0's account.
        assert not vmx.module.enable_ept
        cr2 = vmcs_readl(vcpu, EXIT_QUALIFICATION)

        if kvm_event_needs_reinjection(vcpu):
            kvm_mmu_unprotect_page_virt(vcpu, cr2)
        return kvm_mmu_page_fault(vcpu, cr2, error_code)

    if vmx.rmode.vm86_active and handle_rmode_exception(
        vcpu, intr_info & INTR_INFO_VECTOR_MASK, error_code
    ):
        if vcpu.arch.halt_request:
            vcpu.arch.halt_request = 0
            return kvm_emulate_halt(vcpu)
        return 1

    ex_no = intr_info & INTR_INFO_VECTOR_MASK
    if ex_no == DB_VECTOR:
        dr6 = vmcs_readl(vcpu, EXIT_QUALIFICATION)
        if not vcpu.guest_debug & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP):
            vcpu.arch.dr6 = dr6 | DR6_FIXED_1
            kvm_queue_exception(vcpu, DB_VECTOR)
            return 1
        kvm_run.debug.dr6 = dr6 | DR6_FIXED_1
        kvm_run.debug.dr7 = vmcs_readl(vcpu, GUEST_DR7)
    if ex_no in (DB_VECTOR, BP_VECTOR):
        # User space that debugs the guest may want to inject the exception again.
        vcpu.arch.event_exit_inst_len = vmcs_read32(vcpu, VM_EXIT_INSTRUCTION_LEN) & U8
        kvm_run.exit_reason = KVM_EXIT_DEBUG
        rip = kvm_rip_read(vcpu)
        kvm_run.debug.pc = (vmcs_readl(vcpu, GUEST_CS_BASE) + rip) & U64
        kvm_run.debug.exception = ex_no
    else:
        kvm_run.exit_reason = KVM_EXIT_EXCEPTION
        kvm_run.ex.exception = ex_no
        kvm_run.ex.error_code = error_code
    return 0
