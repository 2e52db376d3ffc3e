# SPDX-License-Identifier: GPL-2.0-only
"""Leaving L2 for L1: exits to L1, and VM-entry failures of L1 (vmx.c:6836-7095)."""

from __future__ import annotations

from kvmref.integers import U64, u32, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    INTR_INFO_VALID_MASK,
    VM_EXIT_HOST_ADDR_SPACE_SIZE,
    VM_EXIT_LOAD_IA32_EFER,
    VM_EXIT_LOAD_IA32_PAT,
    VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL,
    VM_EXIT_SAVE_IA32_PAT,
    VMX_EXIT_REASONS_FAILED_VMENTRY,
)
from kvmref.kernel.linux_3_3.include.kvm_host import VCPU_REGS_RIP, VCPU_REGS_RSP, kvm_vcpu
from kvmref.kernel.linux_3_3.include.msr_index import EFER_LMA, EFER_LME
from kvmref.kernel.linux_3_3.include.processor_flags import X86_CR0_TS
from kvmref.kernel.linux_3_3.kvm_cache_regs import (
    kvm_register_read,
    kvm_register_write,
    leave_guest_mode,
)
from kvmref.kernel.linux_3_3.outside.host import get_cpu, put_cpu
from kvmref.kernel.linux_3_3.outside.mmu import kvm_mmu_reset_context
from kvmref.kernel.linux_3_3.vmx.control_registers import vmx_set_efer
from kvmref.kernel.linux_3_3.vmx.exception_bitmap import update_exception_bitmap
from kvmref.kernel.linux_3_3.vmx.host_state import vmx_vcpu_load, vmx_vcpu_put
from kvmref.kernel.linux_3_3.vmx.nested_instructions import nested_vmx_failValid, nested_vmx_succeed
from kvmref.kernel.linux_3_3.vmx.nested_pages import get_vmcs12, nested_release_page
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.tlb import vmx_flush_tlb
from kvmref.kernel.linux_3_3.vmx.vmcs12 import struct_vmcs12
from kvmref.kernel.linux_3_3.vmx.vmcs_access import (
    vmcs_read16,
    vmcs_read32,
    vmcs_read64,
    vmcs_readl,
    vmcs_write16,
    vmcs_write32,
    vmcs_write64,
    vmcs_writel,
)
from kvmref.kernel.linux_3_3.x86.control_registers import kvm_set_cr0, kvm_set_cr3, kvm_set_cr4
from kvmref.kernel.linux_3_3.x86.debug_registers import kvm_get_dr
from kvmref.processor.vmcs_fields import (
    CR0_GUEST_HOST_MASK,
    CR0_READ_SHADOW,
    CR4_GUEST_HOST_MASK,
    CR4_READ_SHADOW,
    EXIT_QUALIFICATION,
    GUEST_ACTIVITY_STATE,
    GUEST_CR0,
    GUEST_CR4,
    GUEST_CS_AR_BYTES,
    GUEST_CS_BASE,
    GUEST_CS_LIMIT,
    GUEST_CS_SELECTOR,
    GUEST_DS_AR_BYTES,
    GUEST_DS_BASE,
    GUEST_DS_LIMIT,
    GUEST_DS_SELECTOR,
    GUEST_ES_AR_BYTES,
    GUEST_ES_BASE,
    GUEST_ES_LIMIT,
    GUEST_ES_SELECTOR,
    GUEST_FS_AR_BYTES,
    GUEST_FS_BASE,
    GUEST_FS_LIMIT,
    GUEST_FS_SELECTOR,
    GUEST_GDTR_BASE,
    GUEST_GDTR_LIMIT,
    GUEST_GS_AR_BYTES,
    GUEST_GS_BASE,
    GUEST_GS_LIMIT,
    GUEST_GS_SELECTOR,
    GUEST_IA32_DEBUGCTL,
    GUEST_IA32_PAT,
    GUEST_IA32_PERF_GLOBAL_CTRL,
    GUEST_IDTR_BASE,
    GUEST_IDTR_LIMIT,
    GUEST_INTERRUPTIBILITY_INFO,
    GUEST_LDTR_AR_BYTES,
    GUEST_LDTR_BASE,
    GUEST_LDTR_LIMIT,
    GUEST_LDTR_SELECTOR,
    GUEST_PENDING_DBG_EXCEPTIONS,
    GUEST_RFLAGS,
    GUEST_SS_AR_BYTES,
    GUEST_SS_BASE,
    GUEST_SS_LIMIT,
    GUEST_SS_SELECTOR,
    GUEST_SYSENTER_CS,
    GUEST_SYSENTER_EIP,
    GUEST_SYSENTER_ESP,
    GUEST_TR_AR_BYTES,
    GUEST_TR_BASE,
    GUEST_TR_LIMIT,
    GUEST_TR_SELECTOR,
    IDT_VECTORING_ERROR_CODE,
    IDT_VECTORING_INFO_FIELD,
    TSC_OFFSET,
    VM_EXIT_INSTRUCTION_LEN,
    VM_EXIT_INTR_ERROR_CODE,
    VM_EXIT_INTR_INFO,
    VM_EXIT_REASON,
    VM_INSTRUCTION_ERROR,
    VMX_INSTRUCTION_INFO,
)


def vmcs12_guest_cr0(vcpu: kvm_vcpu, vmcs12: struct_vmcs12) -> u64:
    """Return the CR0 that L1 finds in vmcs12.

    Each bit comes from where it was last changed: bits that nobody intercepts, from vmcs02; bits
    that L1 intercepts, from vmcs12, because L2 could not change them; bits that only L0 intercepts,
    from the shadow that L0 keeps for L2.

    Source: arch/x86/kvm/vmx.c:6835-6843
    """
    return (
        (vmcs_readl(vcpu, GUEST_CR0) & vcpu.arch.cr0_guest_owned_bits)
        | (vmcs12.guest_cr0 & vmcs12.cr0_guest_host_mask)
        | (
            vmcs_readl(vcpu, CR0_READ_SHADOW)
            & ~(vmcs12.cr0_guest_host_mask | vcpu.arch.cr0_guest_owned_bits)
        )
    )


def vmcs12_guest_cr4(vcpu: kvm_vcpu, vmcs12: struct_vmcs12) -> u64:
    """Return the CR4 that L1 finds in vmcs12; see `vmcs12_guest_cr0`.

    Source: arch/x86/kvm/vmx.c:6845-6853
    """
    return (
        (vmcs_readl(vcpu, GUEST_CR4) & vcpu.arch.cr4_guest_owned_bits)
        | (vmcs12.guest_cr4 & vmcs12.cr4_guest_host_mask)
        | (
            vmcs_readl(vcpu, CR4_READ_SHADOW)
            & ~(vmcs12.cr4_guest_host_mask | vcpu.arch.cr4_guest_owned_bits)
        )
    )


def prepare_vmcs12(vcpu: kvm_vcpu, vmcs12: struct_vmcs12) -> None:
    """Save in *vmcs12* the state of L2 and the exit, both from the current VMCS, vmcs02.

    The valid bit of the event to inject is cleared, unless L2 could not be entered. PAT is saved by
    a VM-exit control that the code looks for among the VM-entry controls.

    Source: arch/x86/kvm/vmx.c:6866-6946
    """
    vmcs12.guest_cr0 = vmcs12_guest_cr0(vcpu, vmcs12)
    vmcs12.guest_cr4 = vmcs12_guest_cr4(vcpu, vmcs12)

    _err, vmcs12.guest_dr7 = kvm_get_dr(vcpu, 7)
    vmcs12.guest_rsp = kvm_register_read(vcpu, VCPU_REGS_RSP)
    vmcs12.guest_rip = kvm_register_read(vcpu, VCPU_REGS_RIP)
    vmcs12.guest_rflags = vmcs_readl(vcpu, GUEST_RFLAGS)
    vmcs12.guest_es_selector = vmcs_read16(vcpu, GUEST_ES_SELECTOR)
    vmcs12.guest_cs_selector = vmcs_read16(vcpu, GUEST_CS_SELECTOR)
    vmcs12.guest_ss_selector = vmcs_read16(vcpu, GUEST_SS_SELECTOR)
    vmcs12.guest_ds_selector = vmcs_read16(vcpu, GUEST_DS_SELECTOR)
    vmcs12.guest_fs_selector = vmcs_read16(vcpu, GUEST_FS_SELECTOR)
    vmcs12.guest_gs_selector = vmcs_read16(vcpu, GUEST_GS_SELECTOR)
    vmcs12.guest_ldtr_selector = vmcs_read16(vcpu, GUEST_LDTR_SELECTOR)
    vmcs12.guest_tr_selector = vmcs_read16(vcpu, GUEST_TR_SELECTOR)
    vmcs12.guest_es_limit = vmcs_read32(vcpu, GUEST_ES_LIMIT)
    vmcs12.guest_cs_limit = vmcs_read32(vcpu, GUEST_CS_LIMIT)
    vmcs12.guest_ss_limit = vmcs_read32(vcpu, GUEST_SS_LIMIT)
    vmcs12.guest_ds_limit = vmcs_read32(vcpu, GUEST_DS_LIMIT)
    vmcs12.guest_fs_limit = vmcs_read32(vcpu, GUEST_FS_LIMIT)
    vmcs12.guest_gs_limit = vmcs_read32(vcpu, GUEST_GS_LIMIT)
    vmcs12.guest_ldtr_limit = vmcs_read32(vcpu, GUEST_LDTR_LIMIT)
    vmcs12.guest_tr_limit = vmcs_read32(vcpu, GUEST_TR_LIMIT)
    vmcs12.guest_gdtr_limit = vmcs_read32(vcpu, GUEST_GDTR_LIMIT)
    vmcs12.guest_idtr_limit = vmcs_read32(vcpu, GUEST_IDTR_LIMIT)
    vmcs12.guest_es_ar_bytes = vmcs_read32(vcpu, GUEST_ES_AR_BYTES)
    vmcs12.guest_cs_ar_bytes = vmcs_read32(vcpu, GUEST_CS_AR_BYTES)
    vmcs12.guest_ss_ar_bytes = vmcs_read32(vcpu, GUEST_SS_AR_BYTES)
    vmcs12.guest_ds_ar_bytes = vmcs_read32(vcpu, GUEST_DS_AR_BYTES)
    vmcs12.guest_fs_ar_bytes = vmcs_read32(vcpu, GUEST_FS_AR_BYTES)
    vmcs12.guest_gs_ar_bytes = vmcs_read32(vcpu, GUEST_GS_AR_BYTES)
    vmcs12.guest_ldtr_ar_bytes = vmcs_read32(vcpu, GUEST_LDTR_AR_BYTES)
    vmcs12.guest_tr_ar_bytes = vmcs_read32(vcpu, GUEST_TR_AR_BYTES)
    vmcs12.guest_es_base = vmcs_readl(vcpu, GUEST_ES_BASE)
    vmcs12.guest_cs_base = vmcs_readl(vcpu, GUEST_CS_BASE)
    vmcs12.guest_ss_base = vmcs_readl(vcpu, GUEST_SS_BASE)
    vmcs12.guest_ds_base = vmcs_readl(vcpu, GUEST_DS_BASE)
    vmcs12.guest_fs_base = vmcs_readl(vcpu, GUEST_FS_BASE)
    vmcs12.guest_gs_base = vmcs_readl(vcpu, GUEST_GS_BASE)
    vmcs12.guest_ldtr_base = vmcs_readl(vcpu, GUEST_LDTR_BASE)
    vmcs12.guest_tr_base = vmcs_readl(vcpu, GUEST_TR_BASE)
    vmcs12.guest_gdtr_base = vmcs_readl(vcpu, GUEST_GDTR_BASE)
    vmcs12.guest_idtr_base = vmcs_readl(vcpu, GUEST_IDTR_BASE)
    vmcs12.guest_activity_state = vmcs_read32(vcpu, GUEST_ACTIVITY_STATE)
    vmcs12.guest_interruptibility_info = vmcs_read32(vcpu, GUEST_INTERRUPTIBILITY_INFO)
    vmcs12.guest_pending_dbg_exceptions = vmcs_readl(vcpu, GUEST_PENDING_DBG_EXCEPTIONS)
    vmcs12.guest_ia32_debugctl = vmcs_read64(vcpu, GUEST_IA32_DEBUGCTL)
    if vmcs12.vm_entry_controls & VM_EXIT_SAVE_IA32_PAT:
        vmcs12.guest_ia32_pat = vmcs_read64(vcpu, GUEST_IA32_PAT)
    vmcs12.guest_sysenter_cs = vmcs_read32(vcpu, GUEST_SYSENTER_CS)
    vmcs12.guest_sysenter_esp = vmcs_readl(vcpu, GUEST_SYSENTER_ESP)
    vmcs12.guest_sysenter_eip = vmcs_readl(vcpu, GUEST_SYSENTER_EIP)
    vmcs12.vm_exit_reason = vmcs_read32(vcpu, VM_EXIT_REASON)
    vmcs12.exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)
    vmcs12.vm_exit_intr_info = vmcs_read32(vcpu, VM_EXIT_INTR_INFO)
    vmcs12.vm_exit_intr_error_code = vmcs_read32(vcpu, VM_EXIT_INTR_ERROR_CODE)
    vmcs12.idt_vectoring_info_field = vmcs_read32(vcpu, IDT_VECTORING_INFO_FIELD)
    vmcs12.idt_vectoring_error_code = vmcs_read32(vcpu, IDT_VECTORING_ERROR_CODE)
    vmcs12.vm_exit_instruction_len = vmcs_read32(vcpu, VM_EXIT_INSTRUCTION_LEN)
    vmcs12.vmx_instruction_info = vmcs_read32(vcpu, VMX_INSTRUCTION_INFO)

    if not vmcs12.vm_exit_reason & VMX_EXIT_REASONS_FAILED_VMENTRY:
        vmcs12.vm_entry_intr_info_field &= ~INTR_INFO_VALID_MASK


def load_vmcs12_host_state(vcpu: kvm_vcpu, vmcs12: struct_vmcs12) -> None:
    """Load L1's state from the host-state fields of *vmcs12*; the current VMCS is vmcs01.

    What the setters think of L1's values does not matter, and most of L1's other state stays as it
    was before VMLAUNCH: RFLAGS, DR7, interruptibility and activity state, limits, access rights.

    Source: arch/x86/kvm/vmx.c:6957-7027
    """
    module = to_vmx(vcpu).module
    if vmcs12.vm_exit_controls & VM_EXIT_LOAD_IA32_EFER:
        vcpu.arch.efer = vmcs12.host_ia32_efer
    if vmcs12.vm_exit_controls & VM_EXIT_HOST_ADDR_SPACE_SIZE:
        vcpu.arch.efer |= EFER_LMA | EFER_LME
    else:
        vcpu.arch.efer &= ~(EFER_LMA | EFER_LME)
    vmx_set_efer(vcpu, vcpu.arch.efer)

    kvm_register_write(vcpu, VCPU_REGS_RSP, vmcs12.host_rsp)
    kvm_register_write(vcpu, VCPU_REGS_RIP, vmcs12.host_rip)
    # Even an unchanged CR0 has to be written: fpu_active may have changed while L2 ran.
    kvm_set_cr0(vcpu, vmcs12.host_cr0)
    update_exception_bitmap(vcpu)
    vcpu.arch.cr0_guest_owned_bits = X86_CR0_TS if vcpu.fpu_active else 0
    vmcs_writel(vcpu, CR0_GUEST_HOST_MASK, ~vcpu.arch.cr0_guest_owned_bits & U64)

    # vmcs01's mask for CR4 has never changed.
    vcpu.arch.cr4_guest_owned_bits = ~vmcs_readl(vcpu, CR4_GUEST_HOST_MASK) & U64
    kvm_set_cr4(vcpu, vmcs12.host_cr4)

    kvm_set_cr3(vcpu, vmcs12.host_cr3)
    kvm_mmu_reset_context(vcpu)

    if module.enable_vpid:
        # L1 shares L2's VPID, so nothing of L2 may be left in the TLB.
        vmx_flush_tlb(vcpu)

    vmcs_write32(vcpu, GUEST_SYSENTER_CS, vmcs12.host_ia32_sysenter_cs)
    vmcs_writel(vcpu, GUEST_SYSENTER_ESP, vmcs12.host_ia32_sysenter_esp)
    vmcs_writel(vcpu, GUEST_SYSENTER_EIP, vmcs12.host_ia32_sysenter_eip)
    vmcs_writel(vcpu, GUEST_IDTR_BASE, vmcs12.host_idtr_base)
    vmcs_writel(vcpu, GUEST_GDTR_BASE, vmcs12.host_gdtr_base)
    vmcs_writel(vcpu, GUEST_TR_BASE, vmcs12.host_tr_base)
    vmcs_writel(vcpu, GUEST_GS_BASE, vmcs12.host_gs_base)
    vmcs_writel(vcpu, GUEST_FS_BASE, vmcs12.host_fs_base)
    vmcs_write16(vcpu, GUEST_ES_SELECTOR, vmcs12.host_es_selector)
    vmcs_write16(vcpu, GUEST_CS_SELECTOR, vmcs12.host_cs_selector)
    vmcs_write16(vcpu, GUEST_SS_SELECTOR, vmcs12.host_ss_selector)
    vmcs_write16(vcpu, GUEST_DS_SELECTOR, vmcs12.host_ds_selector)
    vmcs_write16(vcpu, GUEST_FS_SELECTOR, vmcs12.host_fs_selector)
    vmcs_write16(vcpu, GUEST_GS_SELECTOR, vmcs12.host_gs_selector)
    vmcs_write16(vcpu, GUEST_TR_SELECTOR, vmcs12.host_tr_selector)

    if vmcs12.vm_exit_controls & VM_EXIT_LOAD_IA32_PAT:
        vmcs_write64(vcpu, GUEST_IA32_PAT, vmcs12.host_ia32_pat)
    if vmcs12.vm_exit_controls & VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL:
        vmcs_write64(vcpu, GUEST_IA32_PERF_GLOBAL_CTRL, vmcs12.host_ia32_perf_global_ctrl)


def nested_vmx_vmexit(vcpu: kvm_vcpu) -> None:
    """Leave L2: L1 goes on as if its VMLAUNCH or VMRESUME had just ended with an exit.

    After a VMfail of L2's entry the error number comes from vmcs01, which is loaded by then.

    Source: arch/x86/kvm/vmx.c:7034-7078
    """
    vmx = to_vmx(vcpu)
    vmcs12 = get_vmcs12(vcpu)

    leave_guest_mode(vcpu)
    prepare_vmcs12(vcpu, vmcs12)

    cpu = get_cpu(vcpu.env)
    vmx.loaded_vmcs = vmx.vmcs01
    vmx_vcpu_put(vcpu)
    vmx_vcpu_load(vcpu, cpu)
    vcpu.cpu = cpu
    put_cpu(vcpu.env)

    # C frees the vmcs02 here if the pool keeps none; it keeps one.

    load_vmcs12_host_state(vcpu, vmcs12)

    # L2 may have written the time-stamp counter.
    vmcs_write64(vcpu, TSC_OFFSET, vmx.nested.vmcs01_tsc_offset)

    # HOST_RSP is only written when it changes, and this is another VMCS.
    vmx.host_rsp = 0

    if vmx.nested.apic_access_page is not None:
        nested_release_page(vmx.nested.apic_access_page)
        vmx.nested.apic_access_page = None

    if vmx.fail:
        vmx.fail = 0
        nested_vmx_failValid(vcpu, vmcs_read32(vcpu, VM_INSTRUCTION_ERROR))
    else:
        nested_vmx_succeed(vcpu)


def nested_vmx_entry_failure(
    vcpu: kvm_vcpu, vmcs12: struct_vmcs12, reason: u32, qualification: u64
) -> None:
    """Fail L1's VM entry as the processor fails one that has begun to load guest state.

    L2 has not run and vmcs01 is current, so there is nothing to switch.

    Source: arch/x86/kvm/vmx.c:7087-7095
    """
    load_vmcs12_host_state(vcpu, vmcs12)
    vmcs12.vm_exit_reason = reason | VMX_EXIT_REASONS_FAILED_VMENTRY
    vmcs12.exit_qualification = qualification
    nested_vmx_succeed(vcpu)
