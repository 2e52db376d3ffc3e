# SPDX-License-Identifier: GPL-2.0-only
"""Finding out what the host can do, once, when the module is loaded (vmx.c:2365-2653)."""

from __future__ import annotations

from kvmref.integers import u32
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
    CPU_BASED_TPR_SHADOW,
    CPU_BASED_USE_IO_BITMAPS,
    CPU_BASED_USE_MSR_BITMAPS,
    CPU_BASED_USE_TSC_OFFSETING,
    PIN_BASED_EXT_INTR_MASK,
    PIN_BASED_NMI_EXITING,
    PIN_BASED_VIRTUAL_NMIS,
    SECONDARY_EXEC_ENABLE_EPT,
    SECONDARY_EXEC_ENABLE_VPID,
    SECONDARY_EXEC_PAUSE_LOOP_EXITING,
    SECONDARY_EXEC_RDTSCP,
    SECONDARY_EXEC_UNRESTRICTED_GUEST,
    SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES,
    SECONDARY_EXEC_WBINVD_EXITING,
    VM_ENTRY_LOAD_IA32_EFER,
    VM_ENTRY_LOAD_IA32_PAT,
    VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL,
    VM_EXIT_HOST_ADDR_SPACE_SIZE,
    VM_EXIT_LOAD_IA32_EFER,
    VM_EXIT_LOAD_IA32_PAT,
    VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL,
    VM_EXIT_SAVE_IA32_PAT,
)
from kvmref.kernel.linux_3_3.include.kvm import EIO, ENOMEM
from kvmref.kernel.linux_3_3.include.kvm_host import PAGE_SIZE, struct_kvm, struct_kvm_x86_ops
from kvmref.kernel.linux_3_3.include.msr_index import (
    EFER_NX,
    MSR_IA32_VMX_BASIC,
    MSR_IA32_VMX_ENTRY_CTLS,
    MSR_IA32_VMX_EPT_VPID_CAP,
    MSR_IA32_VMX_EXIT_CTLS,
    MSR_IA32_VMX_PINBASED_CTLS,
    MSR_IA32_VMX_PROCBASED_CTLS,
    MSR_IA32_VMX_PROCBASED_CTLS2,
)
from kvmref.kernel.linux_3_3.outside.allocator import alloc_vmcs_cpu, free_vmcs
from kvmref.kernel.linux_3_3.outside.environment import Environment
from kvmref.kernel.linux_3_3.outside.host import (
    BOOT_CPU_FAMILY,
    BOOT_CPU_HAS_NX,
    BOOT_CPU_MODEL,
    rdmsr,
)
from kvmref.kernel.linux_3_3.outside.mmu import kvm_disable_largepages
from kvmref.kernel.linux_3_3.vmx.capabilities import (
    cpu_has_vmx_ept,
    cpu_has_vmx_ept_2m_page,
    cpu_has_vmx_ept_4levels,
    cpu_has_vmx_flexpriority,
    cpu_has_vmx_ple,
    cpu_has_vmx_tpr_shadow,
    cpu_has_vmx_unrestricted_guest,
    cpu_has_vmx_vpid,
)
from kvmref.kernel.linux_3_3.vmx.module import kvm_intel
from kvmref.kernel.linux_3_3.vmx.nested_controls import nested_vmx_setup_ctls_msrs
from kvmref.kernel.linux_3_3.x86.efer import kvm_enable_efer_bits
from kvmref.processor.interface import Processor


def adjust_vmx_controls(
    processor: Processor, ctl_min: u32, ctl_opt: u32, msr: u32
) -> tuple[int, u32]:
    """Combine controls that are needed and controls that are wanted with what *msr* allows.

    Returns 0 and the controls, or -EIO if a needed one is not to be had.

    Source: arch/x86/kvm/vmx.c:2365-2382
    """
    ctl = ctl_min | ctl_opt

    vmx_msr_low, vmx_msr_high = rdmsr(processor, msr)

    ctl &= vmx_msr_high
    ctl |= vmx_msr_low

    if ctl_min & ~ctl:
        return -EIO, 0

    return 0, ctl


def allow_1_setting(processor: Processor, msr: u32, ctl: u32) -> bool:
    """Tell whether *msr* allows the control *ctl* to be one.

    Source: arch/x86/kvm/vmx.c:2384-2390
    """
    _vmx_msr_low, vmx_msr_high = rdmsr(processor, msr)
    return bool(vmx_msr_high & ctl)


def setup_vmcs_config(module: kvm_intel, processor: Processor) -> int:
    """Determine ``vmcs_config`` from the capability MSRs: 0, or -EIO if the host lacks something.

    The host is family 6, model 42, which is none of the models with the erratum about
    IA32_PERF_GLOBAL_CTRL.

    Source: arch/x86/kvm/vmx.c:2392-2550
    """
    _cpu_based_2nd_exec_control = 0

    min = PIN_BASED_EXT_INTR_MASK | PIN_BASED_NMI_EXITING
    opt = PIN_BASED_VIRTUAL_NMIS
    err, _pin_based_exec_control = adjust_vmx_controls(
        processor, min, opt, MSR_IA32_VMX_PINBASED_CTLS
    )
    if err < 0:
        return -EIO

    min = (
        CPU_BASED_CR8_LOAD_EXITING
        | CPU_BASED_CR8_STORE_EXITING
        | CPU_BASED_CR3_LOAD_EXITING
        | CPU_BASED_CR3_STORE_EXITING
        | CPU_BASED_USE_IO_BITMAPS
        | CPU_BASED_MOV_DR_EXITING
        | CPU_BASED_USE_TSC_OFFSETING
        | CPU_BASED_MWAIT_EXITING
        | CPU_BASED_MONITOR_EXITING
        | CPU_BASED_INVLPG_EXITING
        | CPU_BASED_RDPMC_EXITING
    )

    if module.yield_on_hlt:
        min |= CPU_BASED_HLT_EXITING

    opt = CPU_BASED_TPR_SHADOW | CPU_BASED_USE_MSR_BITMAPS | CPU_BASED_ACTIVATE_SECONDARY_CONTROLS
    err, _cpu_based_exec_control = adjust_vmx_controls(
        processor, min, opt, MSR_IA32_VMX_PROCBASED_CTLS
    )
    if err < 0:
        return -EIO
    if _cpu_based_exec_control & CPU_BASED_TPR_SHADOW:
        _cpu_based_exec_control &= ~CPU_BASED_CR8_LOAD_EXITING & ~CPU_BASED_CR8_STORE_EXITING
    if _cpu_based_exec_control & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS:
        min2 = 0
        opt2 = (
            SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES
            | SECONDARY_EXEC_WBINVD_EXITING
            | SECONDARY_EXEC_ENABLE_VPID
            | SECONDARY_EXEC_ENABLE_EPT
            | SECONDARY_EXEC_UNRESTRICTED_GUEST
            | SECONDARY_EXEC_PAUSE_LOOP_EXITING
            | SECONDARY_EXEC_RDTSCP
        )
        err, _cpu_based_2nd_exec_control = adjust_vmx_controls(
            processor, min2, opt2, MSR_IA32_VMX_PROCBASED_CTLS2
        )
        if err < 0:
            return -EIO
    if _cpu_based_2nd_exec_control & SECONDARY_EXEC_ENABLE_EPT:
        # With EPT, CR3 accesses and INVLPG need not exit.
        _cpu_based_exec_control &= ~(
            CPU_BASED_CR3_LOAD_EXITING | CPU_BASED_CR3_STORE_EXITING | CPU_BASED_INVLPG_EXITING
        )
        module.vmx_capability.ept, module.vmx_capability.vpid = rdmsr(
            processor, MSR_IA32_VMX_EPT_VPID_CAP
        )

    min = VM_EXIT_HOST_ADDR_SPACE_SIZE
    opt = VM_EXIT_SAVE_IA32_PAT | VM_EXIT_LOAD_IA32_PAT
    err, _vmexit_control = adjust_vmx_controls(processor, min, opt, MSR_IA32_VMX_EXIT_CTLS)
    if err < 0:
        return -EIO

    min = 0
    opt = VM_ENTRY_LOAD_IA32_PAT
    err, _vmentry_control = adjust_vmx_controls(processor, min, opt, MSR_IA32_VMX_ENTRY_CTLS)
    if err < 0:
        return -EIO

    vmx_msr_low, vmx_msr_high = rdmsr(processor, MSR_IA32_VMX_BASIC)

    # A VMCS takes 4 KBytes at most (SDM volume 3, appendix A.1).
    if (vmx_msr_high & 0x1FFF) > PAGE_SIZE:
        return -EIO

    # Bit 48 is always 0 on processors with Intel 64 architecture (the same).
    if vmx_msr_high & (1 << 16):
        return -EIO

    # VMCSs are accessed with the write-back memory type.
    if ((vmx_msr_high >> 18) & 15) != 6:
        return -EIO

    vmcs_conf = module.vmcs_config
    vmcs_conf.size = vmx_msr_high & 0x1FFF
    vmcs_conf.revision_id = vmx_msr_low

    vmcs_conf.pin_based_exec_ctrl = _pin_based_exec_control
    vmcs_conf.cpu_based_exec_ctrl = _cpu_based_exec_control
    vmcs_conf.cpu_based_2nd_exec_ctrl = _cpu_based_2nd_exec_control
    vmcs_conf.vmexit_ctrl = _vmexit_control
    vmcs_conf.vmentry_ctrl = _vmentry_control

    module.cpu_has_load_ia32_efer = allow_1_setting(
        processor, MSR_IA32_VMX_ENTRY_CTLS, VM_ENTRY_LOAD_IA32_EFER
    ) and allow_1_setting(processor, MSR_IA32_VMX_EXIT_CTLS, VM_EXIT_LOAD_IA32_EFER)

    module.cpu_has_load_perf_global_ctrl = allow_1_setting(
        processor, MSR_IA32_VMX_ENTRY_CTLS, VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL
    ) and allow_1_setting(processor, MSR_IA32_VMX_EXIT_CTLS, VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL)

    # Bits 34:32 of IA32_PERF_GLOBAL_CTRL may be lost at VM exits of these models.
    if (
        module.cpu_has_load_perf_global_ctrl
        and BOOT_CPU_FAMILY == 6
        and BOOT_CPU_MODEL in (26, 30, 37, 44, 46)
    ):
        module.cpu_has_load_perf_global_ctrl = False

    return 0


def alloc_kvm_area(module: kvm_intel, env: Environment) -> int:
    """Allocate the VMXON region of every CPU: 0, or -ENOMEM.

    Source: arch/x86/kvm/vmx.c:2599-2615
    """
    for cpu in range(len(module.vmxarea)):
        vmcs = alloc_vmcs_cpu(env, cpu)
        if vmcs is None:
            free_kvm_area(module, env)
            return -ENOMEM

        module.vmxarea[cpu] = vmcs
    return 0


def free_kvm_area(module: kvm_intel, env: Environment) -> None:
    """Free the VMXON regions.

    Source: arch/x86/kvm/vmx.c:2589-2597
    """
    for cpu, vmcs in enumerate(module.vmxarea):
        if vmcs is not None:
            free_vmcs(env, vmcs)
        module.vmxarea[cpu] = None


def hardware_setup(
    module: kvm_intel, kvm: struct_kvm, ops: struct_kvm_x86_ops, env: Environment
) -> int:
    """Set up the module: lower its parameters to what the host has. 0, or a negative error.

    Source: arch/x86/kvm/vmx.c:2617-2653
    """
    if setup_vmcs_config(module, env.processor) < 0:
        return -EIO

    if BOOT_CPU_HAS_NX:
        kvm_enable_efer_bits(kvm, EFER_NX)

    if not cpu_has_vmx_vpid(module):
        module.enable_vpid = False

    if not cpu_has_vmx_ept(module) or not cpu_has_vmx_ept_4levels(module):
        module.enable_ept = False
        module.enable_unrestricted_guest = False

    if not cpu_has_vmx_unrestricted_guest(module):
        module.enable_unrestricted_guest = False

    if not cpu_has_vmx_flexpriority(module):
        module.flexpriority_enabled = False

    if not cpu_has_vmx_tpr_shadow(module):
        ops.update_cr8_intercept = None

    if module.enable_ept and not cpu_has_vmx_ept_2m_page(module):
        kvm_disable_largepages()

    if not cpu_has_vmx_ple(module):
        module.ple_gap = 0

    if module.nested:
        nested_vmx_setup_ctls_msrs(module, env.processor)

    return alloc_kvm_area(module, env)
