# SPDX-License-Identifier: GPL-2.0-only
"""What stands for the MMU: page tables have a root or have none, and that is all there is of them.

Linear addresses are guest-physical addresses, except that scripts can unmap pages.
"""

from __future__ import annotations

from typing import Final

from kvmref.integers import U16, u32, u64
from kvmref.kernel.linux_3_3.include.kvm import EFAULT, ENOMEM
from kvmref.kernel.linux_3_3.include.kvm_host import (
    INVALID_PAGE,
    KVM_REQ_TLB_FLUSH,
    PAGE_SHIFT,
    PF_VECTOR,
    PT32_ROOT_LEVEL,
    PT32E_ROOT_LEVEL,
    PT64_ROOT_LEVEL,
    UNMAPPED_GVA,
    kvm_make_request,
    kvm_vcpu,
    x86_exception,
)
from kvmref.kernel.linux_3_3.include.msr_index import EFER_NX
from kvmref.kernel.linux_3_3.mmu import reset_rsvds_bits_mask
from kvmref.kernel.linux_3_3.outside.memory import PAGES
from kvmref.kernel.linux_3_3.x86.exceptions import kvm_inject_page_fault
from kvmref.kernel.linux_3_3.x86_h import is_long_mode, is_pae, is_paging

ROOT: Final[u64] = 0x7000000
"""Host-physical address of every root."""


def kvm_mmu_reload(vcpu: kvm_vcpu) -> int:
    """Load a root, if there is none; return 0, or -ENOMEM if that fails."""
    if vcpu.arch.mmu.root_hpa != INVALID_PAGE:
        return 0
    env = vcpu.env
    if env.mmu_fail:
        env.mmu_fail = False
        env.trace.event("mmu_load_fail")
        return -ENOMEM
    env.trace.event("mmu_load")
    vcpu.arch.mmu.root_hpa = ROOT
    vcpu.kvm_x86_ops.set_cr3(vcpu, ROOT)
    return 0


def new_cr3(vcpu: kvm_vcpu) -> None:
    """Drop the root, because CR3 has changed (``mmu->new_cr3``)."""
    vcpu.env.trace.event("new_cr3")
    vcpu.arch.mmu.root_hpa = INVALID_PAGE


def kvm_mmu_unload(vcpu: kvm_vcpu) -> None:
    """Drop the root."""
    vcpu.env.trace.event("mmu_unload")
    vcpu.arch.mmu.root_hpa = INVALID_PAGE


def kvm_mmu_sync_roots(vcpu: kvm_vcpu) -> None:
    """Stand for bringing shadow page tables up to date with the guest's."""
    vcpu.env.trace.event("mmu_sync_roots")


def kvm_mmu_flush_tlb(vcpu: kvm_vcpu) -> None:
    """Request a flush of the TLB."""
    vcpu.stat.tlb_flush += 1
    kvm_make_request(KVM_REQ_TLB_FLUSH, vcpu)


def init_kvm_mmu(vcpu: kvm_vcpu) -> None:
    """Make the MMU context that fits the guest's paging mode.

    Without paging, the reserved bits stay as they were.
    """
    mmu = vcpu.arch.mmu
    mmu.nx = False
    if not is_paging(vcpu):
        return
    if is_long_mode(vcpu):
        mmu.nx = vcpu.arch.efer & EFER_NX != 0
        reset_rsvds_bits_mask(vcpu, mmu, PT64_ROOT_LEVEL)
    elif is_pae(vcpu):
        mmu.nx = vcpu.arch.efer & EFER_NX != 0
        reset_rsvds_bits_mask(vcpu, mmu, PT32E_ROOT_LEVEL)
    else:
        reset_rsvds_bits_mask(vcpu, mmu, PT32_ROOT_LEVEL)


def kvm_mmu_reset_context(vcpu: kvm_vcpu) -> None:
    """Drop the root, and make the MMU context anew."""
    vcpu.env.trace.event("mmu_reset_context")
    vcpu.arch.mmu.root_hpa = INVALID_PAGE
    init_kvm_mmu(vcpu)


def kvm_mmu_page_fault(vcpu: kvm_vcpu, cr2: u64, error_code: u32) -> int:
    """Handle a page fault or an EPT violation; return 1, 0 or -EFAULT, as ``env.pf`` says."""
    env = vcpu.env
    env.trace.event(("mmu_page_fault", cr2, error_code))
    if env.pf == 1:
        fault = x86_exception(PF_VECTOR, error_code_valid=True, error_code=env.pferr, address=cr2)
        kvm_inject_page_fault(vcpu, fault)
        return 1
    if env.pf == 2:
        return 0
    if env.pf == 3:
        return -EFAULT
    return 1


def handle_mmio_page_fault_common(vcpu: kvm_vcpu, addr: u64, direct: bool) -> int:
    """Handle an EPT misconfiguration.

    Returns 1 to emulate the instruction, 0 to resume the guest, -1 for an error; see ``env.pf``.
    """
    vcpu.env.trace.event(("handle_mmio_pf", addr))
    if vcpu.env.pf == 0:
        return 1
    if vcpu.env.pf == 1:
        return 0
    return -1


def kvm_mmu_invlpg(vcpu: kvm_vcpu, gva: u64) -> None:
    """Stand for invalidating the translation of a linear address."""
    vcpu.env.trace.event(("mmu_invlpg", gva))


def kvm_mmu_unprotect_page_virt(vcpu: kvm_vcpu, gva: u64) -> int:
    """Stand for giving up shadow page tables that a guest's page is protected for; return 0."""
    vcpu.env.trace.event(("mmu_unprotect", gva))
    return 0


def kvm_disable_largepages() -> None:
    """Use no large pages in EPT; there are no paging structures here."""


def gva_to_gpa(vcpu: kvm_vcpu, gva: u64, access: u32, exception: x86_exception | None) -> u64:
    """Return the guest-physical address that *gva* is mapped to: the same, if it is mapped.

    If not, return UNMAPPED_GVA and describe the #PF in *exception*, with the error code *access*.
    """
    number = gva >> PAGE_SHIFT
    if number < PAGES and number not in vcpu.env.unmapped:
        return gva
    if exception is not None:
        exception.vector = PF_VECTOR
        exception.error_code_valid = True
        exception.error_code = access & U16
        exception.address = gva
    return UNMAPPED_GVA


def translate_gpa(vcpu: kvm_vcpu, gpa: u64, access: u32) -> u64:
    """Return the guest-physical address of L1 that *gpa* stands for: itself."""
    return gpa
