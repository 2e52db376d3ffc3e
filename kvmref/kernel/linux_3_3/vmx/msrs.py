# SPDX-License-Identifier: GPL-2.0-only
"""Reading and writing the guest's MSRs (vmx.c:1997-2234)."""

from __future__ import annotations

from kvmref.integers import U32, U64, u32, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import VM_ENTRY_LOAD_IA32_PAT
from kvmref.kernel.linux_3_3.include.kvm_host import GP_VECTOR, kvm_vcpu
from kvmref.kernel.linux_3_3.include.msr_index import (
    MSR_EFER,
    MSR_FS_BASE,
    MSR_GS_BASE,
    MSR_IA32_CR_PAT,
    MSR_IA32_FEATURE_CONTROL,
    MSR_IA32_SYSENTER_CS,
    MSR_IA32_SYSENTER_EIP,
    MSR_IA32_SYSENTER_ESP,
    MSR_IA32_TSC,
    MSR_IA32_VMX_BASIC,
    MSR_IA32_VMX_CR0_FIXED0,
    MSR_IA32_VMX_CR0_FIXED1,
    MSR_IA32_VMX_CR4_FIXED0,
    MSR_IA32_VMX_CR4_FIXED1,
    MSR_IA32_VMX_ENTRY_CTLS,
    MSR_IA32_VMX_EPT_VPID_CAP,
    MSR_IA32_VMX_EXIT_CTLS,
    MSR_IA32_VMX_MISC,
    MSR_IA32_VMX_PINBASED_CTLS,
    MSR_IA32_VMX_PROCBASED_CTLS,
    MSR_IA32_VMX_PROCBASED_CTLS2,
    MSR_IA32_VMX_TRUE_ENTRY_CTLS,
    MSR_IA32_VMX_TRUE_EXIT_CTLS,
    MSR_IA32_VMX_TRUE_PINBASED_CTLS,
    MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
    MSR_IA32_VMX_VMCS_ENUM,
    MSR_KERNEL_GS_BASE,
    MSR_TSC_AUX,
    VMX_BASIC_MEM_TYPE_SHIFT,
    VMX_BASIC_MEM_TYPE_WB,
    VMX_BASIC_VMCS_SIZE_SHIFT,
)
from kvmref.kernel.linux_3_3.outside.host import preempt_disable, preempt_enable
from kvmref.kernel.linux_3_3.outside.msr import kvm_get_msr_common, kvm_set_msr_common
from kvmref.kernel.linux_3_3.outside.time import kvm_write_tsc
from kvmref.kernel.linux_3_3.vmx.host_state import vmx_load_host_state
from kvmref.kernel.linux_3_3.vmx.module import VMXON_CR0_ALWAYSON, VMXON_CR4_ALWAYSON
from kvmref.kernel.linux_3_3.vmx.msr_switch import find_msr_entry
from kvmref.kernel.linux_3_3.vmx.nested_controls import nested_vmx_allowed, vmx_control_msr
from kvmref.kernel.linux_3_3.vmx.segment_cache import vmx_segment_cache_clear
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.tsc import guest_read_tsc
from kvmref.kernel.linux_3_3.vmx.vmcs12 import VMCS12_REVISION, VMCS12_SIZE
from kvmref.kernel.linux_3_3.vmx.vmcs_access import (
    vmcs_read32,
    vmcs_readl,
    vmcs_write32,
    vmcs_write64,
    vmcs_writel,
)
from kvmref.kernel.linux_3_3.x86.exceptions import kvm_queue_exception_e
from kvmref.processor.vmcs_fields import (
    GUEST_FS_BASE,
    GUEST_GS_BASE,
    GUEST_IA32_PAT,
    GUEST_SYSENTER_CS,
    GUEST_SYSENTER_EIP,
    GUEST_SYSENTER_ESP,
)


def vmx_get_vmx_msr(vcpu: kvm_vcpu, msr_index: u32) -> tuple[int, u64]:
    """Read a VMX capability MSR: whether it is one (1 or 0), and its value.

    A guest that may not use VMX gets #GP, and the MSR counts as handled, without a value.

    Source: arch/x86/kvm/vmx.c:1997-2082
    """
    if (
        not nested_vmx_allowed(vcpu)
        and msr_index >= MSR_IA32_VMX_BASIC
        and msr_index <= MSR_IA32_VMX_TRUE_ENTRY_CTLS
    ):
        kvm_queue_exception_e(vcpu, GP_VECTOR, 0)
        return 1, 0

    ctls = to_vmx(vcpu).module.nested_vmx
    if msr_index == MSR_IA32_FEATURE_CONTROL:
        data = 0
    elif msr_index == MSR_IA32_VMX_BASIC:
        data = (
            VMCS12_REVISION
            | (VMCS12_SIZE << VMX_BASIC_VMCS_SIZE_SHIFT)
            | (VMX_BASIC_MEM_TYPE_WB << VMX_BASIC_MEM_TYPE_SHIFT)
        )
    elif msr_index in (MSR_IA32_VMX_TRUE_PINBASED_CTLS, MSR_IA32_VMX_PINBASED_CTLS):
        data = vmx_control_msr(ctls.pinbased_ctls_low, ctls.pinbased_ctls_high)
    elif msr_index in (MSR_IA32_VMX_TRUE_PROCBASED_CTLS, MSR_IA32_VMX_PROCBASED_CTLS):
        data = vmx_control_msr(ctls.procbased_ctls_low, ctls.procbased_ctls_high)
    elif msr_index in (MSR_IA32_VMX_TRUE_EXIT_CTLS, MSR_IA32_VMX_EXIT_CTLS):
        data = vmx_control_msr(ctls.exit_ctls_low, ctls.exit_ctls_high)
    elif msr_index in (MSR_IA32_VMX_TRUE_ENTRY_CTLS, MSR_IA32_VMX_ENTRY_CTLS):
        data = vmx_control_msr(ctls.entry_ctls_low, ctls.entry_ctls_high)
    elif msr_index == MSR_IA32_VMX_MISC:
        data = 0
    elif msr_index == MSR_IA32_VMX_CR0_FIXED0:
        data = VMXON_CR0_ALWAYSON
    elif msr_index == MSR_IA32_VMX_CR0_FIXED1:
        data = U64
    elif msr_index == MSR_IA32_VMX_CR4_FIXED0:
        data = VMXON_CR4_ALWAYSON
    elif msr_index == MSR_IA32_VMX_CR4_FIXED1:
        data = U64
    elif msr_index == MSR_IA32_VMX_VMCS_ENUM:
        data = 0x1F
    elif msr_index == MSR_IA32_VMX_PROCBASED_CTLS2:
        data = vmx_control_msr(ctls.secondary_ctls_low, ctls.secondary_ctls_high)
    elif msr_index == MSR_IA32_VMX_EPT_VPID_CAP:
        data = 0
    else:
        return 0, 0

    return 1, data


def vmx_set_vmx_msr(vcpu: kvm_vcpu, msr_index: u32, data: u64) -> int:
    """Write a VMX capability MSR: whether it was one (1 or 0).

    They are read-only; only IA32_FEATURE_CONTROL takes a value, and forgets it.

    Source: arch/x86/kvm/vmx.c:2084-2097
    """
    if not nested_vmx_allowed(vcpu):
        return 0

    if msr_index == MSR_IA32_FEATURE_CONTROL:
        return 1
    return 0


def vmx_get_msr(vcpu: kvm_vcpu, msr_index: u32) -> tuple[int, u64]:
    """Read an MSR of the guest: 0 and its value, or 1 for #GP.

    C's check for a missing place to store to has nothing to check here.

    Source: arch/x86/kvm/vmx.c:2104-2158
    """
    vmx = to_vmx(vcpu)
    if msr_index == MSR_FS_BASE:
        data = vmcs_readl(vcpu, GUEST_FS_BASE)
    elif msr_index == MSR_GS_BASE:
        data = vmcs_readl(vcpu, GUEST_GS_BASE)
    elif msr_index == MSR_KERNEL_GS_BASE:
        vmx_load_host_state(vmx)
        data = vmx.msr_guest_kernel_gs_base
    elif msr_index == MSR_EFER:
        return kvm_get_msr_common(vcpu, msr_index)
    elif msr_index == MSR_IA32_TSC:
        data = guest_read_tsc(vcpu)
    elif msr_index == MSR_IA32_SYSENTER_CS:
        data = vmcs_read32(vcpu, GUEST_SYSENTER_CS)
    elif msr_index == MSR_IA32_SYSENTER_EIP:
        data = vmcs_readl(vcpu, GUEST_SYSENTER_EIP)
    elif msr_index == MSR_IA32_SYSENTER_ESP:
        data = vmcs_readl(vcpu, GUEST_SYSENTER_ESP)
    else:
        if msr_index == MSR_TSC_AUX and not vmx.rdtscp_enabled:
            return 1, 0
        handled, data = vmx_get_vmx_msr(vcpu, msr_index)
        if handled:
            return 0, data
        msr = find_msr_entry(vmx, msr_index)
        if msr is None:
            return kvm_get_msr_common(vcpu, msr_index)
        data = msr.data

    return 0, data


def vmx_set_msr(vcpu: kvm_vcpu, msr_index: u32, data: u64) -> int:
    """Write an MSR of the guest: 0, or 1 for #GP.

    Source: arch/x86/kvm/vmx.c:2165-2234
    """
    vmx = to_vmx(vcpu)
    ret = 0

    if msr_index == MSR_EFER:
        ret = kvm_set_msr_common(vcpu, msr_index, data)
    elif msr_index == MSR_FS_BASE:
        vmx_segment_cache_clear(vmx)
        vmcs_writel(vcpu, GUEST_FS_BASE, data)
    elif msr_index == MSR_GS_BASE:
        vmx_segment_cache_clear(vmx)
        vmcs_writel(vcpu, GUEST_GS_BASE, data)
    elif msr_index == MSR_KERNEL_GS_BASE:
        vmx_load_host_state(vmx)
        vmx.msr_guest_kernel_gs_base = data
    elif msr_index == MSR_IA32_SYSENTER_CS:
        vmcs_write32(vcpu, GUEST_SYSENTER_CS, data)
    elif msr_index == MSR_IA32_SYSENTER_EIP:
        vmcs_writel(vcpu, GUEST_SYSENTER_EIP, data)
    elif msr_index == MSR_IA32_SYSENTER_ESP:
        vmcs_writel(vcpu, GUEST_SYSENTER_ESP, data)
    elif msr_index == MSR_IA32_TSC:
        kvm_write_tsc(vcpu, data)
    elif (
        msr_index == MSR_IA32_CR_PAT
        and vmx.module.vmcs_config.vmentry_ctrl & VM_ENTRY_LOAD_IA32_PAT
    ):
        vmcs_write64(vcpu, GUEST_IA32_PAT, data)
        vcpu.arch.pat = data & U32
    elif msr_index == MSR_IA32_CR_PAT:
        ret = kvm_set_msr_common(vcpu, msr_index, data)
    else:
        if msr_index == MSR_TSC_AUX:
            if not vmx.rdtscp_enabled:
                return 1
            # The upper half is reserved.
            if (data >> 32) != 0:
                return 1
        if vmx_set_vmx_msr(vcpu, msr_index, data):
            return ret
        msr = find_msr_entry(vmx, msr_index)
        if msr is not None:
            msr.data = data
            if vmx.guest_msrs.index(msr) < vmx.save_nmsrs:
                preempt_disable(vmx.env)
                preempt_enable(vmx.env)
            return ret
        ret = kvm_set_msr_common(vcpu, msr_index, data)

    return ret
