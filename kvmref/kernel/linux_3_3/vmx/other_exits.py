# SPDX-License-Identifier: GPL-2.0-only
"""Handlers of the other exits: events, windows, I/O, single instructions, EPT (vmx.c:4297-4931)."""

from __future__ import annotations

from typing import Final

from kvmref.integers import U16, U32
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    APIC_ACCESS_OFFSET,
    APIC_ACCESS_TYPE,
    CPU_BASED_VIRTUAL_INTR_PENDING,
    CPU_BASED_VIRTUAL_NMI_PENDING,
    EXIT_REASON_EPT_MISCONFIG,
    EXIT_REASON_EPT_VIOLATION,
    INTR_TYPE_EXT_INTR,
    INTR_TYPE_HARD_EXCEPTION,
    INTR_TYPE_NMI_INTR,
    INTR_TYPE_SOFT_EXCEPTION,
    INTR_TYPE_SOFT_INTR,
    TYPE_LINEAR_APIC_INST_WRITE,
    VECTORING_INFO_DELIVER_CODE_MASK,
    VECTORING_INFO_TYPE_MASK,
    VECTORING_INFO_VALID_MASK,
)
from kvmref.kernel.linux_3_3.include.kvm import (
    EINVAL,
    KVM_EXIT_INTERNAL_ERROR,
    KVM_EXIT_IRQ_WINDOW_OPEN,
    KVM_EXIT_SHUTDOWN,
    KVM_EXIT_UNKNOWN,
    KVM_INTERNAL_ERROR_EMULATION,
)
from kvmref.kernel.linux_3_3.include.kvm_host import (
    EMULATE_DONE,
    EMULATE_FAIL,
    KVM_REQ_EVENT,
    TASK_SWITCH_GATE,
    UD_VECTOR,
    VCPU_REGS_RCX,
    kvm_make_request,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_read_edx_eax, kvm_register_read
from kvmref.kernel.linux_3_3.outside.emulator import (
    emulate_instruction,
    kvm_emulate_cpuid,
    kvm_emulate_hypercall,
    kvm_emulate_wbinvd,
    kvm_fast_pio_out,
    kvm_rdpmc,
    kvm_task_switch,
    kvm_vcpu_on_spin,
    x86_emulate_instruction,
)
from kvmref.kernel.linux_3_3.outside.irqchip import kvm_cpu_has_interrupt, kvm_lapic_set_eoi
from kvmref.kernel.linux_3_3.outside.mmu import (
    handle_mmio_page_fault_common,
    kvm_mmu_invlpg,
    kvm_mmu_page_fault,
)
from kvmref.kernel.linux_3_3.vmx.event_injection import vmx_set_nmi_mask
from kvmref.kernel.linux_3_3.vmx.rflags import skip_emulated_instruction
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import (
    vmcs_read32,
    vmcs_read64,
    vmcs_readl,
    vmcs_write32,
    vmcs_writel,
)
from kvmref.kernel.linux_3_3.x86.control_registers import kvm_set_xcr
from kvmref.kernel.linux_3_3.x86.exceptions import kvm_complete_insn_gp, kvm_queue_exception
from kvmref.kernel.linux_3_3.x86.halt import kvm_emulate_halt
from kvmref.kernel.linux_3_3.x86_h import kvm_clear_exception_queue, kvm_clear_interrupt_queue
from kvmref.processor.vmcs_fields import (
    CPU_BASED_VM_EXEC_CONTROL,
    EXIT_QUALIFICATION,
    GUEST_DR7,
    GUEST_PHYSICAL_ADDRESS,
    IDT_VECTORING_ERROR_CODE,
)

APIC_EOI: Final = 0xB0
"""Offset of the register EOI in the APIC page."""


def handle_external_interrupt(vcpu: kvm_vcpu) -> int:
    """Handle an exit by an external interrupt; the host has taken it already.

    Source: arch/x86/kvm/vmx.c:4297-4301
    """
    vcpu.stat.irq_exits += 1
    return 1


def handle_triple_fault(vcpu: kvm_vcpu) -> int:
    """Handle a triple fault: user space shuts the guest down.

    Source: arch/x86/kvm/vmx.c:4303-4307
    """
    vcpu.run.exit_reason = KVM_EXIT_SHUTDOWN
    return 0


def handle_io(vcpu: kvm_vcpu) -> int:
    """Handle an exit by IN, INS, OUT or OUTS; only OUT does without emulation.

    Source: arch/x86/kvm/vmx.c:4309-4329
    """
    exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)
    string = (exit_qualification & 16) != 0
    in_ = (exit_qualification & 8) != 0

    vcpu.stat.io_exits += 1

    if string or in_:
        return emulate_instruction(vcpu, 0) == EMULATE_DONE

    port = (exit_qualification >> 16) & U32
    size = (exit_qualification & 7) + 1
    skip_emulated_instruction(vcpu)

    return kvm_fast_pio_out(vcpu, size, port & U16)


def handle_cpuid(vcpu: kvm_vcpu) -> int:
    """Handle an exit by CPUID.

    Source: arch/x86/kvm/vmx.c:4524-4528
    """
    kvm_emulate_cpuid(vcpu)
    return 1


def handle_tpr_below_threshold(vcpu: kvm_vcpu) -> int:
    """Handle an exit because the TPR has fallen: an interrupt may have become deliverable.

    Source: arch/x86/kvm/vmx.c:4567-4571
    """
    kvm_make_request(KVM_REQ_EVENT, vcpu)
    return 1


def handle_interrupt_window(vcpu: kvm_vcpu) -> int:
    """Handle an interrupt-window exit: the guest can take an interrupt now.

    Source: arch/x86/kvm/vmx.c:4573-4597
    """
    cpu_based_vm_exec_control = vmcs_read32(vcpu, CPU_BASED_VM_EXEC_CONTROL)
    cpu_based_vm_exec_control &= ~CPU_BASED_VIRTUAL_INTR_PENDING
    vmcs_write32(vcpu, CPU_BASED_VM_EXEC_CONTROL, cpu_based_vm_exec_control)

    kvm_make_request(KVM_REQ_EVENT, vcpu)

    vcpu.stat.irq_window_exits += 1

    if (
        not vcpu.kvm.irqchip_in_kernel
        and vcpu.run.request_interrupt_window
        and not kvm_cpu_has_interrupt(vcpu)
    ):
        vcpu.run.exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN
        return 0
    return 1


def handle_halt(vcpu: kvm_vcpu) -> int:
    """Handle an exit by HLT.

    Source: arch/x86/kvm/vmx.c:4599-4603
    """
    skip_emulated_instruction(vcpu)
    return kvm_emulate_halt(vcpu)


def handle_vmcall(vcpu: kvm_vcpu) -> int:
    """Handle an exit by VMCALL.

    Source: arch/x86/kvm/vmx.c:4605-4610
    """
    skip_emulated_instruction(vcpu)
    kvm_emulate_hypercall(vcpu)
    return 1


def handle_invd(vcpu: kvm_vcpu) -> int:
    """Handle an exit by INVD.

    Source: arch/x86/kvm/vmx.c:4612-4615
    """
    return emulate_instruction(vcpu, 0) == EMULATE_DONE


def handle_invlpg(vcpu: kvm_vcpu) -> int:
    """Handle an exit by INVLPG.

    Source: arch/x86/kvm/vmx.c:4617-4624
    """
    exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)

    kvm_mmu_invlpg(vcpu, exit_qualification)
    skip_emulated_instruction(vcpu)
    return 1


def handle_rdpmc(vcpu: kvm_vcpu) -> int:
    """Handle an exit by RDPMC.

    Source: arch/x86/kvm/vmx.c:4626-4634
    """
    err = kvm_rdpmc(vcpu)
    kvm_complete_insn_gp(vcpu, err)

    return 1


def handle_wbinvd(vcpu: kvm_vcpu) -> int:
    """Handle an exit by WBINVD.

    Source: arch/x86/kvm/vmx.c:4636-4641
    """
    skip_emulated_instruction(vcpu)
    kvm_emulate_wbinvd(vcpu)
    return 1


def handle_xsetbv(vcpu: kvm_vcpu) -> int:
    """Handle an exit by XSETBV.

    Source: arch/x86/kvm/vmx.c:4643-4651
    """
    new_bv = kvm_read_edx_eax(vcpu)
    index = kvm_register_read(vcpu, VCPU_REGS_RCX) & U32

    if kvm_set_xcr(vcpu, index, new_bv) == 0:
        skip_emulated_instruction(vcpu)
    return 1


def handle_apic_access(vcpu: kvm_vcpu) -> int:
    """Handle an exit by an access to the APIC page; a write to EOI does without emulation.

    Source: arch/x86/kvm/vmx.c:4653-4674
    """
    if to_vmx(vcpu).module.fasteoi:
        exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)

        access_type = exit_qualification & APIC_ACCESS_TYPE
        offset = exit_qualification & APIC_ACCESS_OFFSET
        if access_type == TYPE_LINEAR_APIC_INST_WRITE and offset == APIC_EOI:
            kvm_lapic_set_eoi(vcpu)
            skip_emulated_instruction(vcpu)
            return 1
    return emulate_instruction(vcpu, 0) == EMULATE_DONE


def handle_task_switch(vcpu: kvm_vcpu) -> int:
    """Handle an exit by a task switch; an event that came through a task gate is delivered by it.

    Source: arch/x86/kvm/vmx.c:4676-4740
    """
    vmx = to_vmx(vcpu)
    has_error_code = False
    error_code = 0

    idt_v = vmx.idt_vectoring_info & VECTORING_INFO_VALID_MASK
    type = vmx.idt_vectoring_info & VECTORING_INFO_TYPE_MASK

    exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)

    reason = (exit_qualification & U32) >> 30
    if reason == TASK_SWITCH_GATE and idt_v:
        if type == INTR_TYPE_NMI_INTR:
            vcpu.arch.nmi_injected = False
            vmx_set_nmi_mask(vcpu, True)
        elif type == INTR_TYPE_EXT_INTR or type == INTR_TYPE_SOFT_INTR:
            kvm_clear_interrupt_queue(vcpu)
        elif type == INTR_TYPE_HARD_EXCEPTION:
            if vmx.idt_vectoring_info & VECTORING_INFO_DELIVER_CODE_MASK:
                has_error_code = True
                error_code = vmcs_read32(vcpu, IDT_VECTORING_ERROR_CODE)
            kvm_clear_exception_queue(vcpu)
        elif type == INTR_TYPE_SOFT_EXCEPTION:
            kvm_clear_exception_queue(vcpu)
    tss_selector = exit_qualification & U16

    if not idt_v or (
        type != INTR_TYPE_HARD_EXCEPTION
        and type != INTR_TYPE_EXT_INTR
        and type != INTR_TYPE_NMI_INTR
    ):
        skip_emulated_instruction(vcpu)

    if kvm_task_switch(vcpu, tss_selector, reason, has_error_code, error_code) == EMULATE_FAIL:
        vcpu.run.exit_reason = KVM_EXIT_INTERNAL_ERROR
        vcpu.run.internal.suberror = KVM_INTERNAL_ERROR_EMULATION
        vcpu.run.internal.ndata = 0
        return 0

    # A task switch disables local breakpoints.
    vmcs_writel(vcpu, GUEST_DR7, vmcs_readl(vcpu, GUEST_DR7) & ~55)

    return 1


def handle_ept_violation(vcpu: kvm_vcpu) -> int:
    """Handle an EPT violation.

    Source: arch/x86/kvm/vmx.c:4742-4771
    """
    exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)

    if exit_qualification & (1 << 6):
        return -EINVAL

    gla_validity = (exit_qualification >> 7) & 0x3
    if gla_validity != 0x3 and gla_validity != 0x1 and gla_validity != 0:
        vcpu.run.exit_reason = KVM_EXIT_UNKNOWN
        vcpu.run.hw.hardware_exit_reason = EXIT_REASON_EPT_VIOLATION
        return 0

    gpa = vmcs_read64(vcpu, GUEST_PHYSICAL_ADDRESS)
    return kvm_mmu_page_fault(vcpu, gpa, exit_qualification & 0x3)


def handle_ept_misconfig(vcpu: kvm_vcpu) -> int:
    """Handle an EPT misconfiguration, which is how accesses to memory-mapped I/O show.

    The look at the entries of a real misconfiguration only prints, so it is left out.

    Source: arch/x86/kvm/vmx.c:4834-4862
    """
    gpa = vmcs_read64(vcpu, GUEST_PHYSICAL_ADDRESS)

    ret = handle_mmio_page_fault_common(vcpu, gpa, True)
    if ret == 1:
        return x86_emulate_instruction(vcpu, 0) == EMULATE_DONE
    if not ret:
        return 1

    vcpu.run.exit_reason = KVM_EXIT_UNKNOWN
    vcpu.run.hw.hardware_exit_reason = EXIT_REASON_EPT_MISCONFIG

    return 0


def handle_nmi_window(vcpu: kvm_vcpu) -> int:
    """Handle an NMI-window exit: the guest can take an NMI now.

    Source: arch/x86/kvm/vmx.c:4864-4876
    """
    cpu_based_vm_exec_control = vmcs_read32(vcpu, CPU_BASED_VM_EXEC_CONTROL)
    cpu_based_vm_exec_control &= ~CPU_BASED_VIRTUAL_NMI_PENDING
    vmcs_write32(vcpu, CPU_BASED_VM_EXEC_CONTROL, cpu_based_vm_exec_control)
    vcpu.stat.nmi_window_exits += 1
    kvm_make_request(KVM_REQ_EVENT, vcpu)

    return 1


def handle_pause(vcpu: kvm_vcpu) -> int:
    """Handle an exit by PAUSE, which here can only come from a loop of them.

    Source: arch/x86/kvm/vmx.c:4919-4925
    """
    skip_emulated_instruction(vcpu)
    kvm_vcpu_on_spin(vcpu)

    return 1


def handle_invalid_op(vcpu: kvm_vcpu) -> int:
    """Handle an exit by an instruction that the guest does not have: #UD.

    Source: arch/x86/kvm/vmx.c:4927-4931
    """
    kvm_queue_exception(vcpu, UD_VECTOR)
    return 1
