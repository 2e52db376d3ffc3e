# SPDX-License-Identifier: GPL-2.0-only
"""What the host can do, and what L1 asks for (vmx.c:722-877).

The host's abilities are those that ``vmcs_config`` has kept, after must-be-one and may-be-one bits.
"""

from __future__ import annotations

from kvmref.integers import u32
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    CPU_BASED_ACTIVATE_SECONDARY_CONTROLS,
    CPU_BASED_TPR_SHADOW,
    CPU_BASED_USE_MSR_BITMAPS,
    PIN_BASED_VIRTUAL_NMIS,
    SECONDARY_EXEC_ENABLE_EPT,
    SECONDARY_EXEC_ENABLE_VPID,
    SECONDARY_EXEC_PAUSE_LOOP_EXITING,
    SECONDARY_EXEC_RDTSCP,
    SECONDARY_EXEC_UNRESTRICTED_GUEST,
    SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES,
    VMX_EPT_2MB_PAGE_BIT,
    VMX_EPT_EXTENT_CONTEXT_BIT,
    VMX_EPT_EXTENT_GLOBAL_BIT,
    VMX_EPT_PAGE_WALK_4_BIT,
    VMX_VPID_EXTENT_GLOBAL_CONTEXT_BIT,
    VMX_VPID_EXTENT_SINGLE_CONTEXT_BIT,
)
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu, struct_kvm
from kvmref.kernel.linux_3_3.vmx.module import kvm_intel
from kvmref.kernel.linux_3_3.vmx.vmcs12 import struct_vmcs12


def cpu_has_vmx_msr_bitmap(module: kvm_intel) -> bool:
    """Tell whether the host can use MSR bitmaps.

    Source: arch/x86/kvm/vmx.c:722-725
    """
    return bool(module.vmcs_config.cpu_based_exec_ctrl & CPU_BASED_USE_MSR_BITMAPS)


def cpu_has_vmx_tpr_shadow(module: kvm_intel) -> bool:
    """Tell whether the host has a TPR shadow.

    Source: arch/x86/kvm/vmx.c:727-730
    """
    return bool(module.vmcs_config.cpu_based_exec_ctrl & CPU_BASED_TPR_SHADOW)


def vm_need_tpr_shadow(module: kvm_intel, kvm: struct_kvm) -> bool:
    """Tell whether guests run with a TPR shadow: if there is one and L0 has the local APIC.

    Source: arch/x86/kvm/vmx.c:732-735
    """
    return cpu_has_vmx_tpr_shadow(module) and kvm.irqchip_in_kernel


def cpu_has_secondary_exec_ctrls(module: kvm_intel) -> bool:
    """Tell whether the host has secondary processor-based controls.

    Source: arch/x86/kvm/vmx.c:737-741
    """
    return bool(module.vmcs_config.cpu_based_exec_ctrl & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS)


def cpu_has_vmx_virtualize_apic_accesses(module: kvm_intel) -> bool:
    """Tell whether the host can virtualize APIC accesses.

    Source: arch/x86/kvm/vmx.c:743-747
    """
    return bool(
        module.vmcs_config.cpu_based_2nd_exec_ctrl & SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES
    )


def cpu_has_vmx_flexpriority(module: kvm_intel) -> bool:
    """Tell whether the host has what FlexPriority consists of.

    Source: arch/x86/kvm/vmx.c:749-753
    """
    return cpu_has_vmx_tpr_shadow(module) and cpu_has_vmx_virtualize_apic_accesses(module)


def cpu_has_vmx_ept_2m_page(module: kvm_intel) -> bool:
    """Tell whether the host has 2-MByte pages in EPT.

    Source: arch/x86/kvm/vmx.c:770-773
    """
    return bool(module.vmx_capability.ept & VMX_EPT_2MB_PAGE_BIT)


def cpu_has_vmx_ept_4levels(module: kvm_intel) -> bool:
    """Tell whether the host walks EPT in four levels.

    Source: arch/x86/kvm/vmx.c:780-783
    """
    return bool(module.vmx_capability.ept & VMX_EPT_PAGE_WALK_4_BIT)


def cpu_has_vmx_invept_context(module: kvm_intel) -> bool:
    """Tell whether the host has single-context INVEPT.

    Source: arch/x86/kvm/vmx.c:790-793
    """
    return bool(module.vmx_capability.ept & VMX_EPT_EXTENT_CONTEXT_BIT)


def cpu_has_vmx_invept_global(module: kvm_intel) -> bool:
    """Tell whether the host has all-context INVEPT.

    Source: arch/x86/kvm/vmx.c:795-798
    """
    return bool(module.vmx_capability.ept & VMX_EPT_EXTENT_GLOBAL_BIT)


def cpu_has_vmx_invvpid_single(module: kvm_intel) -> bool:
    """Tell whether the host has single-context INVVPID.

    Source: arch/x86/kvm/vmx.c:800-803
    """
    return bool(module.vmx_capability.vpid & VMX_VPID_EXTENT_SINGLE_CONTEXT_BIT)


def cpu_has_vmx_invvpid_global(module: kvm_intel) -> bool:
    """Tell whether the host has all-context INVVPID.

    Source: arch/x86/kvm/vmx.c:805-808
    """
    return bool(module.vmx_capability.vpid & VMX_VPID_EXTENT_GLOBAL_CONTEXT_BIT)


def cpu_has_vmx_ept(module: kvm_intel) -> bool:
    """Tell whether the host has EPT.

    Source: arch/x86/kvm/vmx.c:810-814
    """
    return bool(module.vmcs_config.cpu_based_2nd_exec_ctrl & SECONDARY_EXEC_ENABLE_EPT)


def cpu_has_vmx_unrestricted_guest(module: kvm_intel) -> bool:
    """Tell whether the host can run unrestricted guests.

    Source: arch/x86/kvm/vmx.c:816-820
    """
    return bool(module.vmcs_config.cpu_based_2nd_exec_ctrl & SECONDARY_EXEC_UNRESTRICTED_GUEST)


def cpu_has_vmx_ple(module: kvm_intel) -> bool:
    """Tell whether the host can exit from loops of PAUSE.

    Source: arch/x86/kvm/vmx.c:822-826
    """
    return bool(module.vmcs_config.cpu_based_2nd_exec_ctrl & SECONDARY_EXEC_PAUSE_LOOP_EXITING)


def vm_need_virtualize_apic_accesses(module: kvm_intel, kvm: struct_kvm) -> bool:
    """Tell whether APIC accesses are virtualized: if FlexPriority is on and L0 has the local APIC.

    Source: arch/x86/kvm/vmx.c:828-831
    """
    return module.flexpriority_enabled and kvm.irqchip_in_kernel


def cpu_has_vmx_vpid(module: kvm_intel) -> bool:
    """Tell whether the host has VPIDs.

    Source: arch/x86/kvm/vmx.c:833-837
    """
    return bool(module.vmcs_config.cpu_based_2nd_exec_ctrl & SECONDARY_EXEC_ENABLE_VPID)


def cpu_has_vmx_rdtscp(module: kvm_intel) -> bool:
    """Tell whether the host lets guests use RDTSCP.

    Source: arch/x86/kvm/vmx.c:839-843
    """
    return bool(module.vmcs_config.cpu_based_2nd_exec_ctrl & SECONDARY_EXEC_RDTSCP)


def cpu_has_virtual_nmis(module: kvm_intel) -> bool:
    """Tell whether the host has virtual NMIs.

    Source: arch/x86/kvm/vmx.c:845-848
    """
    return bool(module.vmcs_config.pin_based_exec_ctrl & PIN_BASED_VIRTUAL_NMIS)


def nested_cpu_has(vmcs12: struct_vmcs12, bit: u32) -> bool:
    """Tell whether L1 sets *bit* in its primary processor-based controls.

    Source: arch/x86/kvm/vmx.c:861-864
    """
    return bool(vmcs12.cpu_based_vm_exec_control & bit)


def nested_cpu_has2(vmcs12: struct_vmcs12, bit: u32) -> bool:
    """Tell whether L1 activates the secondary controls and sets *bit* in them.

    Source: arch/x86/kvm/vmx.c:866-871
    """
    return bool(
        vmcs12.cpu_based_vm_exec_control & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS
        and vmcs12.secondary_vm_exec_control & bit
    )


def nested_cpu_has_virtual_nmis(vmcs12: struct_vmcs12, vcpu: kvm_vcpu) -> bool:
    """Tell whether L1 runs L2 with virtual NMIs.

    Source: arch/x86/kvm/vmx.c:873-877
    """
    return bool(vmcs12.pin_based_vm_exec_control & PIN_BASED_VIRTUAL_NMIS)
