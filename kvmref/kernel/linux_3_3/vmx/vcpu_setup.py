# SPDX-License-Identifier: GPL-2.0-only
"""Setting up and resetting a virtual CPU (vmx.c:1724-1727, 3512-3528, 3730-3941, 6425-6445)."""

from __future__ import annotations

from typing import Final

from kvmref.integers import U32, U64
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    GUEST_ACTIVITY_ACTIVE,
    SECONDARY_EXEC_RDTSCP,
    VM_ENTRY_LOAD_IA32_PAT,
)
from kvmref.kernel.linux_3_3.include.kvm_host import (
    VCPU_REGS_RDX,
    VCPU_REGS_RIP,
    VCPU_REGS_RSP,
    VCPU_SREG_CS,
    VCPU_SREG_DS,
    VCPU_SREG_ES,
    VCPU_SREG_FS,
    VCPU_SREG_GS,
    VCPU_SREG_SS,
    kvm_vcpu,
    kvm_vcpu_is_bsp,
)
from kvmref.kernel.linux_3_3.include.msr_index import (
    MSR_FS_BASE,
    MSR_GS_BASE,
    MSR_IA32_APICBASE_BSP,
    MSR_IA32_APICBASE_ENABLE,
    MSR_IA32_CR_PAT,
)
from kvmref.kernel.linux_3_3.include.processor_flags import X86_CR0_CD, X86_CR0_ET, X86_CR0_NW
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_read_cr0, kvm_register_write, kvm_rip_write
from kvmref.kernel.linux_3_3.outside.cpuid import X86_FEATURE_RDTSCP, kvm_find_cpuid_entry
from kvmref.kernel.linux_3_3.outside.fpu import fx_init
from kvmref.kernel.linux_3_3.outside.host import (
    APIC_REGS_PA,
    IO_BITMAP_A_PA,
    IO_BITMAP_B_PA,
    MSR_AUTOLOAD_GUEST_PA,
    MSR_AUTOLOAD_HOST_PA,
    MSR_BITMAP_LEGACY_PA,
    rdmsr_safe,
    srcu_read_lock,
    srcu_read_unlock,
    wrmsr_safe,
)
from kvmref.kernel.linux_3_3.outside.irqchip import kvm_set_apic_base
from kvmref.kernel.linux_3_3.outside.time import kvm_write_tsc
from kvmref.kernel.linux_3_3.vmx.capabilities import (
    cpu_has_secondary_exec_ctrls,
    cpu_has_vmx_msr_bitmap,
    cpu_has_vmx_rdtscp,
    cpu_has_vmx_tpr_shadow,
    vm_need_tpr_shadow,
    vm_need_virtualize_apic_accesses,
)
from kvmref.kernel.linux_3_3.vmx.control_registers import vmx_set_cr0, vmx_set_cr4, vmx_set_efer
from kvmref.kernel.linux_3_3.vmx.exception_bitmap import update_exception_bitmap
from kvmref.kernel.linux_3_3.vmx.exec_controls import (
    set_cr4_guest_host_mask,
    vmx_exec_control,
    vmx_secondary_exec_control,
)
from kvmref.kernel.linux_3_3.vmx.fpu import vmx_fpu_activate
from kvmref.kernel.linux_3_3.vmx.host_state import vmx_set_constant_host_state
from kvmref.kernel.linux_3_3.vmx.module import kvm_intel, vmx_msr_index
from kvmref.kernel.linux_3_3.vmx.msr_switch import setup_msrs
from kvmref.kernel.linux_3_3.vmx.segment_cache import (
    kvm_vmx_segment_fields,
    vmx_segment_cache_clear,
)
from kvmref.kernel.linux_3_3.vmx.structs import shared_msr_entry, to_vmx, vcpu_vmx
from kvmref.kernel.linux_3_3.vmx.tlb import vpid_sync_context
from kvmref.kernel.linux_3_3.vmx.vmcs_access import (
    vmcs_read32,
    vmcs_write16,
    vmcs_write32,
    vmcs_write64,
    vmcs_writel,
)
from kvmref.kernel.linux_3_3.x86.control_registers import kvm_set_cr8
from kvmref.kernel.linux_3_3.x86_h import bit
from kvmref.processor.vmcs_fields import (
    APIC_ACCESS_ADDR,
    CPU_BASED_VM_EXEC_CONTROL,
    CR0_GUEST_HOST_MASK,
    CR3_TARGET_COUNT,
    GUEST_ACTIVITY_STATE,
    GUEST_CS_BASE,
    GUEST_CS_SELECTOR,
    GUEST_DR7,
    GUEST_GDTR_BASE,
    GUEST_GDTR_LIMIT,
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
    GUEST_SYSENTER_CS,
    GUEST_SYSENTER_EIP,
    GUEST_SYSENTER_ESP,
    GUEST_TR_AR_BYTES,
    GUEST_TR_BASE,
    GUEST_TR_LIMIT,
    GUEST_TR_SELECTOR,
    HOST_FS_BASE,
    HOST_FS_SELECTOR,
    HOST_GS_BASE,
    HOST_GS_SELECTOR,
    IO_BITMAP_A,
    IO_BITMAP_B,
    MSR_BITMAP,
    PAGE_FAULT_ERROR_CODE_MASK,
    PAGE_FAULT_ERROR_CODE_MATCH,
    PIN_BASED_VM_EXEC_CONTROL,
    PLE_GAP,
    PLE_WINDOW,
    SECONDARY_VM_EXEC_CONTROL,
    TPR_THRESHOLD,
    VIRTUAL_APIC_PAGE_ADDR,
    VIRTUAL_PROCESSOR_ID,
    VM_ENTRY_CONTROLS,
    VM_ENTRY_INTR_INFO_FIELD,
    VM_ENTRY_MSR_LOAD_ADDR,
    VM_ENTRY_MSR_LOAD_COUNT,
    VM_EXIT_CONTROLS,
    VM_EXIT_MSR_LOAD_ADDR,
    VM_EXIT_MSR_LOAD_COUNT,
    VM_EXIT_MSR_STORE_COUNT,
    VMCS_LINK_POINTER,
)

RDX_INIT_VALUE: Final = 0x600
"""RDX after a reset: family, model and stepping of a processor."""


def vmx_rdtscp_supported(module: kvm_intel) -> bool:
    """Tell whether guests can have RDTSCP.

    Source: arch/x86/kvm/vmx.c:1724-1727
    """
    return cpu_has_vmx_rdtscp(module)


def seg_setup(vcpu: kvm_vcpu, seg: int) -> None:
    """Set the segment register *seg* as after a reset.

    Source: arch/x86/kvm/vmx.c:3512-3528
    """
    sf = kvm_vmx_segment_fields[seg]

    vmcs_write16(vcpu, sf.selector, 0)
    vmcs_writel(vcpu, sf.base, 0)
    vmcs_write32(vcpu, sf.limit, 0xFFFF)
    if to_vmx(vcpu).module.enable_unrestricted_guest:
        ar = 0x93
        if seg == VCPU_SREG_CS:
            ar |= 0x08
    else:
        ar = 0xF3

    vmcs_write32(vcpu, sf.ar_bytes, ar)


def vmx_vcpu_setup(vmx: vcpu_vmx) -> int:
    """Set up the VMCS of a new virtual CPU.

    Source: arch/x86/kvm/vmx.c:3730-3822
    """
    module = vmx.module
    processor = vmx.processor

    vmcs_write64(vmx, IO_BITMAP_A, IO_BITMAP_A_PA)
    vmcs_write64(vmx, IO_BITMAP_B, IO_BITMAP_B_PA)

    if cpu_has_vmx_msr_bitmap(module):
        vmcs_write64(vmx, MSR_BITMAP, MSR_BITMAP_LEGACY_PA)

    vmcs_write64(vmx, VMCS_LINK_POINTER, U64)

    vmcs_write32(vmx, PIN_BASED_VM_EXEC_CONTROL, module.vmcs_config.pin_based_exec_ctrl)

    vmcs_write32(vmx, CPU_BASED_VM_EXEC_CONTROL, vmx_exec_control(vmx))

    if cpu_has_secondary_exec_ctrls(module):
        vmcs_write32(vmx, SECONDARY_VM_EXEC_CONTROL, vmx_secondary_exec_control(vmx))

    if module.ple_gap:
        vmcs_write32(vmx, PLE_GAP, module.ple_gap)
        vmcs_write32(vmx, PLE_WINDOW, module.ple_window)

    vmcs_write32(vmx, PAGE_FAULT_ERROR_CODE_MASK, 0)
    vmcs_write32(vmx, PAGE_FAULT_ERROR_CODE_MATCH, 0)
    vmcs_write32(vmx, CR3_TARGET_COUNT, 0)

    vmcs_write16(vmx, HOST_FS_SELECTOR, 0)
    vmcs_write16(vmx, HOST_GS_SELECTOR, 0)
    vmx_set_constant_host_state(vmx)
    vmcs_writel(vmx, HOST_FS_BASE, processor.rdmsr(MSR_FS_BASE))
    vmcs_writel(vmx, HOST_GS_BASE, processor.rdmsr(MSR_GS_BASE))

    vmcs_write32(vmx, VM_EXIT_MSR_STORE_COUNT, 0)
    vmcs_write32(vmx, VM_EXIT_MSR_LOAD_COUNT, 0)
    vmcs_write64(vmx, VM_EXIT_MSR_LOAD_ADDR, MSR_AUTOLOAD_HOST_PA)
    vmcs_write32(vmx, VM_ENTRY_MSR_LOAD_COUNT, 0)
    vmcs_write64(vmx, VM_ENTRY_MSR_LOAD_ADDR, MSR_AUTOLOAD_GUEST_PA)

    if module.vmcs_config.vmentry_ctrl & VM_ENTRY_LOAD_IA32_PAT:
        host_pat = processor.rdmsr(MSR_IA32_CR_PAT)
        vmcs_write64(vmx, GUEST_IA32_PAT, host_pat)
        vmx.arch.pat = host_pat & U32

    for i in range(len(vmx_msr_index)):
        index = vmx_msr_index[i]

        err, data_low, data_high = rdmsr_safe(processor, index)
        if err < 0:
            continue
        if wrmsr_safe(index, data_low, data_high) < 0:
            continue
        vmx.guest_msrs.append(shared_msr_entry(index=i, data=0, mask=U64))
        vmx.nmsrs += 1

    vmcs_write32(vmx, VM_EXIT_CONTROLS, module.vmcs_config.vmexit_ctrl)

    vmcs_write32(vmx, VM_ENTRY_CONTROLS, module.vmcs_config.vmentry_ctrl)

    vmcs_writel(vmx, CR0_GUEST_HOST_MASK, U64)
    set_cr4_guest_host_mask(vmx)

    kvm_write_tsc(vmx, 0)

    return 0


def vmx_vcpu_reset(vcpu: kvm_vcpu) -> int:
    """Put a virtual CPU into the state after a reset; 0, or an error if it lacks memory.

    Source: arch/x86/kvm/vmx.c:3824-3941
    """
    vmx = to_vmx(vcpu)
    module = vmx.module

    vcpu.arch.regs_avail = ~((1 << VCPU_REGS_RIP) | (1 << VCPU_REGS_RSP)) & U32

    vmx.rmode.vm86_active = 0

    vmx.soft_vnmi_blocked = 0

    vmx.arch.regs[VCPU_REGS_RDX] = RDX_INIT_VALUE
    kvm_set_cr8(vmx, 0)
    msr = 0xFEE00000 | MSR_IA32_APICBASE_ENABLE
    if kvm_vcpu_is_bsp(vmx):
        msr |= MSR_IA32_APICBASE_BSP
    kvm_set_apic_base(vmx, msr)

    ret = fx_init(vmx)
    if ret != 0:
        return ret

    vmx_segment_cache_clear(vmx)

    seg_setup(vcpu, VCPU_SREG_CS)
    # The base should be 0xFFFF0000, which virtual-8086 mode does not allow.
    if kvm_vcpu_is_bsp(vmx):
        vmcs_write16(vcpu, GUEST_CS_SELECTOR, 0xF000)
        vmcs_writel(vcpu, GUEST_CS_BASE, 0x000F0000)
    else:
        vmcs_write16(vcpu, GUEST_CS_SELECTOR, (vmx.arch.sipi_vector << 8) & U64)
        vmcs_writel(vcpu, GUEST_CS_BASE, (vmx.arch.sipi_vector << 12) & U64)

    seg_setup(vcpu, VCPU_SREG_DS)
    seg_setup(vcpu, VCPU_SREG_ES)
    seg_setup(vcpu, VCPU_SREG_FS)
    seg_setup(vcpu, VCPU_SREG_GS)
    seg_setup(vcpu, VCPU_SREG_SS)

    vmcs_write16(vcpu, GUEST_TR_SELECTOR, 0)
    vmcs_writel(vcpu, GUEST_TR_BASE, 0)
    vmcs_write32(vcpu, GUEST_TR_LIMIT, 0xFFFF)
    vmcs_write32(vcpu, GUEST_TR_AR_BYTES, 0x008B)

    vmcs_write16(vcpu, GUEST_LDTR_SELECTOR, 0)
    vmcs_writel(vcpu, GUEST_LDTR_BASE, 0)
    vmcs_write32(vcpu, GUEST_LDTR_LIMIT, 0xFFFF)
    vmcs_write32(vcpu, GUEST_LDTR_AR_BYTES, 0x00082)

    vmcs_write32(vcpu, GUEST_SYSENTER_CS, 0)
    vmcs_writel(vcpu, GUEST_SYSENTER_ESP, 0)
    vmcs_writel(vcpu, GUEST_SYSENTER_EIP, 0)

    vmcs_writel(vcpu, GUEST_RFLAGS, 0x02)
    if kvm_vcpu_is_bsp(vmx):
        kvm_rip_write(vcpu, 0xFFF0)
    else:
        kvm_rip_write(vcpu, 0)
    kvm_register_write(vcpu, VCPU_REGS_RSP, 0)

    vmcs_writel(vcpu, GUEST_DR7, 0x400)

    vmcs_writel(vcpu, GUEST_GDTR_BASE, 0)
    vmcs_write32(vcpu, GUEST_GDTR_LIMIT, 0xFFFF)

    vmcs_writel(vcpu, GUEST_IDTR_BASE, 0)
    vmcs_write32(vcpu, GUEST_IDTR_LIMIT, 0xFFFF)

    vmcs_write32(vcpu, GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE)
    vmcs_write32(vcpu, GUEST_INTERRUPTIBILITY_INFO, 0)
    vmcs_write32(vcpu, GUEST_PENDING_DBG_EXCEPTIONS, 0)

    vmcs_write64(vcpu, GUEST_IA32_DEBUGCTL, 0)

    setup_msrs(vmx)

    vmcs_write32(vcpu, VM_ENTRY_INTR_INFO_FIELD, 0)

    if cpu_has_vmx_tpr_shadow(module):
        vmcs_write64(vcpu, VIRTUAL_APIC_PAGE_ADDR, 0)
        if vm_need_tpr_shadow(module, vcpu.kvm):
            vmcs_write64(vcpu, VIRTUAL_APIC_PAGE_ADDR, APIC_REGS_PA)
        vmcs_write32(vcpu, TPR_THRESHOLD, 0)

    if vm_need_virtualize_apic_accesses(module, vcpu.kvm):
        vmcs_write64(vcpu, APIC_ACCESS_ADDR, vcpu.kvm.apic_access_page_addr)

    if vmx.vpid != 0:
        vmcs_write16(vcpu, VIRTUAL_PROCESSOR_ID, vmx.vpid)

    vcpu.arch.cr0 = X86_CR0_NW | X86_CR0_CD | X86_CR0_ET
    srcu_read_lock(vcpu.env)
    vmx_set_cr0(vcpu, kvm_read_cr0(vcpu))
    srcu_read_unlock(vcpu.env)
    vmx_set_cr4(vcpu, 0)
    vmx_set_efer(vcpu, 0)
    vmx_fpu_activate(vcpu)
    update_exception_bitmap(vcpu)

    vpid_sync_context(vmx)

    # Entering real mode has set it, but a guest that boots is not emulated.
    vmx.emulation_required = False

    return 0


def vmx_cpuid_update(vcpu: kvm_vcpu) -> None:
    """Follow a change of the guest's CPUID: RDTSCP.

    Source: arch/x86/kvm/vmx.c:6425-6445
    """
    vmx = to_vmx(vcpu)

    vmx.rdtscp_enabled = False
    if vmx_rdtscp_supported(vmx.module):
        exec_control = vmcs_read32(vcpu, SECONDARY_VM_EXEC_CONTROL)
        if exec_control & SECONDARY_EXEC_RDTSCP:
            best = kvm_find_cpuid_entry(vcpu, 0x80000001, 0)
            if best is not None and best.edx & bit(X86_FEATURE_RDTSCP):
                vmx.rdtscp_enabled = True
            else:
                exec_control &= ~SECONDARY_EXEC_RDTSCP
                vmcs_write32(vcpu, SECONDARY_VM_EXEC_CONTROL, exec_control)
