# SPDX-License-Identifier: GPL-2.0-only
"""Real mode without unrestricted guest: virtual-8086 mode in disguise (vmx.c:2660-2817)."""

from __future__ import annotations

from kvmref.integers import u32, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import AR_DPL_SHIFT, AR_S_MASK
from kvmref.kernel.linux_3_3.include.kvm_host import (
    RMODE_TSS_SIZE,
    SELECTOR_RPL_MASK,
    VCPU_SREG_DS,
    VCPU_SREG_ES,
    VCPU_SREG_FS,
    VCPU_SREG_GS,
    kvm_vcpu,
    struct_kvm,
)
from kvmref.kernel.linux_3_3.include.processor_flags import (
    X86_CR4_VME,
    X86_EFLAGS_IOPL,
    X86_EFLAGS_VM,
)
from kvmref.kernel.linux_3_3.outside.host import srcu_read_lock, srcu_read_unlock
from kvmref.kernel.linux_3_3.outside.mmu import kvm_mmu_reset_context
from kvmref.kernel.linux_3_3.vmx.exception_bitmap import update_exception_bitmap
from kvmref.kernel.linux_3_3.vmx.module import RMODE_GUEST_OWNED_EFLAGS_BITS
from kvmref.kernel.linux_3_3.vmx.segment_cache import (
    kvm_vmx_segment_fields,
    vmx_segment_cache_clear,
)
from kvmref.kernel.linux_3_3.vmx.structs import kvm_save_segment, to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import (
    vmcs_read16,
    vmcs_read32,
    vmcs_readl,
    vmcs_write16,
    vmcs_write32,
    vmcs_writel,
)
from kvmref.processor.vmcs_fields import (
    CR4_READ_SHADOW,
    GUEST_CR4,
    GUEST_CS_AR_BYTES,
    GUEST_CS_BASE,
    GUEST_CS_LIMIT,
    GUEST_CS_SELECTOR,
    GUEST_RFLAGS,
    GUEST_SS_AR_BYTES,
    GUEST_SS_BASE,
    GUEST_SS_LIMIT,
    GUEST_SS_SELECTOR,
    GUEST_TR_AR_BYTES,
    GUEST_TR_BASE,
    GUEST_TR_LIMIT,
    GUEST_TR_SELECTOR,
)


def fix_pmode_dataseg(vcpu: kvm_vcpu, seg: int, save: kvm_save_segment) -> None:
    """Give a data segment back its contents, or at least the access rights of a data segment.

    Source: arch/x86/kvm/vmx.c:2660-2674
    """
    sf = kvm_vmx_segment_fields[seg]

    if vmcs_readl(vcpu, sf.base) == save.base and save.base & AR_S_MASK:
        vmcs_write16(vcpu, sf.selector, save.selector)
        vmcs_writel(vcpu, sf.base, save.base)
        vmcs_write32(vcpu, sf.limit, save.limit)
        vmcs_write32(vcpu, sf.ar_bytes, save.ar)
    else:
        dpl = (vmcs_read16(vcpu, sf.selector) & SELECTOR_RPL_MASK) << AR_DPL_SHIFT
        vmcs_write32(vcpu, sf.ar_bytes, 0x93 | dpl)


def enter_pmode(vcpu: kvm_vcpu) -> None:
    """Leave emulated real mode.

    Source: arch/x86/kvm/vmx.c:2676-2717
    """
    vmx = to_vmx(vcpu)

    vmx.emulation_required = True
    vmx.rmode.vm86_active = 0

    vmx_segment_cache_clear(vmx)

    vmcs_write16(vcpu, GUEST_TR_SELECTOR, vmx.rmode.tr.selector)
    vmcs_writel(vcpu, GUEST_TR_BASE, vmx.rmode.tr.base)
    vmcs_write32(vcpu, GUEST_TR_LIMIT, vmx.rmode.tr.limit)
    vmcs_write32(vcpu, GUEST_TR_AR_BYTES, vmx.rmode.tr.ar)

    flags = vmcs_readl(vcpu, GUEST_RFLAGS)
    flags &= RMODE_GUEST_OWNED_EFLAGS_BITS
    flags |= vmx.rmode.save_rflags & ~RMODE_GUEST_OWNED_EFLAGS_BITS
    vmcs_writel(vcpu, GUEST_RFLAGS, flags)

    vmcs_writel(
        vcpu,
        GUEST_CR4,
        (vmcs_readl(vcpu, GUEST_CR4) & ~X86_CR4_VME)
        | (vmcs_readl(vcpu, CR4_READ_SHADOW) & X86_CR4_VME),
    )

    update_exception_bitmap(vcpu)

    if vmx.module.emulate_invalid_guest_state:
        return

    fix_pmode_dataseg(vcpu, VCPU_SREG_ES, vmx.rmode.es)
    fix_pmode_dataseg(vcpu, VCPU_SREG_DS, vmx.rmode.ds)
    fix_pmode_dataseg(vcpu, VCPU_SREG_GS, vmx.rmode.gs)
    fix_pmode_dataseg(vcpu, VCPU_SREG_FS, vmx.rmode.fs)

    vmx_segment_cache_clear(vmx)

    vmcs_write16(vcpu, GUEST_SS_SELECTOR, 0)
    vmcs_write32(vcpu, GUEST_SS_AR_BYTES, 0x93)

    vmcs_write16(vcpu, GUEST_CS_SELECTOR, vmcs_read16(vcpu, GUEST_CS_SELECTOR) & ~SELECTOR_RPL_MASK)
    vmcs_write32(vcpu, GUEST_CS_AR_BYTES, 0x9B)


def fix_rmode_seg(vcpu: kvm_vcpu, seg: int, save: kvm_save_segment) -> None:
    """Save a data segment, and make it look like one of virtual-8086 mode.

    Source: arch/x86/kvm/vmx.c:2735-2751
    """
    sf = kvm_vmx_segment_fields[seg]

    save.selector = vmcs_read16(vcpu, sf.selector)
    save.base = vmcs_readl(vcpu, sf.base)
    save.limit = vmcs_read32(vcpu, sf.limit)
    save.ar = vmcs_read32(vcpu, sf.ar_bytes)
    vmcs_write16(vcpu, sf.selector, save.base >> 4)
    vmcs_write32(vcpu, sf.base, save.base & 0xFFFF0)
    vmcs_write32(vcpu, sf.limit, 0xFFFF)
    vmcs_write32(vcpu, sf.ar_bytes, 0xF3)


def enter_rmode(vcpu: kvm_vcpu) -> None:
    """Enter emulated real mode, unless the host can run real mode.

    Source: arch/x86/kvm/vmx.c:2753-2817
    """
    vmx = to_vmx(vcpu)

    if vmx.module.enable_unrestricted_guest:
        return

    vmx.emulation_required = True
    vmx.rmode.vm86_active = 1

    # User space that does not set the address gets one below 4 GBytes.
    if not vcpu.kvm.tss_addr:
        srcu_read_unlock(vcpu.env)
        vmx_set_tss_addr(vcpu.kvm, 0xFEFFD000)
        srcu_read_lock(vcpu.env)

    vmx_segment_cache_clear(vmx)

    vmx.rmode.tr.selector = vmcs_read16(vcpu, GUEST_TR_SELECTOR)
    vmx.rmode.tr.base = vmcs_readl(vcpu, GUEST_TR_BASE)
    vmcs_writel(vcpu, GUEST_TR_BASE, rmode_tss_base(vcpu.kvm))

    vmx.rmode.tr.limit = vmcs_read32(vcpu, GUEST_TR_LIMIT)
    vmcs_write32(vcpu, GUEST_TR_LIMIT, RMODE_TSS_SIZE - 1)

    vmx.rmode.tr.ar = vmcs_read32(vcpu, GUEST_TR_AR_BYTES)
    vmcs_write32(vcpu, GUEST_TR_AR_BYTES, 0x008B)

    flags = vmcs_readl(vcpu, GUEST_RFLAGS)
    vmx.rmode.save_rflags = flags

    flags |= X86_EFLAGS_IOPL | X86_EFLAGS_VM

    vmcs_writel(vcpu, GUEST_RFLAGS, flags)
    vmcs_writel(vcpu, GUEST_CR4, vmcs_readl(vcpu, GUEST_CR4) | X86_CR4_VME)
    update_exception_bitmap(vcpu)

    if not vmx.module.emulate_invalid_guest_state:
        vmcs_write16(vcpu, GUEST_SS_SELECTOR, vmcs_readl(vcpu, GUEST_SS_BASE) >> 4)
        vmcs_write32(vcpu, GUEST_SS_LIMIT, 0xFFFF)
        vmcs_write32(vcpu, GUEST_SS_AR_BYTES, 0xF3)

        vmcs_write32(vcpu, GUEST_CS_AR_BYTES, 0xF3)
        vmcs_write32(vcpu, GUEST_CS_LIMIT, 0xFFFF)
        if vmcs_readl(vcpu, GUEST_CS_BASE) == 0xFFFF0000:
            vmcs_writel(vcpu, GUEST_CS_BASE, 0xF0000)
        vmcs_write16(vcpu, GUEST_CS_SELECTOR, vmcs_readl(vcpu, GUEST_CS_BASE) >> 4)

        fix_rmode_seg(vcpu, VCPU_SREG_ES, vmx.rmode.es)
        fix_rmode_seg(vcpu, VCPU_SREG_DS, vmx.rmode.ds)
        fix_rmode_seg(vcpu, VCPU_SREG_GS, vmx.rmode.gs)
        fix_rmode_seg(vcpu, VCPU_SREG_FS, vmx.rmode.fs)

    kvm_mmu_reset_context(vcpu)


def rmode_tss_base(kvm: struct_kvm) -> u64:
    """Return the guest-physical address of the TSS for emulated real mode.

    Without an address from user space C takes the end of the first memory slot; `enter_rmode` has
    made sure that there is one.
    """
    return kvm.tss_addr


def vmx_set_tss_addr(kvm: struct_kvm, addr: u32) -> None:
    """Note where the TSS for emulated real mode is; its memory is outside the port."""
    kvm.tss_addr = addr
