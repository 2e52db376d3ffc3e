# SPDX-License-Identifier: GPL-2.0-only
"""``x86.c``, EFER: what a guest may load into it."""

from __future__ import annotations

from kvmref.integers import u64
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu, struct_kvm
from kvmref.kernel.linux_3_3.include.msr_index import (
    EFER_FFXSR,
    EFER_LMA,
    EFER_LME,
    EFER_NX,
    EFER_SVME,
)
from kvmref.kernel.linux_3_3.outside.cpuid import (
    X86_FEATURE_FXSR_OPT,
    X86_FEATURE_SVM,
    kvm_find_cpuid_entry,
)
from kvmref.kernel.linux_3_3.outside.mmu import kvm_mmu_reset_context
from kvmref.kernel.linux_3_3.x86_h import bit, is_paging


def set_efer(vcpu: kvm_vcpu, efer: u64) -> int:
    """Load EFER, except LMA, which the processor owns. Returns 1 for #GP.

    The role of shadow pages, which C updates too, does not exist here.

    Source: arch/x86/kvm/x86.c:810-849
    """
    old_efer: u64 = vcpu.arch.efer

    if efer & vcpu.kvm.efer_reserved_bits:
        return 1

    if is_paging(vcpu) and (vcpu.arch.efer & EFER_LME) != (efer & EFER_LME):
        return 1

    if efer & EFER_FFXSR:
        feat = kvm_find_cpuid_entry(vcpu, 0x80000001, 0)
        if feat is None or not feat.edx & bit(X86_FEATURE_FXSR_OPT):
            return 1

    if efer & EFER_SVME:
        feat = kvm_find_cpuid_entry(vcpu, 0x80000001, 0)
        if feat is None or not feat.ecx & bit(X86_FEATURE_SVM):
            return 1

    efer &= ~EFER_LMA
    efer |= vcpu.arch.efer & EFER_LMA

    vcpu.kvm_x86_ops.set_efer(vcpu, efer)

    if (efer ^ old_efer) & EFER_NX:
        kvm_mmu_reset_context(vcpu)

    return 0


def kvm_enable_efer_bits(kvm: struct_kvm, mask: u64) -> None:
    """Let guests set the bits *mask* of EFER.

    Source: arch/x86/kvm/x86.c:851-854
    """
    kvm.efer_reserved_bits &= ~mask
