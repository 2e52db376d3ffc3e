# SPDX-License-Identifier: GPL-2.0-only
"""Whether L1 may use VMX, and which controls it may set (vmx.c:1868-1988)."""

from __future__ import annotations

from kvmref.integers import u32, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    CPU_BASED_ACTIVATE_SECONDARY_CONTROLS,
    CPU_BASED_CR3_LOAD_EXITING,
    CPU_BASED_CR3_STORE_EXITING,
    CPU_BASED_CR8_LOAD_EXITING,
    CPU_BASED_CR8_STORE_EXITING,
    CPU_BASED_HLT_EXITING,
    CPU_BASED_INVLPG_EXITING,
    CPU_BASED_MONITOR_EXITING,
    CPU_BASED_MOV_DR_EXITING,
    CPU_BASED_MWAIT_EXITING,
    CPU_BASED_RDPMC_EXITING,
    CPU_BASED_UNCOND_IO_EXITING,
    CPU_BASED_USE_IO_BITMAPS,
    CPU_BASED_USE_MSR_BITMAPS,
    CPU_BASED_USE_TSC_OFFSETING,
    CPU_BASED_VIRTUAL_INTR_PENDING,
    PIN_BASED_EXT_INTR_MASK,
    PIN_BASED_NMI_EXITING,
    PIN_BASED_VIRTUAL_NMIS,
    SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES,
    VM_ENTRY_IA32E_MODE,
    VM_ENTRY_LOAD_IA32_PAT,
    VM_EXIT_HOST_ADDR_SPACE_SIZE,
)
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu
from kvmref.kernel.linux_3_3.include.msr_index import (
    MSR_IA32_VMX_ENTRY_CTLS,
    MSR_IA32_VMX_PROCBASED_CTLS,
    MSR_IA32_VMX_PROCBASED_CTLS2,
)
from kvmref.kernel.linux_3_3.outside.cpuid import X86_FEATURE_VMX, kvm_find_cpuid_entry
from kvmref.kernel.linux_3_3.outside.host import rdmsr
from kvmref.kernel.linux_3_3.vmx.module import kvm_intel
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.processor.interface import Processor


def guest_cpuid_has_vmx(vcpu: kvm_vcpu) -> bool:
    """Tell whether L1's CPUID has VMX.

    Source: arch/x86/kvm/vmx.c:1868-1872
    """
    best = kvm_find_cpuid_entry(vcpu, 1, 0)
    return best is not None and bool(best.ecx & (1 << (X86_FEATURE_VMX & 31)))


def nested_vmx_allowed(vcpu: kvm_vcpu) -> bool:
    """Tell whether L1 may use VMX: by module parameter and by CPUID.

    Source: arch/x86/kvm/vmx.c:1880-1883
    """
    return to_vmx(vcpu).module.nested and guest_cpuid_has_vmx(vcpu)


def nested_vmx_setup_ctls_msrs(module: kvm_intel, processor: Processor) -> None:
    """Determine which controls L1 may set: those of the host that this code supports.

    Source: arch/x86/kvm/vmx.c:1902-1975
    """
    ctls = module.nested_vmx

    # Bits 1, 2 and 4 of the pin-based controls must be one without bit 55 of IA32_VMX_BASIC.
    ctls.pinbased_ctls_low = 0x16
    ctls.pinbased_ctls_high = (
        0x16 | PIN_BASED_EXT_INTR_MASK | PIN_BASED_NMI_EXITING | PIN_BASED_VIRTUAL_NMIS
    )

    ctls.exit_ctls_low = 0
    ctls.exit_ctls_high = VM_EXIT_HOST_ADDR_SPACE_SIZE

    ctls.entry_ctls_low, ctls.entry_ctls_high = rdmsr(processor, MSR_IA32_VMX_ENTRY_CTLS)
    ctls.entry_ctls_low = 0
    ctls.entry_ctls_high &= VM_ENTRY_LOAD_IA32_PAT | VM_ENTRY_IA32E_MODE

    ctls.procbased_ctls_low, ctls.procbased_ctls_high = rdmsr(
        processor, MSR_IA32_VMX_PROCBASED_CTLS
    )
    ctls.procbased_ctls_low = 0
    ctls.procbased_ctls_high &= (
        CPU_BASED_VIRTUAL_INTR_PENDING
        | CPU_BASED_USE_TSC_OFFSETING
        | CPU_BASED_HLT_EXITING
        | CPU_BASED_INVLPG_EXITING
        | CPU_BASED_MWAIT_EXITING
        | CPU_BASED_CR3_LOAD_EXITING
        | CPU_BASED_CR3_STORE_EXITING
        | CPU_BASED_CR8_LOAD_EXITING
        | CPU_BASED_CR8_STORE_EXITING
        | CPU_BASED_MOV_DR_EXITING
        | CPU_BASED_UNCOND_IO_EXITING
        | CPU_BASED_USE_IO_BITMAPS
        | CPU_BASED_MONITOR_EXITING
        | CPU_BASED_RDPMC_EXITING
        | CPU_BASED_ACTIVATE_SECONDARY_CONTROLS
    )
    # L1's MSR bitmap saves exits to L1 even if L0 has none for L2.
    ctls.procbased_ctls_high |= CPU_BASED_USE_MSR_BITMAPS

    ctls.secondary_ctls_low, ctls.secondary_ctls_high = rdmsr(
        processor, MSR_IA32_VMX_PROCBASED_CTLS2
    )
    ctls.secondary_ctls_low = 0
    ctls.secondary_ctls_high &= SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES


def vmx_control_verify(control: u32, low: u32, high: u32) -> bool:
    """Tell whether *control* has all bits of *low* and none but those of *high*.

    Source: arch/x86/kvm/vmx.c:1977-1983
    """
    return ((control & high) | low) == control


def vmx_control_msr(low: u32, high: u32) -> u64:
    """Return a capability MSR made of its halves.

    Source: arch/x86/kvm/vmx.c:1985-1988
    """
    return low | (high << 32)
