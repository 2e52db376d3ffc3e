# SPDX-License-Identifier: GPL-2.0-only
"""Forgetting translations: INVVPID and INVEPT (vmx.c:900-1037, 2877-2885, 3007-3017)."""

from __future__ import annotations

from kvmref.integers import u16, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    VMX_EPT_DEFAULT_GAW,
    VMX_EPT_DEFAULT_MT,
    VMX_EPT_EXTENT_CONTEXT,
    VMX_EPT_EXTENT_GLOBAL,
    VMX_EPT_GAW_EPTP_SHIFT,
    VMX_VPID_EXTENT_ALL_CONTEXT,
    VMX_VPID_EXTENT_SINGLE_CONTEXT,
)
from kvmref.kernel.linux_3_3.include.kvm_host import INVALID_PAGE, PAGE_MASK, kvm_vcpu
from kvmref.kernel.linux_3_3.outside.environment import Environment
from kvmref.kernel.linux_3_3.vmx.capabilities import (
    cpu_has_vmx_invept_context,
    cpu_has_vmx_invept_global,
    cpu_has_vmx_invvpid_global,
    cpu_has_vmx_invvpid_single,
)
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx, vcpu_vmx


def __invvpid(env: Environment, ext: int, vpid: u16, gva: u64) -> None:
    """Execute INVVPID of type *ext*."""
    env.trace.event(("invvpid", ext, vpid))
    env.processor.invvpid(ext, vpid, gva)


def __invept(env: Environment, ext: int, eptp: u64) -> None:
    """Execute INVEPT of type *ext*."""
    env.trace.event(("invept", ext, eptp))
    env.processor.invept(ext, eptp)


def vpid_sync_vcpu_single(vmx: vcpu_vmx) -> None:
    """Forget the translations of this virtual CPU.

    Source: arch/x86/kvm/vmx.c:989-996
    """
    if vmx.vpid == 0:
        return

    if cpu_has_vmx_invvpid_single(vmx.module):
        __invvpid(vmx.env, VMX_VPID_EXTENT_SINGLE_CONTEXT, vmx.vpid, 0)


def vpid_sync_vcpu_global(vmx: vcpu_vmx) -> None:
    """Forget the translations of all virtual CPUs.

    Source: arch/x86/kvm/vmx.c:998-1002
    """
    if cpu_has_vmx_invvpid_global(vmx.module):
        __invvpid(vmx.env, VMX_VPID_EXTENT_ALL_CONTEXT, 0, 0)


def vpid_sync_context(vmx: vcpu_vmx) -> None:
    """Forget the translations of this virtual CPU, or of all where the host knows no better.

    Source: arch/x86/kvm/vmx.c:1004-1010
    """
    if cpu_has_vmx_invvpid_single(vmx.module):
        vpid_sync_vcpu_single(vmx)
    else:
        vpid_sync_vcpu_global(vmx)


def ept_sync_global(vmx: vcpu_vmx) -> None:
    """Forget the translations of all EPT paging structures.

    Source: arch/x86/kvm/vmx.c:1012-1016
    """
    if cpu_has_vmx_invept_global(vmx.module):
        __invept(vmx.env, VMX_EPT_EXTENT_GLOBAL, 0)


def ept_sync_context(vmx: vcpu_vmx, eptp: u64) -> None:
    """Forget the translations of the EPT paging structures at *eptp*, or of all.

    Source: arch/x86/kvm/vmx.c:1018-1026
    """
    if vmx.module.enable_ept:
        if cpu_has_vmx_invept_context(vmx.module):
            __invept(vmx.env, VMX_EPT_EXTENT_CONTEXT, eptp)
        else:
            ept_sync_global(vmx)


def vmx_flush_tlb(vcpu: kvm_vcpu) -> None:
    """Forget the translations of the guest.

    Source: arch/x86/kvm/vmx.c:2877-2885
    """
    vmx = to_vmx(vcpu)
    vpid_sync_context(vmx)
    if vmx.module.enable_ept:
        if vcpu.arch.mmu.root_hpa == INVALID_PAGE:
            return
        ept_sync_context(vmx, construct_eptp(vcpu.arch.mmu.root_hpa))


def construct_eptp(root_hpa: u64) -> u64:
    """Return the EPT pointer for the paging structures at *root_hpa*.

    Source: arch/x86/kvm/vmx.c:3007-3017
    """
    eptp = VMX_EPT_DEFAULT_MT | VMX_EPT_DEFAULT_GAW << VMX_EPT_GAW_EPTP_SHIFT
    eptp |= root_hpa & PAGE_MASK

    return eptp
