# SPDX-License-Identifier: GPL-2.0-only
"""After an exit: what has become of injected events, and what must be done at once.

vmx.c:5927-6079. The events of L2 are the business of `kvmref.kernel.linux_3_3.vmx.run`.
"""

from __future__ import annotations

from kvmref.integers import U8, u32
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    EXIT_REASON_EXCEPTION_NMI,
    EXIT_REASON_MCE_DURING_VMENTRY,
    GUEST_INTR_STATE_NMI,
    INTR_INFO_INTR_TYPE_MASK,
    INTR_INFO_UNBLOCK_NMI,
    INTR_INFO_VALID_MASK,
    INTR_INFO_VECTOR_MASK,
    INTR_TYPE_EXT_INTR,
    INTR_TYPE_HARD_EXCEPTION,
    INTR_TYPE_NMI_INTR,
    INTR_TYPE_SOFT_EXCEPTION,
    INTR_TYPE_SOFT_INTR,
    VECTORING_INFO_DELIVER_CODE_MASK,
    VECTORING_INFO_TYPE_MASK,
    VECTORING_INFO_VALID_MASK,
    VECTORING_INFO_VECTOR_MASK,
)
from kvmref.kernel.linux_3_3.include.kvm_host import (
    DF_VECTOR,
    KVM_REQ_EVENT,
    kvm_make_request,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.kvm_cache_regs import is_guest_mode
from kvmref.kernel.linux_3_3.outside.nmi import int2, kvm_after_handle_nmi, kvm_before_handle_nmi
from kvmref.kernel.linux_3_3.outside.time import ktime_get
from kvmref.kernel.linux_3_3.vmx.capabilities import cpu_has_virtual_nmis
from kvmref.kernel.linux_3_3.vmx.event_injection import vmx_set_nmi_mask
from kvmref.kernel.linux_3_3.vmx.exception_exits import kvm_machine_check
from kvmref.kernel.linux_3_3.vmx.interruption_info import is_machine_check
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx, vcpu_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_read32, vmcs_set_bits, vmcs_write32
from kvmref.kernel.linux_3_3.x86.exceptions import kvm_queue_exception, kvm_queue_exception_e
from kvmref.kernel.linux_3_3.x86_h import (
    kvm_clear_exception_queue,
    kvm_clear_interrupt_queue,
    kvm_queue_interrupt,
)
from kvmref.processor.vmcs_fields import (
    GUEST_INTERRUPTIBILITY_INFO,
    IDT_VECTORING_ERROR_CODE,
    TPR_THRESHOLD,
    VM_ENTRY_EXCEPTION_ERROR_CODE,
    VM_ENTRY_INSTRUCTION_LEN,
    VM_ENTRY_INTR_INFO_FIELD,
    VM_EXIT_INSTRUCTION_LEN,
    VM_EXIT_INTR_INFO,
)


def update_cr8_intercept(vcpu: kvm_vcpu, tpr: int, irr: int) -> None:
    """Make the guest exit when its TPR falls below the priority class of the pending interrupt.

    *irr* is that class, or -1.

    Source: arch/x86/kvm/vmx.c:5927-5935
    """
    if irr == -1 or tpr < irr:
        vmcs_write32(vcpu, TPR_THRESHOLD, 0)
        return

    vmcs_write32(vcpu, TPR_THRESHOLD, irr)


def vmx_complete_atomic_exit(vmx: vcpu_vmx) -> None:
    """Let the host handle machine checks and NMIs, while interrupts are still disabled.

    Source: arch/x86/kvm/vmx.c:5937-5959
    """
    if not (
        vmx.exit_reason == EXIT_REASON_MCE_DURING_VMENTRY
        or vmx.exit_reason == EXIT_REASON_EXCEPTION_NMI
    ):
        return

    vmx.exit_intr_info = vmcs_read32(vmx, VM_EXIT_INTR_INFO)
    exit_intr_info = vmx.exit_intr_info

    if is_machine_check(exit_intr_info):
        kvm_machine_check(vmx)

    if (
        exit_intr_info & INTR_INFO_INTR_TYPE_MASK
    ) == INTR_TYPE_NMI_INTR and exit_intr_info & INTR_INFO_VALID_MASK:
        kvm_before_handle_nmi(vmx)
        int2(vmx.env)
        kvm_after_handle_nmi(vmx)


def vmx_recover_nmi_blocking(vmx: vcpu_vmx) -> None:
    """Find out whether NMIs are blocked; block them again after an IRET that has faulted.

    Source: arch/x86/kvm/vmx.c:5961-6001
    """
    idtv_info_valid = vmx.idt_vectoring_info & VECTORING_INFO_VALID_MASK

    if cpu_has_virtual_nmis(vmx.module):
        if vmx.nmi_known_unmasked:
            return
        # vmx.exit_intr_info is only read for some exit reasons.
        exit_intr_info = vmcs_read32(vmx, VM_EXIT_INTR_INFO)
        unblock_nmi = (exit_intr_info & INTR_INFO_UNBLOCK_NMI) != 0
        vector = exit_intr_info & INTR_INFO_VECTOR_MASK
        # "NMI unblocking due to IRET" is undefined with IDT-vectoring information and for #DF.
        if (
            exit_intr_info & INTR_INFO_VALID_MASK
            and unblock_nmi
            and vector != DF_VECTOR
            and not idtv_info_valid
        ):
            vmcs_set_bits(vmx, GUEST_INTERRUPTIBILITY_INFO, GUEST_INTR_STATE_NMI)
        else:
            vmx.nmi_known_unmasked = not (
                vmcs_read32(vmx, GUEST_INTERRUPTIBILITY_INFO) & GUEST_INTR_STATE_NMI
            )
    elif vmx.soft_vnmi_blocked:
        vmx.vnmi_blocked_time += ktime_get(vmx.env) - vmx.entry_time


def __vmx_complete_interrupts(
    vmx: vcpu_vmx, idt_vectoring_info: u32, instr_len_field: u32, error_code_field: u32
) -> None:
    """Forget the events that were injected, and queue again the one that was not delivered.

    *idt_vectoring_info* describes it; the fields hold its instruction length and error code.

    Source: arch/x86/kvm/vmx.c:6003-6058
    """
    idtv_info_valid = idt_vectoring_info & VECTORING_INFO_VALID_MASK

    vmx.arch.nmi_injected = False
    kvm_clear_exception_queue(vmx)
    kvm_clear_interrupt_queue(vmx)

    if not idtv_info_valid:
        return

    kvm_make_request(KVM_REQ_EVENT, vmx)

    vector = idt_vectoring_info & VECTORING_INFO_VECTOR_MASK
    type = idt_vectoring_info & VECTORING_INFO_TYPE_MASK

    if type == INTR_TYPE_NMI_INTR:
        vmx.arch.nmi_injected = True
        # The NMI was not delivered, so its handler does not run.
        vmx_set_nmi_mask(vmx, False)
    elif type == INTR_TYPE_SOFT_EXCEPTION or type == INTR_TYPE_HARD_EXCEPTION:
        if type == INTR_TYPE_SOFT_EXCEPTION:
            vmx.arch.event_exit_inst_len = vmcs_read32(vmx, instr_len_field) & U8
        if idt_vectoring_info & VECTORING_INFO_DELIVER_CODE_MASK:
            err = vmcs_read32(vmx, error_code_field)
            kvm_queue_exception_e(vmx, vector, err)
        else:
            kvm_queue_exception(vmx, vector)
    elif type == INTR_TYPE_SOFT_INTR or type == INTR_TYPE_EXT_INTR:
        if type == INTR_TYPE_SOFT_INTR:
            vmx.arch.event_exit_inst_len = vmcs_read32(vmx, instr_len_field) & U8
        kvm_queue_interrupt(vmx, vector, type == INTR_TYPE_SOFT_INTR)


def vmx_complete_interrupts(vmx: vcpu_vmx) -> None:
    """Queue again what the exit has interrupted; not for L2.

    Source: arch/x86/kvm/vmx.c:6060-6067
    """
    if is_guest_mode(vmx):
        return
    __vmx_complete_interrupts(
        vmx, vmx.idt_vectoring_info, VM_EXIT_INSTRUCTION_LEN, IDT_VECTORING_ERROR_CODE
    )


def vmx_cancel_injection(vcpu: kvm_vcpu) -> None:
    """Take back an event that was to be injected by an entry that did not happen; not for L2.

    Source: arch/x86/kvm/vmx.c:6069-6079
    """
    if is_guest_mode(vcpu):
        return
    __vmx_complete_interrupts(
        to_vmx(vcpu),
        vmcs_read32(vcpu, VM_ENTRY_INTR_INFO_FIELD),
        VM_ENTRY_INSTRUCTION_LEN,
        VM_ENTRY_EXCEPTION_ERROR_CODE,
    )

    vmcs_write32(vcpu, VM_ENTRY_INTR_INFO_FIELD, 0)
