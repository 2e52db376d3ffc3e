# SPDX-License-Identifier: GPL-2.0-only
"""``x86.c``, RFLAGS: what the guest would see of its flags."""

from __future__ import annotations

from kvmref.integers import u64
from kvmref.kernel.linux_3_3.include.kvm import KVM_GUESTDBG_SINGLESTEP
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu
from kvmref.kernel.linux_3_3.include.processor_flags import X86_EFLAGS_TF


def kvm_get_rflags(vcpu: kvm_vcpu) -> u64:
    """Return RFLAGS, without the TF that user space has set to single-step the guest.

    Source: arch/x86/kvm/x86.c:6220-6228
    """
    rflags: u64

    rflags = vcpu.kvm_x86_ops.get_rflags(vcpu)
    if vcpu.guest_debug & KVM_GUESTDBG_SINGLESTEP:
        rflags &= ~X86_EFLAGS_TF
    return rflags
