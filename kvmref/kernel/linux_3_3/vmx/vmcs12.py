# SPDX-License-Identifier: GPL-2.0-only
"""``struct vmcs12``, the VMCS that L1 keeps for L2, and the table of its fields (vmx.c:163-579).

The struct lies in guest memory, on the page whose address L1 gave to VMPTRLD, so it is a view of
that memory, with the layout of the packed C struct. Whatever else writes to the page writes to the
struct. Members are as wide as in C, and a store keeps the low bits.
"""

from __future__ import annotations

import ctypes
from typing import Final

from kvmref.integers import u16, u32, u64
from kvmref.processor.vmcs_fields import (
    APIC_ACCESS_ADDR,
    CPU_BASED_VM_EXEC_CONTROL,
    CR0_GUEST_HOST_MASK,
    CR0_READ_SHADOW,
    CR3_TARGET_COUNT,
    CR3_TARGET_VALUE0,
    CR3_TARGET_VALUE1,
    CR3_TARGET_VALUE2,
    CR3_TARGET_VALUE3,
    CR4_GUEST_HOST_MASK,
    CR4_READ_SHADOW,
    EPT_POINTER,
    EXCEPTION_BITMAP,
    EXIT_QUALIFICATION,
    GUEST_ACTIVITY_STATE,
    GUEST_CR0,
    GUEST_CR3,
    GUEST_CR4,
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
    GUEST_IA32_EFER,
    GUEST_IA32_PAT,
    GUEST_IA32_PERF_GLOBAL_CTRL,
    GUEST_IDTR_BASE,
    GUEST_IDTR_LIMIT,
    GUEST_INTERRUPTIBILITY_INFO,
    GUEST_LDTR_AR_BYTES,
    GUEST_LDTR_BASE,
    GUEST_LDTR_LIMIT,
    GUEST_LDTR_SELECTOR,
    GUEST_LINEAR_ADDRESS,
    GUEST_PDPTR0,
    GUEST_PDPTR1,
    GUEST_PDPTR2,
    GUEST_PDPTR3,
    GUEST_PENDING_DBG_EXCEPTIONS,
    GUEST_PHYSICAL_ADDRESS,
    GUEST_RFLAGS,
    GUEST_RIP,
    GUEST_RSP,
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
    HOST_CR0,
    HOST_CR3,
    HOST_CR4,
    HOST_CS_SELECTOR,
    HOST_DS_SELECTOR,
    HOST_ES_SELECTOR,
    HOST_FS_BASE,
    HOST_FS_SELECTOR,
    HOST_GDTR_BASE,
    HOST_GS_BASE,
    HOST_GS_SELECTOR,
    HOST_IA32_EFER,
    HOST_IA32_PAT,
    HOST_IA32_PERF_GLOBAL_CTRL,
    HOST_IA32_SYSENTER_CS,
    HOST_IA32_SYSENTER_EIP,
    HOST_IA32_SYSENTER_ESP,
    HOST_IDTR_BASE,
    HOST_RIP,
    HOST_RSP,
    HOST_SS_SELECTOR,
    HOST_TR_BASE,
    HOST_TR_SELECTOR,
    IDT_VECTORING_ERROR_CODE,
    IDT_VECTORING_INFO_FIELD,
    IO_BITMAP_A,
    IO_BITMAP_B,
    MSR_BITMAP,
    PAGE_FAULT_ERROR_CODE_MASK,
    PAGE_FAULT_ERROR_CODE_MATCH,
    PIN_BASED_VM_EXEC_CONTROL,
    SECONDARY_VM_EXEC_CONTROL,
    TPR_THRESHOLD,
    TSC_OFFSET,
    VIRTUAL_APIC_PAGE_ADDR,
    VIRTUAL_PROCESSOR_ID,
    VM_ENTRY_CONTROLS,
    VM_ENTRY_EXCEPTION_ERROR_CODE,
    VM_ENTRY_INSTRUCTION_LEN,
    VM_ENTRY_INTR_INFO_FIELD,
    VM_ENTRY_MSR_LOAD_ADDR,
    VM_ENTRY_MSR_LOAD_COUNT,
    VM_EXIT_CONTROLS,
    VM_EXIT_INSTRUCTION_LEN,
    VM_EXIT_INTR_ERROR_CODE,
    VM_EXIT_INTR_INFO,
    VM_EXIT_MSR_LOAD_ADDR,
    VM_EXIT_MSR_LOAD_COUNT,
    VM_EXIT_MSR_STORE_ADDR,
    VM_EXIT_MSR_STORE_COUNT,
    VM_EXIT_REASON,
    VM_INSTRUCTION_ERROR,
    VMCS_LINK_POINTER,
    VMX_INSTRUCTION_INFO,
)

VMCS12_REVISION: Final = 0x11E57ED0
"""What VMPTRLD expects in ``revision_id``; changes with the layout of the struct."""

VMCS12_SIZE: Final = 0x1000
"""How many bytes L1 is told to allocate."""


class struct_vmcs12(ctypes.LittleEndianStructure):
    """The VMCS that L1 keeps for L2 (``struct vmcs12``).

    Natural-width fields are 64 bits wide, so that the layout does not depend on the machine.
    """

    revision_id: u32
    abort: u32
    launch_state: u32
    io_bitmap_a: u64
    io_bitmap_b: u64
    msr_bitmap: u64
    vm_exit_msr_store_addr: u64
    vm_exit_msr_load_addr: u64
    vm_entry_msr_load_addr: u64
    tsc_offset: u64
    virtual_apic_page_addr: u64
    apic_access_addr: u64
    ept_pointer: u64
    guest_physical_address: u64
    vmcs_link_pointer: u64
    guest_ia32_debugctl: u64
    guest_ia32_pat: u64
    guest_ia32_efer: u64
    guest_ia32_perf_global_ctrl: u64
    guest_pdptr0: u64
    guest_pdptr1: u64
    guest_pdptr2: u64
    guest_pdptr3: u64
    host_ia32_pat: u64
    host_ia32_efer: u64
    host_ia32_perf_global_ctrl: u64
    cr0_guest_host_mask: u64
    cr4_guest_host_mask: u64
    cr0_read_shadow: u64
    cr4_read_shadow: u64
    cr3_target_value0: u64
    cr3_target_value1: u64
    cr3_target_value2: u64
    cr3_target_value3: u64
    exit_qualification: u64
    guest_linear_address: u64
    guest_cr0: u64
    guest_cr3: u64
    guest_cr4: u64
    guest_es_base: u64
    guest_cs_base: u64
    guest_ss_base: u64
    guest_ds_base: u64
    guest_fs_base: u64
    guest_gs_base: u64
    guest_ldtr_base: u64
    guest_tr_base: u64
    guest_gdtr_base: u64
    guest_idtr_base: u64
    guest_dr7: u64
    guest_rsp: u64
    guest_rip: u64
    guest_rflags: u64
    guest_pending_dbg_exceptions: u64
    guest_sysenter_esp: u64
    guest_sysenter_eip: u64
    host_cr0: u64
    host_cr3: u64
    host_cr4: u64
    host_fs_base: u64
    host_gs_base: u64
    host_tr_base: u64
    host_gdtr_base: u64
    host_idtr_base: u64
    host_ia32_sysenter_esp: u64
    host_ia32_sysenter_eip: u64
    host_rsp: u64
    host_rip: u64
    pin_based_vm_exec_control: u32
    cpu_based_vm_exec_control: u32
    exception_bitmap: u32
    page_fault_error_code_mask: u32
    page_fault_error_code_match: u32
    cr3_target_count: u32
    vm_exit_controls: u32
    vm_exit_msr_store_count: u32
    vm_exit_msr_load_count: u32
    vm_entry_controls: u32
    vm_entry_msr_load_count: u32
    vm_entry_intr_info_field: u32
    vm_entry_exception_error_code: u32
    vm_entry_instruction_len: u32
    tpr_threshold: u32
    secondary_vm_exec_control: u32
    vm_instruction_error: u32
    vm_exit_reason: u32
    vm_exit_intr_info: u32
    vm_exit_intr_error_code: u32
    idt_vectoring_info_field: u32
    idt_vectoring_error_code: u32
    vm_exit_instruction_len: u32
    vmx_instruction_info: u32
    guest_es_limit: u32
    guest_cs_limit: u32
    guest_ss_limit: u32
    guest_ds_limit: u32
    guest_fs_limit: u32
    guest_gs_limit: u32
    guest_ldtr_limit: u32
    guest_tr_limit: u32
    guest_gdtr_limit: u32
    guest_idtr_limit: u32
    guest_es_ar_bytes: u32
    guest_cs_ar_bytes: u32
    guest_ss_ar_bytes: u32
    guest_ds_ar_bytes: u32
    guest_fs_ar_bytes: u32
    guest_gs_ar_bytes: u32
    guest_ldtr_ar_bytes: u32
    guest_tr_ar_bytes: u32
    guest_interruptibility_info: u32
    guest_activity_state: u32
    guest_sysenter_cs: u32
    host_ia32_sysenter_cs: u32
    virtual_processor_id: u16
    guest_es_selector: u16
    guest_cs_selector: u16
    guest_ss_selector: u16
    guest_ds_selector: u16
    guest_fs_selector: u16
    guest_gs_selector: u16
    guest_ldtr_selector: u16
    guest_tr_selector: u16
    host_es_selector: u16
    host_cs_selector: u16
    host_ss_selector: u16
    host_ds_selector: u16
    host_fs_selector: u16
    host_gs_selector: u16
    host_tr_selector: u16

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [
        ("revision_id", ctypes.c_uint32),
        ("abort", ctypes.c_uint32),
        ("launch_state", ctypes.c_uint32),
        ("padding", ctypes.c_uint32 * 7),
        ("io_bitmap_a", ctypes.c_uint64),
        ("io_bitmap_b", ctypes.c_uint64),
        ("msr_bitmap", ctypes.c_uint64),
        ("vm_exit_msr_store_addr", ctypes.c_uint64),
        ("vm_exit_msr_load_addr", ctypes.c_uint64),
        ("vm_entry_msr_load_addr", ctypes.c_uint64),
        ("tsc_offset", ctypes.c_uint64),
        ("virtual_apic_page_addr", ctypes.c_uint64),
        ("apic_access_addr", ctypes.c_uint64),
        ("ept_pointer", ctypes.c_uint64),
        ("guest_physical_address", ctypes.c_uint64),
        ("vmcs_link_pointer", ctypes.c_uint64),
        ("guest_ia32_debugctl", ctypes.c_uint64),
        ("guest_ia32_pat", ctypes.c_uint64),
        ("guest_ia32_efer", ctypes.c_uint64),
        ("guest_ia32_perf_global_ctrl", ctypes.c_uint64),
        ("guest_pdptr0", ctypes.c_uint64),
        ("guest_pdptr1", ctypes.c_uint64),
        ("guest_pdptr2", ctypes.c_uint64),
        ("guest_pdptr3", ctypes.c_uint64),
        ("host_ia32_pat", ctypes.c_uint64),
        ("host_ia32_efer", ctypes.c_uint64),
        ("host_ia32_perf_global_ctrl", ctypes.c_uint64),
        ("padding64", ctypes.c_uint64 * 8),
        ("cr0_guest_host_mask", ctypes.c_uint64),
        ("cr4_guest_host_mask", ctypes.c_uint64),
        ("cr0_read_shadow", ctypes.c_uint64),
        ("cr4_read_shadow", ctypes.c_uint64),
        ("cr3_target_value0", ctypes.c_uint64),
        ("cr3_target_value1", ctypes.c_uint64),
        ("cr3_target_value2", ctypes.c_uint64),
        ("cr3_target_value3", ctypes.c_uint64),
        ("exit_qualification", ctypes.c_uint64),
        ("guest_linear_address", ctypes.c_uint64),
        ("guest_cr0", ctypes.c_uint64),
        ("guest_cr3", ctypes.c_uint64),
        ("guest_cr4", ctypes.c_uint64),
        ("guest_es_base", ctypes.c_uint64),
        ("guest_cs_base", ctypes.c_uint64),
        ("guest_ss_base", ctypes.c_uint64),
        ("guest_ds_base", ctypes.c_uint64),
        ("guest_fs_base", ctypes.c_uint64),
        ("guest_gs_base", ctypes.c_uint64),
        ("guest_ldtr_base", ctypes.c_uint64),
        ("guest_tr_base", ctypes.c_uint64),
        ("guest_gdtr_base", ctypes.c_uint64),
        ("guest_idtr_base", ctypes.c_uint64),
        ("guest_dr7", ctypes.c_uint64),
        ("guest_rsp", ctypes.c_uint64),
        ("guest_rip", ctypes.c_uint64),
        ("guest_rflags", ctypes.c_uint64),
        ("guest_pending_dbg_exceptions", ctypes.c_uint64),
        ("guest_sysenter_esp", ctypes.c_uint64),
        ("guest_sysenter_eip", ctypes.c_uint64),
        ("host_cr0", ctypes.c_uint64),
        ("host_cr3", ctypes.c_uint64),
        ("host_cr4", ctypes.c_uint64),
        ("host_fs_base", ctypes.c_uint64),
        ("host_gs_base", ctypes.c_uint64),
        ("host_tr_base", ctypes.c_uint64),
        ("host_gdtr_base", ctypes.c_uint64),
        ("host_idtr_base", ctypes.c_uint64),
        ("host_ia32_sysenter_esp", ctypes.c_uint64),
        ("host_ia32_sysenter_eip", ctypes.c_uint64),
        ("host_rsp", ctypes.c_uint64),
        ("host_rip", ctypes.c_uint64),
        ("paddingl", ctypes.c_uint64 * 8),
        ("pin_based_vm_exec_control", ctypes.c_uint32),
        ("cpu_based_vm_exec_control", ctypes.c_uint32),
        ("exception_bitmap", ctypes.c_uint32),
        ("page_fault_error_code_mask", ctypes.c_uint32),
        ("page_fault_error_code_match", ctypes.c_uint32),
        ("cr3_target_count", ctypes.c_uint32),
        ("vm_exit_controls", ctypes.c_uint32),
        ("vm_exit_msr_store_count", ctypes.c_uint32),
        ("vm_exit_msr_load_count", ctypes.c_uint32),
        ("vm_entry_controls", ctypes.c_uint32),
        ("vm_entry_msr_load_count", ctypes.c_uint32),
        ("vm_entry_intr_info_field", ctypes.c_uint32),
        ("vm_entry_exception_error_code", ctypes.c_uint32),
        ("vm_entry_instruction_len", ctypes.c_uint32),
        ("tpr_threshold", ctypes.c_uint32),
        ("secondary_vm_exec_control", ctypes.c_uint32),
        ("vm_instruction_error", ctypes.c_uint32),
        ("vm_exit_reason", ctypes.c_uint32),
        ("vm_exit_intr_info", ctypes.c_uint32),
        ("vm_exit_intr_error_code", ctypes.c_uint32),
        ("idt_vectoring_info_field", ctypes.c_uint32),
        ("idt_vectoring_error_code", ctypes.c_uint32),
        ("vm_exit_instruction_len", ctypes.c_uint32),
        ("vmx_instruction_info", ctypes.c_uint32),
        ("guest_es_limit", ctypes.c_uint32),
        ("guest_cs_limit", ctypes.c_uint32),
        ("guest_ss_limit", ctypes.c_uint32),
        ("guest_ds_limit", ctypes.c_uint32),
        ("guest_fs_limit", ctypes.c_uint32),
        ("guest_gs_limit", ctypes.c_uint32),
        ("guest_ldtr_limit", ctypes.c_uint32),
        ("guest_tr_limit", ctypes.c_uint32),
        ("guest_gdtr_limit", ctypes.c_uint32),
        ("guest_idtr_limit", ctypes.c_uint32),
        ("guest_es_ar_bytes", ctypes.c_uint32),
        ("guest_cs_ar_bytes", ctypes.c_uint32),
        ("guest_ss_ar_bytes", ctypes.c_uint32),
        ("guest_ds_ar_bytes", ctypes.c_uint32),
        ("guest_fs_ar_bytes", ctypes.c_uint32),
        ("guest_gs_ar_bytes", ctypes.c_uint32),
        ("guest_ldtr_ar_bytes", ctypes.c_uint32),
        ("guest_tr_ar_bytes", ctypes.c_uint32),
        ("guest_interruptibility_info", ctypes.c_uint32),
        ("guest_activity_state", ctypes.c_uint32),
        ("guest_sysenter_cs", ctypes.c_uint32),
        ("host_ia32_sysenter_cs", ctypes.c_uint32),
        ("padding32", ctypes.c_uint32 * 8),
        ("virtual_processor_id", ctypes.c_uint16),
        ("guest_es_selector", ctypes.c_uint16),
        ("guest_cs_selector", ctypes.c_uint16),
        ("guest_ss_selector", ctypes.c_uint16),
        ("guest_ds_selector", ctypes.c_uint16),
        ("guest_fs_selector", ctypes.c_uint16),
        ("guest_gs_selector", ctypes.c_uint16),
        ("guest_ldtr_selector", ctypes.c_uint16),
        ("guest_tr_selector", ctypes.c_uint16),
        ("host_es_selector", ctypes.c_uint16),
        ("host_cs_selector", ctypes.c_uint16),
        ("host_ss_selector", ctypes.c_uint16),
        ("host_ds_selector", ctypes.c_uint16),
        ("host_fs_selector", ctypes.c_uint16),
        ("host_gs_selector", ctypes.c_uint16),
        ("host_tr_selector", ctypes.c_uint16),
    ]


VMCS12_MEMBERS: Final[dict[str, int]] = {
    name: getattr(struct_vmcs12, name).size for name in struct_vmcs12.__annotations__
}
"""Size in bytes of every member but the padding, by name, in the order of the struct."""

_FIELDS: Final = (
    (VIRTUAL_PROCESSOR_ID, "virtual_processor_id"),
    (GUEST_ES_SELECTOR, "guest_es_selector"),
    (GUEST_CS_SELECTOR, "guest_cs_selector"),
    (GUEST_SS_SELECTOR, "guest_ss_selector"),
    (GUEST_DS_SELECTOR, "guest_ds_selector"),
    (GUEST_FS_SELECTOR, "guest_fs_selector"),
    (GUEST_GS_SELECTOR, "guest_gs_selector"),
    (GUEST_LDTR_SELECTOR, "guest_ldtr_selector"),
    (GUEST_TR_SELECTOR, "guest_tr_selector"),
    (HOST_ES_SELECTOR, "host_es_selector"),
    (HOST_CS_SELECTOR, "host_cs_selector"),
    (HOST_SS_SELECTOR, "host_ss_selector"),
    (HOST_DS_SELECTOR, "host_ds_selector"),
    (HOST_FS_SELECTOR, "host_fs_selector"),
    (HOST_GS_SELECTOR, "host_gs_selector"),
    (HOST_TR_SELECTOR, "host_tr_selector"),
    (IO_BITMAP_A, "io_bitmap_a"),
    (IO_BITMAP_B, "io_bitmap_b"),
    (MSR_BITMAP, "msr_bitmap"),
    (VM_EXIT_MSR_STORE_ADDR, "vm_exit_msr_store_addr"),
    (VM_EXIT_MSR_LOAD_ADDR, "vm_exit_msr_load_addr"),
    (VM_ENTRY_MSR_LOAD_ADDR, "vm_entry_msr_load_addr"),
    (TSC_OFFSET, "tsc_offset"),
    (VIRTUAL_APIC_PAGE_ADDR, "virtual_apic_page_addr"),
    (APIC_ACCESS_ADDR, "apic_access_addr"),
    (EPT_POINTER, "ept_pointer"),
    (GUEST_PHYSICAL_ADDRESS, "guest_physical_address"),
    (VMCS_LINK_POINTER, "vmcs_link_pointer"),
    (GUEST_IA32_DEBUGCTL, "guest_ia32_debugctl"),
    (GUEST_IA32_PAT, "guest_ia32_pat"),
    (GUEST_IA32_EFER, "guest_ia32_efer"),
    (GUEST_IA32_PERF_GLOBAL_CTRL, "guest_ia32_perf_global_ctrl"),
    (GUEST_PDPTR0, "guest_pdptr0"),
    (GUEST_PDPTR1, "guest_pdptr1"),
    (GUEST_PDPTR2, "guest_pdptr2"),
    (GUEST_PDPTR3, "guest_pdptr3"),
    (HOST_IA32_PAT, "host_ia32_pat"),
    (HOST_IA32_EFER, "host_ia32_efer"),
    (HOST_IA32_PERF_GLOBAL_CTRL, "host_ia32_perf_global_ctrl"),
    (PIN_BASED_VM_EXEC_CONTROL, "pin_based_vm_exec_control"),
    (CPU_BASED_VM_EXEC_CONTROL, "cpu_based_vm_exec_control"),
    (EXCEPTION_BITMAP, "exception_bitmap"),
    (PAGE_FAULT_ERROR_CODE_MASK, "page_fault_error_code_mask"),
    (PAGE_FAULT_ERROR_CODE_MATCH, "page_fault_error_code_match"),
    (CR3_TARGET_COUNT, "cr3_target_count"),
    (VM_EXIT_CONTROLS, "vm_exit_controls"),
    (VM_EXIT_MSR_STORE_COUNT, "vm_exit_msr_store_count"),
    (VM_EXIT_MSR_LOAD_COUNT, "vm_exit_msr_load_count"),
    (VM_ENTRY_CONTROLS, "vm_entry_controls"),
    (VM_ENTRY_MSR_LOAD_COUNT, "vm_entry_msr_load_count"),
    (VM_ENTRY_INTR_INFO_FIELD, "vm_entry_intr_info_field"),
    (VM_ENTRY_EXCEPTION_ERROR_CODE, "vm_entry_exception_error_code"),
    (VM_ENTRY_INSTRUCTION_LEN, "vm_entry_instruction_len"),
    (TPR_THRESHOLD, "tpr_threshold"),
    (SECONDARY_VM_EXEC_CONTROL, "secondary_vm_exec_control"),
    (VM_INSTRUCTION_ERROR, "vm_instruction_error"),
    (VM_EXIT_REASON, "vm_exit_reason"),
    (VM_EXIT_INTR_INFO, "vm_exit_intr_info"),
    (VM_EXIT_INTR_ERROR_CODE, "vm_exit_intr_error_code"),
    (IDT_VECTORING_INFO_FIELD, "idt_vectoring_info_field"),
    (IDT_VECTORING_ERROR_CODE, "idt_vectoring_error_code"),
    (VM_EXIT_INSTRUCTION_LEN, "vm_exit_instruction_len"),
    (VMX_INSTRUCTION_INFO, "vmx_instruction_info"),
    (GUEST_ES_LIMIT, "guest_es_limit"),
    (GUEST_CS_LIMIT, "guest_cs_limit"),
    (GUEST_SS_LIMIT, "guest_ss_limit"),
    (GUEST_DS_LIMIT, "guest_ds_limit"),
    (GUEST_FS_LIMIT, "guest_fs_limit"),
    (GUEST_GS_LIMIT, "guest_gs_limit"),
    (GUEST_LDTR_LIMIT, "guest_ldtr_limit"),
    (GUEST_TR_LIMIT, "guest_tr_limit"),
    (GUEST_GDTR_LIMIT, "guest_gdtr_limit"),
    (GUEST_IDTR_LIMIT, "guest_idtr_limit"),
    (GUEST_ES_AR_BYTES, "guest_es_ar_bytes"),
    (GUEST_CS_AR_BYTES, "guest_cs_ar_bytes"),
    (GUEST_SS_AR_BYTES, "guest_ss_ar_bytes"),
    (GUEST_DS_AR_BYTES, "guest_ds_ar_bytes"),
    (GUEST_FS_AR_BYTES, "guest_fs_ar_bytes"),
    (GUEST_GS_AR_BYTES, "guest_gs_ar_bytes"),
    (GUEST_LDTR_AR_BYTES, "guest_ldtr_ar_bytes"),
    (GUEST_TR_AR_BYTES, "guest_tr_ar_bytes"),
    (GUEST_INTERRUPTIBILITY_INFO, "guest_interruptibility_info"),
    (GUEST_ACTIVITY_STATE, "guest_activity_state"),
    (GUEST_SYSENTER_CS, "guest_sysenter_cs"),
    (HOST_IA32_SYSENTER_CS, "host_ia32_sysenter_cs"),
    (CR0_GUEST_HOST_MASK, "cr0_guest_host_mask"),
    (CR4_GUEST_HOST_MASK, "cr4_guest_host_mask"),
    (CR0_READ_SHADOW, "cr0_read_shadow"),
    (CR4_READ_SHADOW, "cr4_read_shadow"),
    (CR3_TARGET_VALUE0, "cr3_target_value0"),
    (CR3_TARGET_VALUE1, "cr3_target_value1"),
    (CR3_TARGET_VALUE2, "cr3_target_value2"),
    (CR3_TARGET_VALUE3, "cr3_target_value3"),
    (EXIT_QUALIFICATION, "exit_qualification"),
    (GUEST_LINEAR_ADDRESS, "guest_linear_address"),
    (GUEST_CR0, "guest_cr0"),
    (GUEST_CR3, "guest_cr3"),
    (GUEST_CR4, "guest_cr4"),
    (GUEST_ES_BASE, "guest_es_base"),
    (GUEST_CS_BASE, "guest_cs_base"),
    (GUEST_SS_BASE, "guest_ss_base"),
    (GUEST_DS_BASE, "guest_ds_base"),
    (GUEST_FS_BASE, "guest_fs_base"),
    (GUEST_GS_BASE, "guest_gs_base"),
    (GUEST_LDTR_BASE, "guest_ldtr_base"),
    (GUEST_TR_BASE, "guest_tr_base"),
    (GUEST_GDTR_BASE, "guest_gdtr_base"),
    (GUEST_IDTR_BASE, "guest_idtr_base"),
    (GUEST_DR7, "guest_dr7"),
    (GUEST_RSP, "guest_rsp"),
    (GUEST_RIP, "guest_rip"),
    (GUEST_RFLAGS, "guest_rflags"),
    (GUEST_PENDING_DBG_EXCEPTIONS, "guest_pending_dbg_exceptions"),
    (GUEST_SYSENTER_ESP, "guest_sysenter_esp"),
    (GUEST_SYSENTER_EIP, "guest_sysenter_eip"),
    (HOST_CR0, "host_cr0"),
    (HOST_CR3, "host_cr3"),
    (HOST_CR4, "host_cr4"),
    (HOST_FS_BASE, "host_fs_base"),
    (HOST_GS_BASE, "host_gs_base"),
    (HOST_TR_BASE, "host_tr_base"),
    (HOST_GDTR_BASE, "host_gdtr_base"),
    (HOST_IDTR_BASE, "host_idtr_base"),
    (HOST_IA32_SYSENTER_ESP, "host_ia32_sysenter_esp"),
    (HOST_IA32_SYSENTER_EIP, "host_ia32_sysenter_eip"),
    (HOST_RSP, "host_rsp"),
    (HOST_RIP, "host_rip"),
)


def _offset_table() -> dict[u32, u16]:
    """Return the offset of every supported field, "high" encodings included, by encoding."""
    table: dict[u32, u16] = {}
    for encoding, member in _FIELDS:
        offset = getattr(struct_vmcs12, member).offset
        table[encoding] = offset
        if (encoding >> 13) & 3 == 1:
            table[encoding + 1] = offset + 4
    return table


vmcs_field_to_offset_table: Final = _offset_table()
"""Where each VMCS field is in the struct, by encoding; 64-bit fields under both encodings."""


def vmcs_field_to_offset(field: u64) -> int:
    """Return the offset of the VMCS field with the encoding *field*, or -1 if there is none.

    Source: arch/x86/kvm/vmx.c:574-579
    """
    return vmcs_field_to_offset_table.get(field, -1)
