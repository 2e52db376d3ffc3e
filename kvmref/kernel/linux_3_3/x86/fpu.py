# SPDX-License-Identifier: GPL-2.0-only
"""``x86.c``, FPU and XCR0: whose state is loaded, the guest's or the host's.

Loading is lazy, in both directions. The state itself does not exist here.
"""

from __future__ import annotations

from kvmref.kernel.linux_3_3.include.kvm_host import (
    KVM_REQ_DEACTIVATE_FPU,
    XCR_XFEATURE_ENABLED_MASK,
    kvm_make_request,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.processor_flags import X86_CR4_OSXSAVE
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_read_cr4_bits
from kvmref.kernel.linux_3_3.outside.fpu import (
    fpu_restore_checking,
    fpu_save_init,
    unlazy_fpu,
    xsetbv,
)


def kvm_load_guest_xcr0(vcpu: kvm_vcpu) -> None:
    """Load the guest's XCR0, if the guest uses XSAVE.

    Source: arch/x86/kvm/x86.c:5099-5107
    """
    if kvm_read_cr4_bits(vcpu, X86_CR4_OSXSAVE) and not vcpu.guest_xcr0_loaded:
        xsetbv(vcpu.env, XCR_XFEATURE_ENABLED_MASK, vcpu.arch.xcr0)
        vcpu.guest_xcr0_loaded = 1


def kvm_put_guest_xcr0(vcpu: kvm_vcpu) -> None:
    """Load the host's XCR0, if the guest's is loaded and differs.

    Source: arch/x86/kvm/x86.c:5109-5116
    """
    if vcpu.guest_xcr0_loaded:
        if vcpu.arch.xcr0 != vcpu.kvm.host_xcr0:
            xsetbv(vcpu.env, XCR_XFEATURE_ENABLED_MASK, vcpu.kvm.host_xcr0)
        vcpu.guest_xcr0_loaded = 0


def kvm_load_guest_fpu(vcpu: kvm_vcpu) -> None:
    """Load the guest's FPU state, under the host's XCR0.

    Source: arch/x86/kvm/x86.c:5825-5840
    """
    if vcpu.guest_fpu_loaded:
        return

    kvm_put_guest_xcr0(vcpu)
    vcpu.guest_fpu_loaded = 1
    unlazy_fpu(vcpu.env)
    fpu_restore_checking(vcpu.env)


def kvm_put_guest_fpu(vcpu: kvm_vcpu) -> None:
    """Save the guest's FPU state, under the host's XCR0.

    Source: arch/x86/kvm/x86.c:5842-5854
    """
    kvm_put_guest_xcr0(vcpu)

    if not vcpu.guest_fpu_loaded:
        return

    vcpu.guest_fpu_loaded = 0
    fpu_save_init(vcpu.env)
    vcpu.stat.fpu_reload += 1
    kvm_make_request(KVM_REQ_DEACTIVATE_FPU, vcpu)
