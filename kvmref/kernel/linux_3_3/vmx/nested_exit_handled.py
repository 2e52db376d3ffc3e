# SPDX-License-Identifier: GPL-2.0-only
"""Whether an exit of L2 is L1's or L0's to handle (vmx.c:5619-5834)."""

from __future__ import annotations

from kvmref.integers import U32, U64, u32
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    CPU_BASED_CR3_LOAD_EXITING,
    CPU_BASED_CR3_STORE_EXITING,
    CPU_BASED_CR8_LOAD_EXITING,
    CPU_BASED_CR8_STORE_EXITING,
    CPU_BASED_HLT_EXITING,
    CPU_BASED_INVLPG_EXITING,
    CPU_BASED_MONITOR_EXITING,
    CPU_BASED_MOV_DR_EXITING,
    CPU_BASED_MWAIT_EXITING,
    CPU_BASED_PAUSE_EXITING,
    CPU_BASED_RDPMC_EXITING,
    CPU_BASED_RDTSC_EXITING,
    CPU_BASED_USE_MSR_BITMAPS,
    EXIT_REASON_APIC_ACCESS,
    EXIT_REASON_CR_ACCESS,
    EXIT_REASON_DR_ACCESS,
    EXIT_REASON_EPT_MISCONFIG,
    EXIT_REASON_EPT_VIOLATION,
    EXIT_REASON_EXCEPTION_NMI,
    EXIT_REASON_EXTERNAL_INTERRUPT,
    EXIT_REASON_HLT,
    EXIT_REASON_INVLPG,
    EXIT_REASON_MCE_DURING_VMENTRY,
    EXIT_REASON_MONITOR_INSTRUCTION,
    EXIT_REASON_MSR_READ,
    EXIT_REASON_MSR_WRITE,
    EXIT_REASON_MWAIT_INSTRUCTION,
    EXIT_REASON_PAUSE_INSTRUCTION,
    EXIT_REASON_RDPMC,
    EXIT_REASON_RDTSC,
    EXIT_REASON_WBINVD,
    INTR_INFO_VECTOR_MASK,
    SECONDARY_EXEC_PAUSE_LOOP_EXITING,
    SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES,
    SECONDARY_EXEC_WBINVD_EXITING,
)
from kvmref.kernel.linux_3_3.include.kvm_host import VCPU_REGS_RCX, kvm_vcpu
from kvmref.kernel.linux_3_3.include.processor_flags import X86_CR0_TS
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_register_read
from kvmref.kernel.linux_3_3.outside.memory import kvm_read_guest
from kvmref.kernel.linux_3_3.vmx.capabilities import nested_cpu_has, nested_cpu_has2
from kvmref.kernel.linux_3_3.vmx.interruption_info import is_exception, is_page_fault
from kvmref.kernel.linux_3_3.vmx.nested_pages import get_vmcs12
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs12 import struct_vmcs12
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_read32, vmcs_readl
from kvmref.processor.vmcs_fields import EXIT_QUALIFICATION, VM_EXIT_INTR_INFO, VM_EXIT_REASON


def nested_vmx_exit_handled_msr(vcpu: kvm_vcpu, vmcs12: struct_vmcs12, exit_reason: u32) -> bool:
    """Tell whether L1 wants to handle an MSR access of L2: whether its MSR bitmap says so.

    Source: arch/x86/kvm/vmx.c:5619-5648
    """
    msr_index = vcpu.arch.regs[VCPU_REGS_RCX] & U32

    if not nested_cpu_has(get_vmcs12(vcpu), CPU_BASED_USE_MSR_BITMAPS):
        return True

    # Four bitmaps of 1024 bytes: reads of low MSRs and of high ones, then writes.
    bitmap = vmcs12.msr_bitmap
    if exit_reason == EXIT_REASON_MSR_WRITE:
        bitmap = (bitmap + 2048) & U64
    if msr_index >= 0xC0000000:
        msr_index -= 0xC0000000
        bitmap = (bitmap + 1024) & U64

    if msr_index < 1024 * 8:
        _err, b = kvm_read_guest(vcpu.env, (bitmap + msr_index // 8) & U64, 1)
        return bool(1 & (b[0] >> (msr_index & 7)))
    return True


def nested_vmx_exit_handled_cr(vcpu: kvm_vcpu, vmcs12: struct_vmcs12) -> bool:
    """Tell whether L1 wants to handle an access of L2 to a control register.

    For LMSW, too, the value is taken from the general-purpose register that bits 11:8 of the
    qualification name.

    Source: arch/x86/kvm/vmx.c:5655-5729
    """
    exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)
    cr = exit_qualification & 15
    reg = (exit_qualification >> 8) & 15
    val = kvm_register_read(vcpu, reg)

    access = (exit_qualification >> 4) & 3
    if access == 0:  # MOV to CR
        if cr == 0:
            if vmcs12.cr0_guest_host_mask & (val ^ vmcs12.cr0_read_shadow):
                return True
        elif cr == 3:
            if (
                (vmcs12.cr3_target_count >= 1 and vmcs12.cr3_target_value0 == val)
                or (vmcs12.cr3_target_count >= 2 and vmcs12.cr3_target_value1 == val)
                or (vmcs12.cr3_target_count >= 3 and vmcs12.cr3_target_value2 == val)
                or (vmcs12.cr3_target_count >= 4 and vmcs12.cr3_target_value3 == val)
            ):
                return False
            if nested_cpu_has(vmcs12, CPU_BASED_CR3_LOAD_EXITING):
                return True
        elif cr == 4:
            if vmcs12.cr4_guest_host_mask & (vmcs12.cr4_read_shadow ^ val):
                return True
        elif cr == 8:
            if nested_cpu_has(vmcs12, CPU_BASED_CR8_LOAD_EXITING):
                return True
    elif access == 2:  # CLTS
        if vmcs12.cr0_guest_host_mask & X86_CR0_TS and vmcs12.cr0_read_shadow & X86_CR0_TS:
            return True
    elif access == 1:  # MOV from CR
        if cr == 3:
            if vmcs12.cpu_based_vm_exec_control & CPU_BASED_CR3_STORE_EXITING:
                return True
        elif cr == 8:
            if vmcs12.cpu_based_vm_exec_control & CPU_BASED_CR8_STORE_EXITING:
                return True
    else:  # LMSW, which can change bits 3:1 of CR0 and set bit 0
        if vmcs12.cr0_guest_host_mask & 0xE & (val ^ vmcs12.cr0_read_shadow):
            return True
        if vmcs12.cr0_guest_host_mask & 0x1 and not vmcs12.cr0_read_shadow & 0x1 and val & 0x1:
            return True
    return False


def nested_vmx_exit_handled(vcpu: kvm_vcpu) -> bool:
    """Tell whether the last exit of L2 becomes an exit to L1.

    Source: arch/x86/kvm/vmx.c:5736-5834
    """
    exit_reason = vmcs_read32(vcpu, VM_EXIT_REASON)
    intr_info = vmcs_read32(vcpu, VM_EXIT_INTR_INFO)
    vmx = to_vmx(vcpu)
    vmcs12 = get_vmcs12(vcpu)

    if vmx.nested.nested_run_pending:
        return False

    if vmx.fail:
        return True

    if exit_reason == EXIT_REASON_EXCEPTION_NMI:
        if not is_exception(intr_info):
            return False
        if is_page_fault(intr_info):
            return vmx.module.enable_ept
        # The shift count is taken modulo 32, as the processor does.
        return bool(vmcs12.exception_bitmap & (1 << ((intr_info & INTR_INFO_VECTOR_MASK) & 31)))
    if exit_reason == EXIT_REASON_EXTERNAL_INTERRUPT:
        return False
    if exit_reason == EXIT_REASON_HLT:
        return nested_cpu_has(vmcs12, CPU_BASED_HLT_EXITING)
    if exit_reason == EXIT_REASON_INVLPG:
        return nested_cpu_has(vmcs12, CPU_BASED_INVLPG_EXITING)
    if exit_reason == EXIT_REASON_RDPMC:
        return nested_cpu_has(vmcs12, CPU_BASED_RDPMC_EXITING)
    if exit_reason == EXIT_REASON_RDTSC:
        return nested_cpu_has(vmcs12, CPU_BASED_RDTSC_EXITING)
    if exit_reason == EXIT_REASON_CR_ACCESS:
        return nested_vmx_exit_handled_cr(vcpu, vmcs12)
    if exit_reason == EXIT_REASON_DR_ACCESS:
        return nested_cpu_has(vmcs12, CPU_BASED_MOV_DR_EXITING)
    if exit_reason in (EXIT_REASON_MSR_READ, EXIT_REASON_MSR_WRITE):
        return nested_vmx_exit_handled_msr(vcpu, vmcs12, exit_reason)
    if exit_reason == EXIT_REASON_MWAIT_INSTRUCTION:
        return nested_cpu_has(vmcs12, CPU_BASED_MWAIT_EXITING)
    if exit_reason == EXIT_REASON_MONITOR_INSTRUCTION:
        return nested_cpu_has(vmcs12, CPU_BASED_MONITOR_EXITING)
    if exit_reason == EXIT_REASON_PAUSE_INSTRUCTION:
        return nested_cpu_has(vmcs12, CPU_BASED_PAUSE_EXITING) or nested_cpu_has2(
            vmcs12, SECONDARY_EXEC_PAUSE_LOOP_EXITING
        )
    if exit_reason == EXIT_REASON_MCE_DURING_VMENTRY:
        return False
    if exit_reason == EXIT_REASON_APIC_ACCESS:
        return nested_cpu_has2(vmcs12, SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES)
    if exit_reason in (EXIT_REASON_EPT_VIOLATION, EXIT_REASON_EPT_MISCONFIG):
        return False
    if exit_reason == EXIT_REASON_WBINVD:
        return nested_cpu_has2(vmcs12, SECONDARY_EXEC_WBINVD_EXITING)
    # Triple faults, windows, task switches, CPUID, INVD, VMX instructions, I/O, invalid guest
    # state, the TPR threshold, XSETBV, and whatever L0 does not know.
    return True
