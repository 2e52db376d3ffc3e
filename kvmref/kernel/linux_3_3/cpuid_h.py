# SPDX-License-Identifier: GPL-2.0-only
"""``cpuid.h``: which features the guest's CPUID promises.

Only asks; the answers are in `kvmref.kernel.linux_3_3.outside.cpuid`.
"""

from __future__ import annotations

from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu
from kvmref.kernel.linux_3_3.outside.cpuid import (
    X86_FEATURE_FSGSBASE,
    X86_FEATURE_SMEP,
    X86_FEATURE_XSAVE,
    kvm_find_cpuid_entry,
)
from kvmref.kernel.linux_3_3.x86_h import bit


def guest_cpuid_has_xsave(vcpu: kvm_vcpu) -> bool:
    """Tell whether the guest has XSAVE.

    Source: arch/x86/kvm/cpuid.h:22-28
    """
    best = kvm_find_cpuid_entry(vcpu, 1, 0)
    return best is not None and best.ecx & bit(X86_FEATURE_XSAVE) != 0


def guest_cpuid_has_smep(vcpu: kvm_vcpu) -> bool:
    """Tell whether the guest has SMEP.

    Source: arch/x86/kvm/cpuid.h:30-36
    """
    best = kvm_find_cpuid_entry(vcpu, 7, 0)
    return best is not None and best.ebx & bit(X86_FEATURE_SMEP) != 0


def guest_cpuid_has_fsgsbase(vcpu: kvm_vcpu) -> bool:
    """Tell whether the guest has RDFSBASE and its kin.

    Source: arch/x86/kvm/cpuid.h:38-44
    """
    best = kvm_find_cpuid_entry(vcpu, 7, 0)
    return best is not None and best.ebx & bit(X86_FEATURE_FSGSBASE) != 0
