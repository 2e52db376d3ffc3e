# SPDX-License-Identifier: GPL-2.0-only
"""Entering L2: VMLAUNCH and VMRESUME of L1, and the VMCS that L2 runs with.

vmx.c:5279-5289, 6462-6816.
"""

from __future__ import annotations

from kvmref.integers import U64
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    CPU_BASED_ACTIVATE_SECONDARY_CONTROLS,
    CPU_BASED_TPR_SHADOW,
    CPU_BASED_UNCOND_IO_EXITING,
    CPU_BASED_USE_IO_BITMAPS,
    CPU_BASED_USE_MSR_BITMAPS,
    CPU_BASED_USE_TSC_OFFSETING,
    CPU_BASED_VIRTUAL_INTR_PENDING,
    CPU_BASED_VIRTUAL_NMI_PENDING,
    ENTRY_FAIL_DEFAULT,
    ENTRY_FAIL_VMCS_LINK_PTR,
    EXIT_REASON_INVALID_STATE,
    SECONDARY_EXEC_RDTSCP,
    SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES,
    VM_ENTRY_IA32E_MODE,
    VM_ENTRY_LOAD_IA32_EFER,
    VM_ENTRY_LOAD_IA32_PAT,
    VMXERR_ENTRY_INVALID_CONTROL_FIELD,
    VMXERR_ENTRY_INVALID_HOST_STATE_FIELD,
    VMXERR_VMLAUNCH_NONCLEAR_VMCS,
    VMXERR_VMRESUME_NONLAUNCHED_VMCS,
)
from kvmref.kernel.linux_3_3.include.kvm import ENOMEM
from kvmref.kernel.linux_3_3.include.kvm_host import (
    PAGE_SIZE,
    VCPU_REGS_RIP,
    VCPU_REGS_RSP,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.msr_index import EFER_LMA, EFER_LME
from kvmref.kernel.linux_3_3.kvm_cache_regs import enter_guest_mode, kvm_register_write
from kvmref.kernel.linux_3_3.outside.host import get_cpu, put_cpu
from kvmref.kernel.linux_3_3.outside.memory import page_to_phys
from kvmref.kernel.linux_3_3.outside.mmu import kvm_mmu_reset_context
from kvmref.kernel.linux_3_3.vmx.capabilities import (
    cpu_has_secondary_exec_ctrls,
    nested_cpu_has,
    nested_cpu_has2,
)
from kvmref.kernel.linux_3_3.vmx.control_registers import vmx_set_cr0, vmx_set_cr4, vmx_set_efer
from kvmref.kernel.linux_3_3.vmx.exception_bitmap import update_exception_bitmap
from kvmref.kernel.linux_3_3.vmx.exec_controls import (
    set_cr4_guest_host_mask,
    vmx_exec_control,
    vmx_secondary_exec_control,
)
from kvmref.kernel.linux_3_3.vmx.fpu import nested_read_cr0, nested_read_cr4
from kvmref.kernel.linux_3_3.vmx.host_state import (
    vmx_set_constant_host_state,
    vmx_vcpu_load,
    vmx_vcpu_put,
)
from kvmref.kernel.linux_3_3.vmx.module import VMXON_CR0_ALWAYSON, VMXON_CR4_ALWAYSON
from kvmref.kernel.linux_3_3.vmx.nested_controls import vmx_control_verify
from kvmref.kernel.linux_3_3.vmx.nested_exit import nested_vmx_entry_failure
from kvmref.kernel.linux_3_3.vmx.nested_instructions import (
    nested_vmx_check_permission,
    nested_vmx_check_vmcs12,
    nested_vmx_failValid,
)
from kvmref.kernel.linux_3_3.vmx.nested_pages import (
    get_vmcs12,
    nested_get_page,
    nested_release_page,
)
from kvmref.kernel.linux_3_3.vmx.nested_vmcs02 import nested_get_current_vmcs02
from kvmref.kernel.linux_3_3.vmx.rflags import skip_emulated_instruction
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.tlb import vmx_flush_tlb
from kvmref.kernel.linux_3_3.vmx.vmcs12 import struct_vmcs12
from kvmref.kernel.linux_3_3.vmx.vmcs_access import (
    vmcs_read64,
    vmcs_write16,
    vmcs_write32,
    vmcs_write64,
    vmcs_writel,
)
from kvmref.kernel.linux_3_3.x86.control_registers import kvm_set_cr3
from kvmref.processor.vmcs_fields import (
    APIC_ACCESS_ADDR,
    CPU_BASED_VM_EXEC_CONTROL,
    CR0_GUEST_HOST_MASK,
    CR0_READ_SHADOW,
    CR4_READ_SHADOW,
    GUEST_ACTIVITY_STATE,
    GUEST_CS_AR_BYTES,
    GUEST_CS_BASE,
    GUEST_CS_LIMIT,
    GUEST_CS_SELECTOR,
    GUEST_DR7,
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
    PAGE_FAULT_ERROR_CODE_MASK,
    PAGE_FAULT_ERROR_CODE_MATCH,
    PIN_BASED_VM_EXEC_CONTROL,
    SECONDARY_VM_EXEC_CONTROL,
    TSC_OFFSET,
    VIRTUAL_PROCESSOR_ID,
    VM_ENTRY_CONTROLS,
    VM_ENTRY_EXCEPTION_ERROR_CODE,
    VM_ENTRY_INSTRUCTION_LEN,
    VM_ENTRY_INTR_INFO_FIELD,
    VM_EXIT_CONTROLS,
    VMCS_LINK_POINTER,
)


def handle_vmlaunch(vcpu: kvm_vcpu) -> int:
    """Execute VMLAUNCH.

    Source: arch/x86/kvm/vmx.c:5279-5282
    """
    return nested_vmx_run(vcpu, True)


def handle_vmresume(vcpu: kvm_vcpu) -> int:
    """Execute VMRESUME.

    Source: arch/x86/kvm/vmx.c:5285-5289
    """
    return nested_vmx_run(vcpu, False)


def prepare_vmcs02(vcpu: kvm_vcpu, vmcs12: struct_vmcs12) -> None:
    """Merge what L1 wants for L2 (*vmcs12*) with what L0 needs, in the current VMCS, vmcs02.

    The state of the virtual CPU becomes that of L2. What `vmx_set_cr4` and `kvm_set_cr3` think of
    L1's values does not matter.

    Source: arch/x86/kvm/vmx.c:6462-6691
    """
    vmx = to_vmx(vcpu)
    module = vmx.module

    vmcs_write16(vcpu, GUEST_ES_SELECTOR, vmcs12.guest_es_selector)
    vmcs_write16(vcpu, GUEST_CS_SELECTOR, vmcs12.guest_cs_selector)
    vmcs_write16(vcpu, GUEST_SS_SELECTOR, vmcs12.guest_ss_selector)
    vmcs_write16(vcpu, GUEST_DS_SELECTOR, vmcs12.guest_ds_selector)
    vmcs_write16(vcpu, GUEST_FS_SELECTOR, vmcs12.guest_fs_selector)
    vmcs_write16(vcpu, GUEST_GS_SELECTOR, vmcs12.guest_gs_selector)
    vmcs_write16(vcpu, GUEST_LDTR_SELECTOR, vmcs12.guest_ldtr_selector)
    vmcs_write16(vcpu, GUEST_TR_SELECTOR, vmcs12.guest_tr_selector)
    vmcs_write32(vcpu, GUEST_ES_LIMIT, vmcs12.guest_es_limit)
    vmcs_write32(vcpu, GUEST_CS_LIMIT, vmcs12.guest_cs_limit)
    vmcs_write32(vcpu, GUEST_SS_LIMIT, vmcs12.guest_ss_limit)
    vmcs_write32(vcpu, GUEST_DS_LIMIT, vmcs12.guest_ds_limit)
    vmcs_write32(vcpu, GUEST_FS_LIMIT, vmcs12.guest_fs_limit)
    vmcs_write32(vcpu, GUEST_GS_LIMIT, vmcs12.guest_gs_limit)
    vmcs_write32(vcpu, GUEST_LDTR_LIMIT, vmcs12.guest_ldtr_limit)
    vmcs_write32(vcpu, GUEST_TR_LIMIT, vmcs12.guest_tr_limit)
    vmcs_write32(vcpu, GUEST_GDTR_LIMIT, vmcs12.guest_gdtr_limit)
    vmcs_write32(vcpu, GUEST_IDTR_LIMIT, vmcs12.guest_idtr_limit)
    vmcs_write32(vcpu, GUEST_ES_AR_BYTES, vmcs12.guest_es_ar_bytes)
    vmcs_write32(vcpu, GUEST_CS_AR_BYTES, vmcs12.guest_cs_ar_bytes)
    vmcs_write32(vcpu, GUEST_SS_AR_BYTES, vmcs12.guest_ss_ar_bytes)
    vmcs_write32(vcpu, GUEST_DS_AR_BYTES, vmcs12.guest_ds_ar_bytes)
    vmcs_write32(vcpu, GUEST_FS_AR_BYTES, vmcs12.guest_fs_ar_bytes)
    vmcs_write32(vcpu, GUEST_GS_AR_BYTES, vmcs12.guest_gs_ar_bytes)
    vmcs_write32(vcpu, GUEST_LDTR_AR_BYTES, vmcs12.guest_ldtr_ar_bytes)
    vmcs_write32(vcpu, GUEST_TR_AR_BYTES, vmcs12.guest_tr_ar_bytes)
    vmcs_writel(vcpu, GUEST_ES_BASE, vmcs12.guest_es_base)
    vmcs_writel(vcpu, GUEST_CS_BASE, vmcs12.guest_cs_base)
    vmcs_writel(vcpu, GUEST_SS_BASE, vmcs12.guest_ss_base)
    vmcs_writel(vcpu, GUEST_DS_BASE, vmcs12.guest_ds_base)
    vmcs_writel(vcpu, GUEST_FS_BASE, vmcs12.guest_fs_base)
    vmcs_writel(vcpu, GUEST_GS_BASE, vmcs12.guest_gs_base)
    vmcs_writel(vcpu, GUEST_LDTR_BASE, vmcs12.guest_ldtr_base)
    vmcs_writel(vcpu, GUEST_TR_BASE, vmcs12.guest_tr_base)
    vmcs_writel(vcpu, GUEST_GDTR_BASE, vmcs12.guest_gdtr_base)
    vmcs_writel(vcpu, GUEST_IDTR_BASE, vmcs12.guest_idtr_base)
    vmcs_write64(vcpu, GUEST_IA32_DEBUGCTL, vmcs12.guest_ia32_debugctl)
    vmcs_write32(vcpu, VM_ENTRY_INTR_INFO_FIELD, vmcs12.vm_entry_intr_info_field)
    vmcs_write32(vcpu, VM_ENTRY_EXCEPTION_ERROR_CODE, vmcs12.vm_entry_exception_error_code)
    vmcs_write32(vcpu, VM_ENTRY_INSTRUCTION_LEN, vmcs12.vm_entry_instruction_len)
    vmcs_write32(vcpu, GUEST_INTERRUPTIBILITY_INFO, vmcs12.guest_interruptibility_info)
    vmcs_write32(vcpu, GUEST_ACTIVITY_STATE, vmcs12.guest_activity_state)
    vmcs_write32(vcpu, GUEST_SYSENTER_CS, vmcs12.guest_sysenter_cs)
    vmcs_writel(vcpu, GUEST_DR7, vmcs12.guest_dr7)
    vmcs_writel(vcpu, GUEST_RFLAGS, vmcs12.guest_rflags)
    vmcs_writel(vcpu, GUEST_PENDING_DBG_EXCEPTIONS, vmcs12.guest_pending_dbg_exceptions)
    vmcs_writel(vcpu, GUEST_SYSENTER_ESP, vmcs12.guest_sysenter_esp)
    vmcs_writel(vcpu, GUEST_SYSENTER_EIP, vmcs12.guest_sysenter_eip)

    vmcs_write64(vcpu, VMCS_LINK_POINTER, U64)

    vmcs_write32(
        vcpu,
        PIN_BASED_VM_EXEC_CONTROL,
        module.vmcs_config.pin_based_exec_ctrl | vmcs12.pin_based_vm_exec_control,
    )

    # With EPT, page faults of L2 interest L1 only. Without, every one of them has to exit, which
    # mask and match of zero do together with bit 14 of the exception bitmap.
    vmcs_write32(
        vcpu,
        PAGE_FAULT_ERROR_CODE_MASK,
        vmcs12.page_fault_error_code_mask if module.enable_ept else 0,
    )
    vmcs_write32(
        vcpu,
        PAGE_FAULT_ERROR_CODE_MATCH,
        vmcs12.page_fault_error_code_match if module.enable_ept else 0,
    )

    if cpu_has_secondary_exec_ctrls(module):
        exec_control = vmx_secondary_exec_control(vmx)
        if not vmx.rdtscp_enabled:
            exec_control &= ~SECONDARY_EXEC_RDTSCP
        exec_control &= ~SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES
        if nested_cpu_has(vmcs12, CPU_BASED_ACTIVATE_SECONDARY_CONTROLS):
            exec_control |= vmcs12.secondary_vm_exec_control

        if exec_control & SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES:
            # vmcs02 holds a host-physical address, so the page has to stay where it is.
            if vmx.nested.apic_access_page is not None:
                nested_release_page(vmx.nested.apic_access_page)
            vmx.nested.apic_access_page = nested_get_page(vcpu, vmcs12.apic_access_addr)
            # What is not memory cannot be accessed, so nothing needs to exit.
            if vmx.nested.apic_access_page is None:
                exec_control &= ~SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES
            else:
                vmcs_write64(vcpu, APIC_ACCESS_ADDR, page_to_phys(vmx.nested.apic_access_page))

        vmcs_write32(vcpu, SECONDARY_VM_EXEC_CONTROL, exec_control)

    vmx_set_constant_host_state(vcpu)

    # HOST_RSP is only written when it changes, and this is another VMCS.
    vmx.host_rsp = 0

    exec_control = vmx_exec_control(vmx)
    exec_control &= ~CPU_BASED_VIRTUAL_INTR_PENDING
    exec_control &= ~CPU_BASED_VIRTUAL_NMI_PENDING
    exec_control &= ~CPU_BASED_TPR_SHADOW
    exec_control |= vmcs12.cpu_based_vm_exec_control
    # Bitmaps are not merged; every access exits, and L0 looks at L1's.
    exec_control &= ~CPU_BASED_USE_MSR_BITMAPS
    exec_control &= ~CPU_BASED_USE_IO_BITMAPS
    exec_control |= CPU_BASED_UNCOND_IO_EXITING

    vmcs_write32(vcpu, CPU_BASED_VM_EXEC_CONTROL, exec_control)

    update_exception_bitmap(vcpu)
    vcpu.arch.cr0_guest_owned_bits &= ~vmcs12.cr0_guest_host_mask
    vmcs_writel(vcpu, CR0_GUEST_HOST_MASK, ~vcpu.arch.cr0_guest_owned_bits & U64)

    # vmx_set_efer, below, has the last word on the controls for EFER and IA-32e mode.
    vmcs_write32(vcpu, VM_EXIT_CONTROLS, vmcs12.vm_exit_controls | module.vmcs_config.vmexit_ctrl)
    vmcs_write32(
        vcpu,
        VM_ENTRY_CONTROLS,
        vmcs12.vm_entry_controls | (module.vmcs_config.vmentry_ctrl & ~VM_ENTRY_IA32E_MODE),
    )

    if vmcs12.vm_entry_controls & VM_ENTRY_LOAD_IA32_PAT:
        vmcs_write64(vcpu, GUEST_IA32_PAT, vmcs12.guest_ia32_pat)
    elif module.vmcs_config.vmentry_ctrl & VM_ENTRY_LOAD_IA32_PAT:
        vmcs_write64(vcpu, GUEST_IA32_PAT, vmx.arch.pat)

    set_cr4_guest_host_mask(vmx)

    if vmcs12.cpu_based_vm_exec_control & CPU_BASED_USE_TSC_OFFSETING:
        vmcs_write64(vcpu, TSC_OFFSET, (vmx.nested.vmcs01_tsc_offset + vmcs12.tsc_offset) & U64)
    else:
        vmcs_write64(vcpu, TSC_OFFSET, vmx.nested.vmcs01_tsc_offset)

    if module.enable_vpid:
        # L2 shares L1's VPID, so nothing of L1 may be left in the TLB.
        vmcs_write16(vcpu, VIRTUAL_PROCESSOR_ID, vmx.vpid)
        vmx_flush_tlb(vcpu)

    if vmcs12.vm_entry_controls & VM_ENTRY_LOAD_IA32_EFER:
        vcpu.arch.efer = vmcs12.guest_ia32_efer
    if vmcs12.vm_entry_controls & VM_ENTRY_IA32E_MODE:
        vcpu.arch.efer |= EFER_LMA | EFER_LME
    else:
        vcpu.arch.efer &= ~(EFER_LMA | EFER_LME)
    vmx_set_efer(vcpu, vcpu.arch.efer)

    # L0 shadows more bits of CR0 and CR4 than L1 knows, so the shadows are not just L1's.
    vmx_set_cr0(vcpu, vmcs12.guest_cr0)
    vmcs_writel(vcpu, CR0_READ_SHADOW, nested_read_cr0(vmcs12))

    vmx_set_cr4(vcpu, vmcs12.guest_cr4)
    vmcs_writel(vcpu, CR4_READ_SHADOW, nested_read_cr4(vmcs12))

    kvm_set_cr3(vcpu, vmcs12.guest_cr3)
    kvm_mmu_reset_context(vcpu)

    kvm_register_write(vcpu, VCPU_REGS_RSP, vmcs12.guest_rsp)
    kvm_register_write(vcpu, VCPU_REGS_RIP, vmcs12.guest_rip)


def nested_vmx_run(vcpu: kvm_vcpu, launch: bool) -> int:
    """Execute VMLAUNCH (*launch*) or VMRESUME: check vmcs12, switch to vmcs02, prepare it.

    1, or -ENOMEM. L1's RIP has moved on before the checks, and the flags are not set before L2
    exits. ``launch_state`` is compared with *launch* as a number: other values than 0 and 1 suit
    both instructions.

    Source: arch/x86/kvm/vmx.c:6697-6816
    """
    vmx = to_vmx(vcpu)

    if not nested_vmx_check_permission(vcpu) or not nested_vmx_check_vmcs12(vcpu):
        return 1

    skip_emulated_instruction(vcpu)
    vmcs12 = get_vmcs12(vcpu)

    # What the processor will check in vmcs02 is left to it.
    if vmcs12.launch_state == launch:
        nested_vmx_failValid(
            vcpu,
            VMXERR_VMLAUNCH_NONCLEAR_VMCS if launch else VMXERR_VMRESUME_NONLAUNCHED_VMCS,
        )
        return 1

    if vmcs12.cpu_based_vm_exec_control & CPU_BASED_USE_MSR_BITMAPS and vmcs12.msr_bitmap & (
        PAGE_SIZE - 1
    ):
        nested_vmx_failValid(vcpu, VMXERR_ENTRY_INVALID_CONTROL_FIELD)
        return 1

    if nested_cpu_has2(
        vmcs12, SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES
    ) and vmcs12.apic_access_addr & (PAGE_SIZE - 1):
        nested_vmx_failValid(vcpu, VMXERR_ENTRY_INVALID_CONTROL_FIELD)
        return 1

    if (
        vmcs12.vm_entry_msr_load_count > 0
        or vmcs12.vm_exit_msr_load_count > 0
        or vmcs12.vm_exit_msr_store_count > 0
    ):
        nested_vmx_failValid(vcpu, VMXERR_ENTRY_INVALID_CONTROL_FIELD)
        return 1

    ctls = vmx.module.nested_vmx
    if (
        not vmx_control_verify(
            vmcs12.cpu_based_vm_exec_control, ctls.procbased_ctls_low, ctls.procbased_ctls_high
        )
        or not vmx_control_verify(
            vmcs12.secondary_vm_exec_control, ctls.secondary_ctls_low, ctls.secondary_ctls_high
        )
        or not vmx_control_verify(
            vmcs12.pin_based_vm_exec_control, ctls.pinbased_ctls_low, ctls.pinbased_ctls_high
        )
        or not vmx_control_verify(vmcs12.vm_exit_controls, ctls.exit_ctls_low, ctls.exit_ctls_high)
        or not vmx_control_verify(
            vmcs12.vm_entry_controls, ctls.entry_ctls_low, ctls.entry_ctls_high
        )
    ):
        nested_vmx_failValid(vcpu, VMXERR_ENTRY_INVALID_CONTROL_FIELD)
        return 1

    if (vmcs12.host_cr0 & VMXON_CR0_ALWAYSON) != VMXON_CR0_ALWAYSON or (
        vmcs12.host_cr4 & VMXON_CR4_ALWAYSON
    ) != VMXON_CR4_ALWAYSON:
        nested_vmx_failValid(vcpu, VMXERR_ENTRY_INVALID_HOST_STATE_FIELD)
        return 1

    if (vmcs12.guest_cr0 & VMXON_CR0_ALWAYSON) != VMXON_CR0_ALWAYSON or (
        vmcs12.guest_cr4 & VMXON_CR4_ALWAYSON
    ) != VMXON_CR4_ALWAYSON:
        nested_vmx_entry_failure(vcpu, vmcs12, EXIT_REASON_INVALID_STATE, ENTRY_FAIL_DEFAULT)
        return 1
    if vmcs12.vmcs_link_pointer != U64:
        nested_vmx_entry_failure(vcpu, vmcs12, EXIT_REASON_INVALID_STATE, ENTRY_FAIL_VMCS_LINK_PTR)
        return 1

    vmcs02 = nested_get_current_vmcs02(vmx)
    if vmcs02 is None:
        return -ENOMEM

    enter_guest_mode(vcpu)

    vmx.nested.vmcs01_tsc_offset = vmcs_read64(vcpu, TSC_OFFSET)

    cpu = get_cpu(vcpu.env)
    vmx.loaded_vmcs = vmcs02
    vmx_vcpu_put(vcpu)
    vmx_vcpu_load(vcpu, cpu)
    vcpu.cpu = cpu
    put_cpu(vcpu.env)

    vmcs12.launch_state = 1

    prepare_vmcs02(vcpu, vmcs12)

    return 1
