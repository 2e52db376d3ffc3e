# SPDX-License-Identifier: GPL-2.0-only
"""Segment registers and descriptor-table registers of the guest (vmx.c:3069-3248)."""

from __future__ import annotations

from dataclasses import dataclass

from kvmref.integers import u8, u16, u32, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import AR_UNUSABLE_MASK
from kvmref.kernel.linux_3_3.include.kvm_host import (
    VCPU_EXREG_CPL,
    VCPU_SREG_CS,
    VCPU_SREG_DS,
    VCPU_SREG_ES,
    VCPU_SREG_FS,
    VCPU_SREG_GS,
    VCPU_SREG_LDTR,
    VCPU_SREG_TR,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.processor_flags import X86_EFLAGS_VM
from kvmref.kernel.linux_3_3.vmx.segment_cache import (
    kvm_vmx_segment_fields,
    vmx_read_guest_seg_ar,
    vmx_read_guest_seg_base,
    vmx_read_guest_seg_limit,
    vmx_read_guest_seg_selector,
    vmx_segment_cache_clear,
)
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_write16, vmcs_write32, vmcs_writel
from kvmref.kernel.linux_3_3.x86.rflags import kvm_get_rflags
from kvmref.kernel.linux_3_3.x86_h import is_long_mode, is_protmode
from kvmref.processor.vmcs_fields import (
    GUEST_GDTR_BASE,
    GUEST_GDTR_LIMIT,
    GUEST_IDTR_BASE,
    GUEST_IDTR_LIMIT,
)


@dataclass(slots=True)
class kvm_segment:
    """A segment register, access rights taken apart (``struct kvm_segment``)."""

    base: u64 = 0
    limit: u32 = 0
    selector: u16 = 0
    type: u8 = 0
    present: u8 = 0
    dpl: u8 = 0
    db: u8 = 0
    s: u8 = 0
    l: u8 = 0  # noqa: E741
    g: u8 = 0
    avl: u8 = 0
    unusable: u8 = 0


def vmx_get_segment(vcpu: kvm_vcpu, seg: int) -> kvm_segment:
    """Return the segment register *seg* as the guest sees it.

    In emulated real mode that is what was saved, unless the guest has loaded the register since.

    Source: arch/x86/kvm/vmx.c:3069-3113
    """
    vmx = to_vmx(vcpu)
    var = kvm_segment()
    use_saved_rmode_seg = False
    ar = 0

    if (
        vmx.rmode.vm86_active
        and (
            seg == VCPU_SREG_TR
            or seg == VCPU_SREG_ES
            or seg == VCPU_SREG_DS
            or seg == VCPU_SREG_FS
            or seg == VCPU_SREG_GS
        )
        and not vmx.module.emulate_invalid_guest_state
    ):
        if seg == VCPU_SREG_TR:
            save = vmx.rmode.tr
        elif seg == VCPU_SREG_ES:
            save = vmx.rmode.es
        elif seg == VCPU_SREG_DS:
            save = vmx.rmode.ds
        elif seg == VCPU_SREG_FS:
            save = vmx.rmode.fs
        else:
            save = vmx.rmode.gs
        var.selector = save.selector
        var.base = save.base
        var.limit = save.limit
        ar = save.ar
        use_saved_rmode_seg = seg == VCPU_SREG_TR or var.selector == vmx_read_guest_seg_selector(
            vmx, seg
        )
    if not use_saved_rmode_seg:
        var.base = vmx_read_guest_seg_base(vmx, seg)
        var.limit = vmx_read_guest_seg_limit(vmx, seg)
        var.selector = vmx_read_guest_seg_selector(vmx, seg)
        ar = vmx_read_guest_seg_ar(vmx, seg)
    if ar & AR_UNUSABLE_MASK and not vmx.module.emulate_invalid_guest_state:
        ar = 0
    var.type = ar & 15
    var.s = (ar >> 4) & 1
    var.dpl = (ar >> 5) & 3
    var.present = (ar >> 7) & 1
    var.avl = (ar >> 12) & 1
    var.l = (ar >> 13) & 1
    var.db = (ar >> 14) & 1
    var.g = (ar >> 15) & 1
    var.unusable = (ar >> 16) & 1
    return var


def vmx_get_segment_base(vcpu: kvm_vcpu, seg: int) -> u64:
    """Return the base address of the segment register *seg* as the guest sees it.

    Source: arch/x86/kvm/vmx.c:3115-3124
    """
    vmx = to_vmx(vcpu)
    if vmx.rmode.vm86_active:
        return vmx_get_segment(vcpu, seg).base
    return vmx_read_guest_seg_base(vmx, seg)


def __vmx_get_cpl(vcpu: kvm_vcpu) -> int:
    """Determine the current privilege level.

    Source: arch/x86/kvm/vmx.c:3126-3136
    """
    if not is_protmode(vcpu):
        return 0

    if not is_long_mode(vcpu) and kvm_get_rflags(vcpu) & X86_EFLAGS_VM:
        return 3

    return vmx_read_guest_seg_selector(to_vmx(vcpu), VCPU_SREG_CS) & 3


def vmx_get_cpl(vcpu: kvm_vcpu) -> int:
    """Return the current privilege level.

    Source: arch/x86/kvm/vmx.c:3138-3145
    """
    vmx = to_vmx(vcpu)
    if not vcpu.arch.regs_avail & (1 << VCPU_EXREG_CPL):
        vcpu.arch.regs_avail |= 1 << VCPU_EXREG_CPL
        vmx.cpl = __vmx_get_cpl(vcpu)
    return vmx.cpl


def vmx_segment_access_rights(var: kvm_segment) -> u32:
    """Return the access rights of *var* in the format of a VMCS.

    Source: arch/x86/kvm/vmx.c:3148-3168
    """
    if var.unusable:
        ar = 1 << 16
    else:
        ar = var.type & 15
        ar |= (var.s & 1) << 4
        ar |= (var.dpl & 3) << 5
        ar |= (var.present & 1) << 7
        ar |= (var.avl & 1) << 12
        ar |= (var.l & 1) << 13
        ar |= (var.db & 1) << 14
        ar |= (var.g & 1) << 15
    if ar == 0:
        ar = AR_UNUSABLE_MASK

    return ar


def vmx_set_segment(vcpu: kvm_vcpu, var: kvm_segment, seg: int) -> None:
    """Set the segment register *seg*.

    Source: arch/x86/kvm/vmx.c:3170-3216
    """
    vmx = to_vmx(vcpu)
    sf = kvm_vmx_segment_fields[seg]

    vmx_segment_cache_clear(vmx)

    if vmx.rmode.vm86_active and seg == VCPU_SREG_TR:
        vmcs_write16(vcpu, sf.selector, var.selector)
        vmx.rmode.tr.selector = var.selector
        vmx.rmode.tr.base = var.base
        vmx.rmode.tr.limit = var.limit
        vmx.rmode.tr.ar = vmx_segment_access_rights(var)
        return
    vmcs_writel(vcpu, sf.base, var.base)
    vmcs_write32(vcpu, sf.limit, var.limit)
    vmcs_write16(vcpu, sf.selector, var.selector)
    if vmx.rmode.vm86_active and var.s:
        # Virtual-8086 mode wants the base to be the selector times 16.
        if var.base == 0xFFFF0000 and var.selector == 0xF000:
            vmcs_writel(vcpu, sf.base, 0xF0000)
        ar = 0xF3
    else:
        ar = vmx_segment_access_rights(var)

    # User space may leave the accessed bit clear, which real mode with unrestricted guest forbids.
    if vmx.module.enable_unrestricted_guest and seg != VCPU_SREG_LDTR:
        ar |= 0x1

    vmcs_write32(vcpu, sf.ar_bytes, ar)
    vcpu.arch.regs_avail &= ~(1 << VCPU_EXREG_CPL)


def vmx_get_cs_db_l_bits(vcpu: kvm_vcpu) -> tuple[int, int]:
    """Return the bits D/B and L of CS.

    Source: arch/x86/kvm/vmx.c:3218-3224
    """
    ar = vmx_read_guest_seg_ar(to_vmx(vcpu), VCPU_SREG_CS)

    return (ar >> 14) & 1, (ar >> 13) & 1


def vmx_set_idt(vcpu: kvm_vcpu, size: u16, address: u64) -> None:
    """Set IDTR.

    Source: arch/x86/kvm/vmx.c:3232-3236
    """
    vmcs_write32(vcpu, GUEST_IDTR_LIMIT, size)
    vmcs_writel(vcpu, GUEST_IDTR_BASE, address)


def vmx_set_gdt(vcpu: kvm_vcpu, size: u16, address: u64) -> None:
    """Set GDTR.

    Source: arch/x86/kvm/vmx.c:3244-3248
    """
    vmcs_write32(vcpu, GUEST_GDTR_LIMIT, size)
    vmcs_writel(vcpu, GUEST_GDTR_BASE, address)
