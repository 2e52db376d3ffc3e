# SPDX-License-Identifier: GPL-2.0-only
"""Which exceptions of the guest exit (vmx.c:1169-1195)."""

from __future__ import annotations

from kvmref.integers import U32
from kvmref.kernel.linux_3_3.include.kvm import KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_USE_SW_BP
from kvmref.kernel.linux_3_3.include.kvm_host import (
    BP_VECTOR,
    DB_VECTOR,
    MC_VECTOR,
    NM_VECTOR,
    PF_VECTOR,
    UD_VECTOR,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.kvm_cache_regs import is_guest_mode
from kvmref.kernel.linux_3_3.vmx.nested_pages import get_vmcs12
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_write32
from kvmref.processor.vmcs_fields import EXCEPTION_BITMAP


def update_exception_bitmap(vcpu: kvm_vcpu) -> None:
    """Write EXCEPTION_BITMAP: what L0 needs, and for L2 also what L1 asks for.

    Source: arch/x86/kvm/vmx.c:1169-1195
    """
    vmx = to_vmx(vcpu)
    eb = (
        (1 << PF_VECTOR) | (1 << UD_VECTOR) | (1 << MC_VECTOR) | (1 << NM_VECTOR) | (1 << DB_VECTOR)
    )
    if (vcpu.guest_debug & (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP)) == (
        KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP
    ):
        eb |= 1 << BP_VECTOR
    if vmx.rmode.vm86_active:
        eb = U32
    if vmx.module.enable_ept:
        eb &= ~(1 << PF_VECTOR)
    if vcpu.fpu_active:
        eb &= ~(1 << NM_VECTOR)

    # What L1 wants to see of L2 has to come to L0 first.
    if is_guest_mode(vcpu):
        eb |= get_vmcs12(vcpu).exception_bitmap

    vmcs_write32(vcpu, EXCEPTION_BITMAP, eb)
