# SPDX-License-Identifier: GPL-2.0-only
"""``x86.c``, control registers: what a guest may load into CR0, CR3, CR4, CR8 and XCR0.

A setter checks the value, hands it to the vendor's code, and tells the MMU what changed. It returns
0, or 1 for a value that has to raise #GP; only `kvm_set_xcr` raises it itself.
"""

from __future__ import annotations

import struct
from typing import Final

from kvmref.integers import U64, s32, u32, u64
from kvmref.kernel.linux_3_3.cpuid_h import (
    guest_cpuid_has_fsgsbase,
    guest_cpuid_has_smep,
    guest_cpuid_has_xsave,
)
from kvmref.kernel.linux_3_3.include.kvm import EFAULT
from kvmref.kernel.linux_3_3.include.kvm_host import (
    PAGE_SHIFT,
    PAGE_SIZE,
    PFERR_USER_MASK,
    PFERR_WRITE_MASK,
    UNMAPPED_GVA,
    VCPU_EXREG_CR3,
    VCPU_EXREG_PDPTR,
    XCR_XFEATURE_ENABLED_MASK,
    XSTATE_FP,
    XSTATE_SSE,
    XSTATE_YMM,
    kvm_mmu,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.msr_index import EFER_LME
from kvmref.kernel.linux_3_3.include.processor_flags import (
    CR0_RESERVED_BITS,
    CR3_L_MODE_RESERVED_BITS,
    CR3_PAE_RESERVED_BITS,
    CR4_RESERVED_BITS,
    CR8_RESERVED_BITS,
    X86_CR0_CD,
    X86_CR0_ET,
    X86_CR0_NW,
    X86_CR0_PE,
    X86_CR0_PG,
    X86_CR0_WP,
    X86_CR4_OSXSAVE,
    X86_CR4_PAE,
    X86_CR4_PGE,
    X86_CR4_PSE,
    X86_CR4_RDWRGSFS,
    X86_CR4_SMEP,
)
from kvmref.kernel.linux_3_3.kvm_cache_regs import (
    kvm_read_cr0,
    kvm_read_cr0_bits,
    kvm_read_cr3,
    kvm_read_cr4,
)
from kvmref.kernel.linux_3_3.outside.async_pf import (
    kvm_async_pf_hash_reset,
    kvm_clear_async_pf_completion_queue,
)
from kvmref.kernel.linux_3_3.outside.cpuid import kvm_update_cpuid
from kvmref.kernel.linux_3_3.outside.irqchip import (
    irqchip_in_kernel,
    kvm_lapic_get_cr8,
    kvm_lapic_set_tpr,
)
from kvmref.kernel.linux_3_3.outside.memory import gfn_to_memslot, kvm_read_guest_page
from kvmref.kernel.linux_3_3.outside.mmu import (
    kvm_mmu_flush_tlb,
    kvm_mmu_reset_context,
    kvm_mmu_sync_roots,
    new_cr3,
    translate_gpa,
)
from kvmref.kernel.linux_3_3.x86.exceptions import kvm_inject_gp
from kvmref.kernel.linux_3_3.x86_h import is_long_mode, is_pae, is_paging

PT_PRESENT_MASK: Final = 1 << 0

_CR3_PDPT: Final = 0xFFFFFFE0
"""``~31u``: an unsigned 32-bit constant, so it also drops the upper half of CR3."""

_PDPTES: Final = struct.Struct("<4Q")


def kvm_read_guest_page_mmu(
    vcpu: kvm_vcpu, mmu: kvm_mmu, ngfn: u64, offset: s32, length: s32, access: u32
) -> tuple[int, bytes]:
    """Read from a page of the physical memory of the guest that runs.

    Returns 0 or -EFAULT, and *length* bytes, zeroes if they could not be read.

    Source: arch/x86/kvm/x86.c:398-413
    """
    real_gfn: u64
    ngpa: u64

    ngpa = (ngfn << PAGE_SHIFT) & U64
    real_gfn = translate_gpa(vcpu, ngpa, access)
    if real_gfn == UNMAPPED_GVA:
        return -EFAULT, bytes(length)

    real_gfn = real_gfn >> PAGE_SHIFT

    return kvm_read_guest_page(vcpu.env, real_gfn, offset, length)


def kvm_read_nested_guest_page(
    vcpu: kvm_vcpu, gfn: u64, offset: s32, length: s32, access: u32
) -> tuple[int, bytes]:
    """Read from a page of the physical memory of the guest whose page tables are in use.

    Returns what `kvm_read_guest_page_mmu` returns.

    Source: arch/x86/kvm/x86.c:416-421
    """
    return kvm_read_guest_page_mmu(vcpu, vcpu.arch.mmu, gfn, offset, length, access)


def load_pdptrs(vcpu: kvm_vcpu, mmu: kvm_mmu, cr3: u64) -> int:
    """Load the four PDPTEs that *cr3* points to; return 1, or 0 if one is invalid or not there.

    Source: arch/x86/kvm/x86.c:426-458
    """
    pdpt_gfn: u64 = cr3 >> PAGE_SHIFT
    offset: u32 = ((cr3 & (PAGE_SIZE - 1)) >> 5) << 2

    ret, data = kvm_read_guest_page_mmu(
        vcpu, mmu, pdpt_gfn, offset * 8, _PDPTES.size, PFERR_USER_MASK | PFERR_WRITE_MASK
    )
    if ret < 0:
        return 0
    pdpte = _PDPTES.unpack(data)
    for i in range(len(pdpte)):
        if pdpte[i] & PT_PRESENT_MASK and pdpte[i] & vcpu.arch.mmu.rsvd_bits_mask[0][2]:
            return 0

    mmu.pdptrs[:] = pdpte
    vcpu.arch.regs_avail |= 1 << VCPU_EXREG_PDPTR
    vcpu.arch.regs_dirty |= 1 << VCPU_EXREG_PDPTR

    return 1


def pdptrs_changed(vcpu: kvm_vcpu) -> bool:
    """Tell whether the PDPTEs in memory differ from those that are loaded; in doubt they do.

    Source: arch/x86/kvm/x86.c:461-486
    """
    offset: s32
    gfn: u64

    if is_long_mode(vcpu) or not is_pae(vcpu):
        return False

    if not vcpu.arch.regs_avail & (1 << VCPU_EXREG_PDPTR):
        return True

    gfn = (kvm_read_cr3(vcpu) & _CR3_PDPT) >> PAGE_SHIFT
    offset = (kvm_read_cr3(vcpu) & _CR3_PDPT) & (PAGE_SIZE - 1)
    r, pdpte = kvm_read_nested_guest_page(
        vcpu, gfn, offset, _PDPTES.size, PFERR_USER_MASK | PFERR_WRITE_MASK
    )
    if r < 0:
        return True
    return pdpte != _PDPTES.pack(*vcpu.arch.mmu.pdptrs)


def kvm_set_cr0(vcpu: kvm_vcpu, cr0: u64) -> int:
    """Load CR0; reserved bits of the lower half are dropped silently. Returns 1 for #GP.

    Source: arch/x86/kvm/x86.c:488-536
    """
    old_cr0: u64 = kvm_read_cr0(vcpu)
    update_bits: u64 = X86_CR0_PG | X86_CR0_WP | X86_CR0_CD | X86_CR0_NW

    cr0 |= X86_CR0_ET

    if cr0 & 0xFFFFFFFF00000000:
        return 1

    cr0 &= ~CR0_RESERVED_BITS

    if cr0 & X86_CR0_NW and not cr0 & X86_CR0_CD:
        return 1

    if cr0 & X86_CR0_PG and not cr0 & X86_CR0_PE:
        return 1

    if not is_paging(vcpu) and cr0 & X86_CR0_PG:
        if vcpu.arch.efer & EFER_LME:
            if not is_pae(vcpu):
                return 1
            _cs_db, cs_l = vcpu.kvm_x86_ops.get_cs_db_l_bits(vcpu)
            if cs_l:
                return 1
        elif is_pae(vcpu) and not load_pdptrs(vcpu, vcpu.arch.mmu, kvm_read_cr3(vcpu)):
            return 1

    vcpu.kvm_x86_ops.set_cr0(vcpu, cr0)

    if (cr0 ^ old_cr0) & X86_CR0_PG:
        kvm_clear_async_pf_completion_queue(vcpu)
        kvm_async_pf_hash_reset(vcpu)

    if (cr0 ^ old_cr0) & update_bits:
        kvm_mmu_reset_context(vcpu)
    return 0


def kvm_lmsw(vcpu: kvm_vcpu, msw: u64) -> None:
    """Load the low four bits of CR0, as LMSW does: PE can be set, but not cleared.

    A value that is refused is ignored.

    Source: arch/x86/kvm/x86.c:539-542
    """
    kvm_set_cr0(vcpu, kvm_read_cr0_bits(vcpu, U64 & ~0x0E) | (msw & 0x0F))


def __kvm_set_xcr(vcpu: kvm_vcpu, index: u32, xcr: u64) -> int:
    """Store XCR0, if CPL, *index* and *xcr* permit it; return 1 if not.

    Source: arch/x86/kvm/x86.c:545-564
    """
    xcr0: u64

    if index != XCR_XFEATURE_ENABLED_MASK:
        return 1
    xcr0 = xcr
    if vcpu.kvm_x86_ops.get_cpl(vcpu) != 0:
        return 1
    if not xcr0 & XSTATE_FP:
        return 1
    if xcr0 & XSTATE_YMM and not xcr0 & XSTATE_SSE:
        return 1
    if xcr0 & ~vcpu.kvm.host_xcr0:
        return 1
    vcpu.arch.xcr0 = xcr0
    vcpu.guest_xcr0_loaded = 0
    return 0


def kvm_set_xcr(vcpu: kvm_vcpu, index: u32, xcr: u64) -> int:
    """Store XCR0, or queue #GP(0) and return 1.

    Source: arch/x86/kvm/x86.c:566-573
    """
    if __kvm_set_xcr(vcpu, index, xcr):
        kvm_inject_gp(vcpu, 0)
        return 1
    return 0


def kvm_set_cr4(vcpu: kvm_vcpu, cr4: u64) -> int:
    """Load CR4. Returns 1 for #GP.

    Source: arch/x86/kvm/x86.c:576-612
    """
    old_cr4: u64 = kvm_read_cr4(vcpu)
    pdptr_bits: u64 = X86_CR4_PGE | X86_CR4_PSE | X86_CR4_PAE | X86_CR4_SMEP
    if cr4 & CR4_RESERVED_BITS:
        return 1

    if not guest_cpuid_has_xsave(vcpu) and cr4 & X86_CR4_OSXSAVE:
        return 1

    if not guest_cpuid_has_smep(vcpu) and cr4 & X86_CR4_SMEP:
        return 1

    if not guest_cpuid_has_fsgsbase(vcpu) and cr4 & X86_CR4_RDWRGSFS:
        return 1

    if is_long_mode(vcpu):
        if not cr4 & X86_CR4_PAE:
            return 1
    elif (
        is_paging(vcpu)
        and cr4 & X86_CR4_PAE
        and (cr4 ^ old_cr4) & pdptr_bits
        and not load_pdptrs(vcpu, vcpu.arch.mmu, kvm_read_cr3(vcpu))
    ):
        return 1

    if vcpu.kvm_x86_ops.set_cr4(vcpu, cr4):
        return 1

    if (cr4 ^ old_cr4) & pdptr_bits:
        kvm_mmu_reset_context(vcpu)

    if (cr4 ^ old_cr4) & X86_CR4_OSXSAVE:
        kvm_update_cpuid(vcpu)

    return 0


def kvm_set_cr3(vcpu: kvm_vcpu, cr3: u64) -> int:
    """Load CR3; an unchanged value only flushes the TLB. Returns 1 for #GP.

    A value that points outside the guest's memory is refused, even while paging is off.

    Source: arch/x86/kvm/x86.c:615-655
    """
    if cr3 == kvm_read_cr3(vcpu) and not pdptrs_changed(vcpu):
        kvm_mmu_sync_roots(vcpu)
        kvm_mmu_flush_tlb(vcpu)
        return 0

    if is_long_mode(vcpu):
        if cr3 & CR3_L_MODE_RESERVED_BITS:
            return 1
    elif is_pae(vcpu):
        if cr3 & CR3_PAE_RESERVED_BITS:
            return 1
        if is_paging(vcpu) and not load_pdptrs(vcpu, vcpu.arch.mmu, cr3):
            return 1

    if not gfn_to_memslot(vcpu.env, cr3 >> PAGE_SHIFT):
        return 1
    vcpu.arch.cr3 = cr3
    vcpu.arch.regs_avail |= 1 << VCPU_EXREG_CR3
    new_cr3(vcpu)
    return 0


def kvm_set_cr8(vcpu: kvm_vcpu, cr8: u64) -> int:
    """Load CR8, the priority below which interrupts wait. Returns 1 for #GP.

    Source: arch/x86/kvm/x86.c:658-667
    """
    if cr8 & CR8_RESERVED_BITS:
        return 1
    if irqchip_in_kernel(vcpu.kvm):
        kvm_lapic_set_tpr(vcpu, cr8)
    else:
        vcpu.arch.cr8 = cr8
    return 0


def kvm_get_cr8(vcpu: kvm_vcpu) -> u64:
    """Return CR8.

    Source: arch/x86/kvm/x86.c:670-676
    """
    if irqchip_in_kernel(vcpu.kvm):
        return kvm_lapic_get_cr8(vcpu)
    return vcpu.arch.cr8
