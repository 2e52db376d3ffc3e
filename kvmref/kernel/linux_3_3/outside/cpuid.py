# SPDX-License-Identifier: GPL-2.0-only
"""What stands for ``cpuid.c``: the CPUID of the guest, as the setup chooses it.

Leaves have only the bits that the port asks for; the guest never sees them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kvmref.integers import s32, u32
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu

# Features of ``asm/cpufeature.h``: number of the capability word times 32, plus the bit.
X86_FEATURE_RDTSCP: Final = 1 * 32 + 27
X86_FEATURE_FXSR_OPT: Final = 1 * 32 + 25
X86_FEATURE_VMX: Final = 4 * 32 + 5
X86_FEATURE_XSAVE: Final = 4 * 32 + 26
X86_FEATURE_SVM: Final = 6 * 32 + 2
X86_FEATURE_FSGSBASE: Final = 9 * 32 + 0
X86_FEATURE_SMEP: Final = 9 * 32 + 7


@dataclass(slots=True, frozen=True)
class kvm_cpuid_entry2:
    """What CPUID returns for one function (``struct kvm_cpuid_entry2``)."""

    function: u32
    eax: u32 = 0
    ebx: u32 = 0
    ecx: u32 = 0
    edx: u32 = 0


def kvm_find_cpuid_entry(vcpu: kvm_vcpu, function: u32, index: u32) -> kvm_cpuid_entry2 | None:
    """Return what the guest's CPUID returns for *function*, or ``None`` if it is not there.

    There is one entry for each function, whatever *index*.
    """
    setup = vcpu.env.setup
    if function == 1:
        return kvm_cpuid_entry2(function, ecx=setup.cpuid_vmx << 5 | setup.cpuid_xsave << 26)
    if function == 7:
        return kvm_cpuid_entry2(function, ebx=setup.cpuid_smep << 7 | setup.cpuid_fsgsbase)
    if function == 0x80000001:
        return kvm_cpuid_entry2(function, edx=setup.cpuid_rdtscp << 27)
    return None


def kvm_update_cpuid(vcpu: kvm_vcpu) -> None:
    """Stand for bringing CPUID up to date with CR4.OSXSAVE; nothing is updated."""
    vcpu.env.trace.event("update_cpuid")


def cpuid_maxphyaddr(vcpu: kvm_vcpu) -> s32:
    """Return how many bits the guest's physical addresses have."""
    return 40


def is_cpuid_PSE36() -> bool:
    """Tell whether 4M pages of the guest can lie above 4G; they can."""
    return True
