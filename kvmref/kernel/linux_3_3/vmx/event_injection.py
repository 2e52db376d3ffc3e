# SPDX-License-Identifier: GPL-2.0-only
"""Injecting exceptions, interrupts and NMIs, and waiting until that is possible.

vmx.c:1676-1722, 3947-4105.
"""

from __future__ import annotations

from kvmref.integers import u32
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    CPU_BASED_VIRTUAL_INTR_PENDING,
    CPU_BASED_VIRTUAL_NMI_PENDING,
    EXIT_REASON_EXTERNAL_INTERRUPT,
    GUEST_INTR_STATE_MOV_SS,
    GUEST_INTR_STATE_NMI,
    GUEST_INTR_STATE_STI,
    INTR_INFO_DELIVER_CODE_MASK,
    INTR_INFO_VALID_MASK,
    INTR_TYPE_EXT_INTR,
    INTR_TYPE_HARD_EXCEPTION,
    INTR_TYPE_NMI_INTR,
    INTR_TYPE_SOFT_EXCEPTION,
    INTR_TYPE_SOFT_INTR,
    PIN_BASED_EXT_INTR_MASK,
    VECTORING_INFO_VALID_MASK,
)
from kvmref.kernel.linux_3_3.include.kvm_host import (
    EMULATE_DONE,
    KVM_REQ_IMMEDIATE_EXIT,
    KVM_REQ_TRIPLE_FAULT,
    NMI_VECTOR,
    PF_VECTOR,
    kvm_make_request,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.processor_flags import X86_EFLAGS_IF
from kvmref.kernel.linux_3_3.kvm_cache_regs import is_guest_mode
from kvmref.kernel.linux_3_3.outside.emulator import kvm_inject_realmode_interrupt
from kvmref.kernel.linux_3_3.vmx.capabilities import cpu_has_virtual_nmis
from kvmref.kernel.linux_3_3.vmx.nested_exit import nested_vmx_vmexit
from kvmref.kernel.linux_3_3.vmx.nested_pages import get_vmcs12
from kvmref.kernel.linux_3_3.vmx.rflags import vmx_clear_hlt
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import (
    vmcs_clear_bits,
    vmcs_read32,
    vmcs_readl,
    vmcs_set_bits,
    vmcs_write32,
)
from kvmref.kernel.linux_3_3.x86_h import kvm_exception_is_soft
from kvmref.processor.vmcs_fields import (
    CPU_BASED_VM_EXEC_CONTROL,
    GUEST_INTERRUPTIBILITY_INFO,
    GUEST_RFLAGS,
    VM_ENTRY_EXCEPTION_ERROR_CODE,
    VM_ENTRY_INSTRUCTION_LEN,
    VM_ENTRY_INTR_INFO_FIELD,
)


def nested_pf_handled(vcpu: kvm_vcpu) -> int:
    """Leave L2 for L1 if L1 intercepts #PF of L2; 1 if so.

    Only bit 14 of L1's exception bitmap counts, not the error-code mask and match. The exit that L1
    gets is the last one of vmcs02, which is assumed to be a #PF.

    Source: arch/x86/kvm/vmx.c:1676-1686
    """
    vmcs12 = get_vmcs12(vcpu)

    if not vmcs12.exception_bitmap & (1 << PF_VECTOR):
        return 0

    nested_vmx_vmexit(vcpu)
    return 1


def vmx_queue_exception(
    vcpu: kvm_vcpu, nr: u32, has_error_code: bool, error_code: u32, reinject: bool
) -> None:
    """Inject the exception *nr* at the next VM entry.

    Source: arch/x86/kvm/vmx.c:1688-1722
    """
    vmx = to_vmx(vcpu)
    intr_info = nr | INTR_INFO_VALID_MASK

    if nr == PF_VECTOR and is_guest_mode(vcpu) and nested_pf_handled(vcpu):
        return

    if has_error_code:
        vmcs_write32(vcpu, VM_ENTRY_EXCEPTION_ERROR_CODE, error_code)
        intr_info |= INTR_INFO_DELIVER_CODE_MASK

    if vmx.rmode.vm86_active:
        inc_eip = 0
        if kvm_exception_is_soft(nr):
            inc_eip = vcpu.arch.event_exit_inst_len
        if kvm_inject_realmode_interrupt(vcpu, nr, inc_eip) != EMULATE_DONE:
            kvm_make_request(KVM_REQ_TRIPLE_FAULT, vcpu)
        return

    if kvm_exception_is_soft(nr):
        vmcs_write32(vcpu, VM_ENTRY_INSTRUCTION_LEN, vmx.arch.event_exit_inst_len)
        intr_info |= INTR_TYPE_SOFT_EXCEPTION
    else:
        intr_info |= INTR_TYPE_HARD_EXCEPTION

    vmcs_write32(vcpu, VM_ENTRY_INTR_INFO_FIELD, intr_info)
    vmx_clear_hlt(vcpu)


def nested_exit_on_intr(vcpu: kvm_vcpu) -> bool:
    """Tell whether L1 asks L2 to exit on external interrupts.

    Source: arch/x86/kvm/vmx.c:3947-3951
    """
    return bool(get_vmcs12(vcpu).pin_based_vm_exec_control & PIN_BASED_EXT_INTR_MASK)


def enable_irq_window(vcpu: kvm_vcpu) -> None:
    """Make the guest exit as soon as it can take an interrupt.

    An interrupt for L1 that has to wait because L2 must run first asks for an immediate exit.

    Source: arch/x86/kvm/vmx.c:3953-3969
    """
    if is_guest_mode(vcpu) and nested_exit_on_intr(vcpu):
        kvm_make_request(KVM_REQ_IMMEDIATE_EXIT, vcpu)
        return

    cpu_based_vm_exec_control = vmcs_read32(vcpu, CPU_BASED_VM_EXEC_CONTROL)
    cpu_based_vm_exec_control |= CPU_BASED_VIRTUAL_INTR_PENDING
    vmcs_write32(vcpu, CPU_BASED_VM_EXEC_CONTROL, cpu_based_vm_exec_control)


def enable_nmi_window(vcpu: kvm_vcpu) -> None:
    """Make the guest exit as soon as it can take an NMI.

    Source: arch/x86/kvm/vmx.c:3971-3987
    """
    if not cpu_has_virtual_nmis(to_vmx(vcpu).module):
        enable_irq_window(vcpu)
        return

    if vmcs_read32(vcpu, GUEST_INTERRUPTIBILITY_INFO) & GUEST_INTR_STATE_STI:
        enable_irq_window(vcpu)
        return
    cpu_based_vm_exec_control = vmcs_read32(vcpu, CPU_BASED_VM_EXEC_CONTROL)
    cpu_based_vm_exec_control |= CPU_BASED_VIRTUAL_NMI_PENDING
    vmcs_write32(vcpu, CPU_BASED_VM_EXEC_CONTROL, cpu_based_vm_exec_control)


def vmx_inject_irq(vcpu: kvm_vcpu) -> None:
    """Inject the queued interrupt at the next VM entry.

    Source: arch/x86/kvm/vmx.c:3989-4015
    """
    vmx = to_vmx(vcpu)
    irq = vcpu.arch.interrupt.nr

    vcpu.stat.irq_injections += 1
    if vmx.rmode.vm86_active:
        inc_eip = 0
        if vcpu.arch.interrupt.soft:
            inc_eip = vcpu.arch.event_exit_inst_len
        if kvm_inject_realmode_interrupt(vcpu, irq, inc_eip) != EMULATE_DONE:
            kvm_make_request(KVM_REQ_TRIPLE_FAULT, vcpu)
        return
    intr = irq | INTR_INFO_VALID_MASK
    if vcpu.arch.interrupt.soft:
        intr |= INTR_TYPE_SOFT_INTR
        vmcs_write32(vcpu, VM_ENTRY_INSTRUCTION_LEN, vmx.arch.event_exit_inst_len)
    else:
        intr |= INTR_TYPE_EXT_INTR
    vmcs_write32(vcpu, VM_ENTRY_INTR_INFO_FIELD, intr)
    vmx_clear_hlt(vcpu)


def vmx_inject_nmi(vcpu: kvm_vcpu) -> None:
    """Inject an NMI at the next VM entry; into L2, nothing.

    Without virtual NMIs, software takes the next open interrupt window for the end of the handler.

    Source: arch/x86/kvm/vmx.c:4017-4047
    """
    vmx = to_vmx(vcpu)

    if is_guest_mode(vcpu):
        return

    if not cpu_has_virtual_nmis(vmx.module):
        vmx.soft_vnmi_blocked = 1
        vmx.vnmi_blocked_time = 0

    vcpu.stat.nmi_injections += 1
    vmx.nmi_known_unmasked = False
    if vmx.rmode.vm86_active:
        if kvm_inject_realmode_interrupt(vcpu, NMI_VECTOR, 0) != EMULATE_DONE:
            kvm_make_request(KVM_REQ_TRIPLE_FAULT, vcpu)
        return
    vmcs_write32(
        vcpu, VM_ENTRY_INTR_INFO_FIELD, INTR_TYPE_NMI_INTR | INTR_INFO_VALID_MASK | NMI_VECTOR
    )
    vmx_clear_hlt(vcpu)


def vmx_nmi_allowed(vcpu: kvm_vcpu) -> int:
    """Tell whether the guest can take an NMI now.

    Source: arch/x86/kvm/vmx.c:4049-4057
    """
    vmx = to_vmx(vcpu)
    if not cpu_has_virtual_nmis(vmx.module) and vmx.soft_vnmi_blocked:
        return 0

    return not vmcs_read32(vcpu, GUEST_INTERRUPTIBILITY_INFO) & (
        GUEST_INTR_STATE_MOV_SS | GUEST_INTR_STATE_STI | GUEST_INTR_STATE_NMI
    )


def vmx_get_nmi_mask(vcpu: kvm_vcpu) -> bool:
    """Tell whether NMIs are blocked.

    Source: arch/x86/kvm/vmx.c:4059-4066
    """
    vmx = to_vmx(vcpu)
    if not cpu_has_virtual_nmis(vmx.module):
        return bool(vmx.soft_vnmi_blocked)
    if vmx.nmi_known_unmasked:
        return False
    return bool(vmcs_read32(vcpu, GUEST_INTERRUPTIBILITY_INFO) & GUEST_INTR_STATE_NMI)


def vmx_set_nmi_mask(vcpu: kvm_vcpu, masked: bool) -> None:
    """Block or unblock NMIs.

    Source: arch/x86/kvm/vmx.c:4068-4086
    """
    vmx = to_vmx(vcpu)

    if not cpu_has_virtual_nmis(vmx.module):
        if vmx.soft_vnmi_blocked != masked:
            vmx.soft_vnmi_blocked = int(masked)
            vmx.vnmi_blocked_time = 0
    else:
        vmx.nmi_known_unmasked = not masked
        if masked:
            vmcs_set_bits(vcpu, GUEST_INTERRUPTIBILITY_INFO, GUEST_INTR_STATE_NMI)
        else:
            vmcs_clear_bits(vcpu, GUEST_INTERRUPTIBILITY_INFO, GUEST_INTR_STATE_NMI)


def vmx_interrupt_allowed(vcpu: kvm_vcpu) -> int:
    """Tell whether the guest can take an interrupt now.

    The question has a side effect: if L2 runs and L1 wants its interrupts to exit, L2 is left for
    L1, and the answer is L1's. Not so while L2 must run first, or while an event for L2 has yet to
    be delivered.

    Source: arch/x86/kvm/vmx.c:4088-4105
    """
    if is_guest_mode(vcpu) and nested_exit_on_intr(vcpu):
        vmcs12 = get_vmcs12(vcpu)
        if (
            to_vmx(vcpu).nested.nested_run_pending
            or vmcs12.idt_vectoring_info_field & VECTORING_INFO_VALID_MASK
        ):
            return 0
        nested_vmx_vmexit(vcpu)
        vmcs12.vm_exit_reason = EXIT_REASON_EXTERNAL_INTERRUPT
        vmcs12.vm_exit_intr_info = 0

    return bool(vmcs_readl(vcpu, GUEST_RFLAGS) & X86_EFLAGS_IF) and not vmcs_read32(
        vcpu, GUEST_INTERRUPTIBILITY_INFO
    ) & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS)
