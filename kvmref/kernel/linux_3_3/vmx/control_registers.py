# SPDX-License-Identifier: GPL-2.0-only
"""EFER, CR0, CR3 and CR4 of the guest, and the PDPTEs (vmx.c:2819-2941, 2941-3067)."""

from __future__ import annotations

from kvmref.integers import U32, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    AR_TYPE_BUSY_64_TSS,
    AR_TYPE_MASK,
    CPU_BASED_CR3_LOAD_EXITING,
    CPU_BASED_CR3_STORE_EXITING,
    VM_ENTRY_IA32E_MODE,
)
from kvmref.kernel.linux_3_3.include.kvm_host import (
    VCPU_EXREG_CPL,
    VCPU_EXREG_CR3,
    VCPU_EXREG_PDPTR,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.msr_index import EFER_LMA, EFER_LME, MSR_EFER
from kvmref.kernel.linux_3_3.include.processor_flags import (
    X86_CR0_MP,
    X86_CR0_PE,
    X86_CR0_PG,
    X86_CR0_TS,
    X86_CR0_WP,
    X86_CR4_PAE,
    X86_CR4_PSE,
    X86_CR4_VMXE,
)
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_read_cr3, kvm_read_cr4
from kvmref.kernel.linux_3_3.vmx.host_state import vmx_load_host_state
from kvmref.kernel.linux_3_3.vmx.module import (
    KVM_GUEST_CR0_MASK,
    KVM_GUEST_CR0_MASK_UNRESTRICTED_GUEST,
    KVM_PMODE_VM_CR4_ALWAYS_ON,
    KVM_RMODE_VM_CR4_ALWAYS_ON,
    KVM_VM_CR0_ALWAYS_ON,
    KVM_VM_CR0_ALWAYS_ON_UNRESTRICTED_GUEST,
)
from kvmref.kernel.linux_3_3.vmx.msr_switch import find_msr_entry, setup_msrs
from kvmref.kernel.linux_3_3.vmx.nested_controls import nested_vmx_allowed
from kvmref.kernel.linux_3_3.vmx.real_mode import enter_pmode, enter_rmode
from kvmref.kernel.linux_3_3.vmx.segment_cache import vmx_segment_cache_clear
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.tlb import construct_eptp, vmx_flush_tlb
from kvmref.kernel.linux_3_3.vmx.vmcs_access import (
    vmcs_read32,
    vmcs_read64,
    vmcs_readl,
    vmcs_write32,
    vmcs_write64,
    vmcs_writel,
)
from kvmref.kernel.linux_3_3.x86_h import is_long_mode, is_pae, is_paging
from kvmref.processor.vmcs_fields import (
    CPU_BASED_VM_EXEC_CONTROL,
    CR0_READ_SHADOW,
    CR4_READ_SHADOW,
    EPT_POINTER,
    GUEST_CR0,
    GUEST_CR3,
    GUEST_CR4,
    GUEST_PDPTR0,
    GUEST_PDPTR1,
    GUEST_PDPTR2,
    GUEST_PDPTR3,
    GUEST_TR_AR_BYTES,
    VM_ENTRY_CONTROLS,
)


def vmx_set_efer(vcpu: kvm_vcpu, efer: u64) -> None:
    """Set EFER; with it go the entry control for IA-32e mode and the MSRs that are switched.

    Source: arch/x86/kvm/vmx.c:2819-2846
    """
    vmx = to_vmx(vcpu)
    msr = find_msr_entry(vmx, MSR_EFER)

    if msr is None:
        return

    # Who owns KERNEL_GS_BASE depends on long mode.
    vmx_load_host_state(vmx)
    vcpu.arch.efer = efer
    if efer & EFER_LMA:
        vmcs_write32(
            vcpu, VM_ENTRY_CONTROLS, vmcs_read32(vcpu, VM_ENTRY_CONTROLS) | VM_ENTRY_IA32E_MODE
        )
        msr.data = efer
    else:
        vmcs_write32(
            vcpu, VM_ENTRY_CONTROLS, vmcs_read32(vcpu, VM_ENTRY_CONTROLS) & ~VM_ENTRY_IA32E_MODE
        )

        msr.data = efer & ~EFER_LME
    setup_msrs(vmx)


def enter_lmode(vcpu: kvm_vcpu) -> None:
    """Enter long mode: paging has been enabled with EFER.LME set.

    Source: arch/x86/kvm/vmx.c:2850-2865
    """
    vmx_segment_cache_clear(to_vmx(vcpu))

    guest_tr_ar = vmcs_read32(vcpu, GUEST_TR_AR_BYTES)
    if (guest_tr_ar & AR_TYPE_MASK) != AR_TYPE_BUSY_64_TSS:
        vmcs_write32(vcpu, GUEST_TR_AR_BYTES, (guest_tr_ar & ~AR_TYPE_MASK) | AR_TYPE_BUSY_64_TSS)
    vmx_set_efer(vcpu, vcpu.arch.efer | EFER_LMA)


def exit_lmode(vcpu: kvm_vcpu) -> None:
    """Leave long mode.

    Source: arch/x86/kvm/vmx.c:2867-2873
    """
    vmcs_write32(
        vcpu, VM_ENTRY_CONTROLS, vmcs_read32(vcpu, VM_ENTRY_CONTROLS) & ~VM_ENTRY_IA32E_MODE
    )
    vmx_set_efer(vcpu, vcpu.arch.efer & ~EFER_LMA)


def vmx_decache_cr0_guest_bits(vcpu: kvm_vcpu) -> None:
    """Bring ``arch.cr0`` up to date with the bits that the guest owns.

    Source: arch/x86/kvm/vmx.c:2887-2893
    """
    cr0_guest_owned_bits = vcpu.arch.cr0_guest_owned_bits

    vcpu.arch.cr0 &= ~cr0_guest_owned_bits
    vcpu.arch.cr0 |= vmcs_readl(vcpu, GUEST_CR0) & cr0_guest_owned_bits


def vmx_decache_cr3(vcpu: kvm_vcpu) -> None:
    """Bring ``arch.cr3`` up to date; only with EPT and paging can the guest have changed it.

    Source: arch/x86/kvm/vmx.c:2895-2900
    """
    if to_vmx(vcpu).module.enable_ept and is_paging(vcpu):
        vcpu.arch.cr3 = vmcs_readl(vcpu, GUEST_CR3)
    vcpu.arch.regs_avail |= 1 << VCPU_EXREG_CR3


def vmx_decache_cr4_guest_bits(vcpu: kvm_vcpu) -> None:
    """Bring ``arch.cr4`` up to date with the bits that the guest owns.

    Source: arch/x86/kvm/vmx.c:2902-2908
    """
    cr4_guest_owned_bits = vcpu.arch.cr4_guest_owned_bits

    vcpu.arch.cr4 &= ~cr4_guest_owned_bits
    vcpu.arch.cr4 |= vmcs_readl(vcpu, GUEST_CR4) & cr4_guest_owned_bits


def ept_load_pdptrs(vcpu: kvm_vcpu) -> None:
    """Write the PDPTEs to the VMCS, if they have changed and the guest uses PAE paging.

    Source: arch/x86/kvm/vmx.c:2910-2922
    """
    if not vcpu.arch.regs_dirty & (1 << VCPU_EXREG_PDPTR):
        return

    if is_paging(vcpu) and is_pae(vcpu) and not is_long_mode(vcpu):
        vmcs_write64(vcpu, GUEST_PDPTR0, vcpu.arch.mmu.pdptrs[0])
        vmcs_write64(vcpu, GUEST_PDPTR1, vcpu.arch.mmu.pdptrs[1])
        vmcs_write64(vcpu, GUEST_PDPTR2, vcpu.arch.mmu.pdptrs[2])
        vmcs_write64(vcpu, GUEST_PDPTR3, vcpu.arch.mmu.pdptrs[3])


def ept_save_pdptrs(vcpu: kvm_vcpu) -> None:
    """Read the PDPTEs from the VMCS, if the guest uses PAE paging.

    Source: arch/x86/kvm/vmx.c:2924-2937
    """
    if is_paging(vcpu) and is_pae(vcpu) and not is_long_mode(vcpu):
        vcpu.arch.mmu.pdptrs[0] = vmcs_read64(vcpu, GUEST_PDPTR0)
        vcpu.arch.mmu.pdptrs[1] = vmcs_read64(vcpu, GUEST_PDPTR1)
        vcpu.arch.mmu.pdptrs[2] = vmcs_read64(vcpu, GUEST_PDPTR2)
        vcpu.arch.mmu.pdptrs[3] = vmcs_read64(vcpu, GUEST_PDPTR3)

    vcpu.arch.regs_avail |= 1 << VCPU_EXREG_PDPTR
    vcpu.arch.regs_dirty |= 1 << VCPU_EXREG_PDPTR


def ept_update_paging_mode_cr0(vcpu: kvm_vcpu, hw_cr0: u64, cr0: u64) -> u64:
    """With EPT, follow CR0 into or out of paging; return *hw_cr0* without WP if *cr0* lacks it.

    Without paging the guest runs on the identity page table, so CR3 accesses have to exit.

    Source: arch/x86/kvm/vmx.c:2941-2967
    """
    if not vcpu.arch.regs_avail & (1 << VCPU_EXREG_CR3):
        vmx_decache_cr3(vcpu)
    if not cr0 & X86_CR0_PG:
        vmcs_write32(
            vcpu,
            CPU_BASED_VM_EXEC_CONTROL,
            vmcs_read32(vcpu, CPU_BASED_VM_EXEC_CONTROL)
            | (CPU_BASED_CR3_LOAD_EXITING | CPU_BASED_CR3_STORE_EXITING),
        )
        vcpu.arch.cr0 = cr0
        vmx_set_cr4(vcpu, kvm_read_cr4(vcpu))
    elif not is_paging(vcpu):
        vmcs_write32(
            vcpu,
            CPU_BASED_VM_EXEC_CONTROL,
            vmcs_read32(vcpu, CPU_BASED_VM_EXEC_CONTROL)
            & ~(CPU_BASED_CR3_LOAD_EXITING | CPU_BASED_CR3_STORE_EXITING),
        )
        vcpu.arch.cr0 = cr0
        vmx_set_cr4(vcpu, kvm_read_cr4(vcpu))

    if not cr0 & X86_CR0_WP:
        hw_cr0 &= ~X86_CR0_WP
    return hw_cr0


def vmx_set_cr0(vcpu: kvm_vcpu, cr0: u64) -> None:
    """Set CR0, and enter or leave real mode, long mode and paging with it.

    Source: arch/x86/kvm/vmx.c:2969-3005
    """
    vmx = to_vmx(vcpu)
    module = vmx.module

    # The mask with PG in it is an unsigned 32-bit constant in C, so its complement clears bits
    # 63:32; the one without is signed, and its complement keeps them.
    if module.enable_unrestricted_guest:
        hw_cr0 = (
            cr0 & ~KVM_GUEST_CR0_MASK_UNRESTRICTED_GUEST
        ) | KVM_VM_CR0_ALWAYS_ON_UNRESTRICTED_GUEST
    else:
        hw_cr0 = (cr0 & (~KVM_GUEST_CR0_MASK & U32)) | KVM_VM_CR0_ALWAYS_ON

    if vmx.rmode.vm86_active and cr0 & X86_CR0_PE:
        enter_pmode(vcpu)

    if not vmx.rmode.vm86_active and not cr0 & X86_CR0_PE:
        enter_rmode(vcpu)

    if vcpu.arch.efer & EFER_LME:
        if not is_paging(vcpu) and cr0 & X86_CR0_PG:
            enter_lmode(vcpu)
        if is_paging(vcpu) and not cr0 & X86_CR0_PG:
            exit_lmode(vcpu)

    if module.enable_ept:
        hw_cr0 = ept_update_paging_mode_cr0(vcpu, hw_cr0, cr0)

    if not vcpu.fpu_active:
        hw_cr0 |= X86_CR0_TS | X86_CR0_MP

    vmcs_writel(vcpu, CR0_READ_SHADOW, cr0)
    vmcs_writel(vcpu, GUEST_CR0, hw_cr0)
    vcpu.arch.cr0 = cr0
    vcpu.arch.regs_avail &= ~(1 << VCPU_EXREG_CPL)


def vmx_set_cr3(vcpu: kvm_vcpu, cr3: u64) -> None:
    """Use the paging structures at *cr3*: as EPT's if there is EPT, otherwise as the guest's.

    Source: arch/x86/kvm/vmx.c:3019-3035
    """
    guest_cr3 = cr3
    if to_vmx(vcpu).module.enable_ept:
        eptp = construct_eptp(cr3)
        vmcs_write64(vcpu, EPT_POINTER, eptp)
        guest_cr3 = kvm_read_cr3(vcpu) if is_paging(vcpu) else vcpu.kvm.ept_identity_map_addr
        ept_load_pdptrs(vcpu)

    vmx_flush_tlb(vcpu)
    vmcs_writel(vcpu, GUEST_CR3, guest_cr3)


def vmx_set_cr4(vcpu: kvm_vcpu, cr4: u64) -> int:
    """Set CR4: 0, or 1 if L1 may not have this value of VMXE.

    Source: arch/x86/kvm/vmx.c:3037-3067
    """
    vmx = to_vmx(vcpu)
    hw_cr4 = cr4 | (
        KVM_RMODE_VM_CR4_ALWAYS_ON if vmx.rmode.vm86_active else KVM_PMODE_VM_CR4_ALWAYS_ON
    )

    if cr4 & X86_CR4_VMXE:
        # Without VMXE there is no VMXON, so this is where nested VMX is refused.
        if not nested_vmx_allowed(vcpu):
            return 1
    elif vmx.nested.vmxon:
        return 1

    vcpu.arch.cr4 = cr4
    if vmx.module.enable_ept:
        if not is_paging(vcpu):
            hw_cr4 &= ~X86_CR4_PAE
            hw_cr4 |= X86_CR4_PSE
        elif not cr4 & X86_CR4_PAE:
            hw_cr4 &= ~X86_CR4_PAE

    vmcs_writel(vcpu, CR4_READ_SHADOW, cr4)
    vmcs_writel(vcpu, GUEST_CR4, hw_cr4)
    return 0
