# SPDX-License-Identifier: GPL-2.0-only
"""What L0 itself puts into the execution controls of a VMCS (vmx.c:3670-3714)."""

from __future__ import annotations

from kvmref.integers import U64, u32
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    CPU_BASED_CR3_LOAD_EXITING,
    CPU_BASED_CR3_STORE_EXITING,
    CPU_BASED_CR8_LOAD_EXITING,
    CPU_BASED_CR8_STORE_EXITING,
    CPU_BASED_INVLPG_EXITING,
    CPU_BASED_TPR_SHADOW,
    SECONDARY_EXEC_ENABLE_EPT,
    SECONDARY_EXEC_ENABLE_VPID,
    SECONDARY_EXEC_PAUSE_LOOP_EXITING,
    SECONDARY_EXEC_UNRESTRICTED_GUEST,
    SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES,
)
from kvmref.kernel.linux_3_3.include.processor_flags import X86_CR4_PGE
from kvmref.kernel.linux_3_3.kvm_cache_regs import is_guest_mode
from kvmref.kernel.linux_3_3.vmx.capabilities import (
    vm_need_tpr_shadow,
    vm_need_virtualize_apic_accesses,
)
from kvmref.kernel.linux_3_3.vmx.module import KVM_CR4_GUEST_OWNED_BITS
from kvmref.kernel.linux_3_3.vmx.nested_pages import get_vmcs12
from kvmref.kernel.linux_3_3.vmx.structs import vcpu_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_writel
from kvmref.processor.vmcs_fields import CR4_GUEST_HOST_MASK


def set_cr4_guest_host_mask(vmx: vcpu_vmx) -> None:
    """Decide which bits of CR4 the guest owns; of L2's, L1 may take some away.

    Source: arch/x86/kvm/vmx.c:3670-3679
    """
    vmx.arch.cr4_guest_owned_bits = KVM_CR4_GUEST_OWNED_BITS
    if vmx.module.enable_ept:
        vmx.arch.cr4_guest_owned_bits |= X86_CR4_PGE
    if is_guest_mode(vmx):
        vmx.arch.cr4_guest_owned_bits &= ~get_vmcs12(vmx).cr4_guest_host_mask
    vmcs_writel(vmx, CR4_GUEST_HOST_MASK, ~vmx.arch.cr4_guest_owned_bits & U64)


def vmx_exec_control(vmx: vcpu_vmx) -> u32:
    """Return L0's primary processor-based controls.

    Source: arch/x86/kvm/vmx.c:3681-3696
    """
    exec_control = vmx.module.vmcs_config.cpu_based_exec_ctrl
    if not vm_need_tpr_shadow(vmx.module, vmx.kvm):
        exec_control &= ~CPU_BASED_TPR_SHADOW
        exec_control |= CPU_BASED_CR8_STORE_EXITING | CPU_BASED_CR8_LOAD_EXITING
    if not vmx.module.enable_ept:
        exec_control |= (
            CPU_BASED_CR3_STORE_EXITING | CPU_BASED_CR3_LOAD_EXITING | CPU_BASED_INVLPG_EXITING
        )
    return exec_control


def vmx_secondary_exec_control(vmx: vcpu_vmx) -> u32:
    """Return L0's secondary processor-based controls.

    Source: arch/x86/kvm/vmx.c:3698-3714
    """
    module = vmx.module
    exec_control = module.vmcs_config.cpu_based_2nd_exec_ctrl
    if not vm_need_virtualize_apic_accesses(module, vmx.kvm):
        exec_control &= ~SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES
    if vmx.vpid == 0:
        exec_control &= ~SECONDARY_EXEC_ENABLE_VPID
    if not module.enable_ept:
        exec_control &= ~SECONDARY_EXEC_ENABLE_EPT
        module.enable_unrestricted_guest = False
    if not module.enable_unrestricted_guest:
        exec_control &= ~SECONDARY_EXEC_UNRESTRICTED_GUEST
    if not module.ple_gap:
        exec_control &= ~SECONDARY_EXEC_PAUSE_LOOP_EXITING
    return exec_control
