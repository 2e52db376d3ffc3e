# SPDX-License-Identifier: GPL-2.0-only
"""Making a virtual CPU on a host: what happens before L1 runs for the first time.

What vmx_init and vmx_create_vcpu do in the kernel, and what user space does to bring L1 where it
starts, reduced to the calls that leave something behind.
"""

from __future__ import annotations

from kvmref.integers import u16, u32, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    CPU_BASED_ACTIVATE_SECONDARY_CONTROLS,
    CPU_BASED_TPR_SHADOW,
    PIN_BASED_VIRTUAL_NMIS,
)
from kvmref.kernel.linux_3_3.include.kvm_host import (
    KVM_REQ_EVENT,
    VCPU_EXREG_CR3,
    VCPU_REGS_RDX,
    VCPU_REGS_RSP,
    VCPU_SREG_CS,
    VCPU_SREG_DS,
    VCPU_SREG_ES,
    VCPU_SREG_FS,
    VCPU_SREG_GS,
    VCPU_SREG_LDTR,
    VCPU_SREG_SS,
    VCPU_SREG_TR,
    kvm_lapic,
    kvm_make_request,
    struct_kvm,
    struct_kvm_x86_ops,
)
from kvmref.kernel.linux_3_3.include.msr_index import (
    MSR_EFER,
    MSR_FS_BASE,
    MSR_GS_BASE,
    MSR_IA32_CR_PAT,
    MSR_IA32_SYSENTER_CS,
    MSR_IA32_SYSENTER_EIP,
    MSR_IA32_SYSENTER_ESP,
    MSR_IA32_VMX_BASIC,
    MSR_IA32_VMX_ENTRY_CTLS,
    MSR_IA32_VMX_EPT_VPID_CAP,
    MSR_IA32_VMX_EXIT_CTLS,
    MSR_IA32_VMX_PINBASED_CTLS,
    MSR_IA32_VMX_PROCBASED_CTLS,
    MSR_IA32_VMX_PROCBASED_CTLS2,
    MSR_KERNEL_GS_BASE,
)
from kvmref.kernel.linux_3_3.include.processor_flags import DR6_FIXED_1, DR7_FIXED_1
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_register_write, kvm_rip_write
from kvmref.kernel.linux_3_3.outside.environment import Environment
from kvmref.kernel.linux_3_3.outside.host import APIC_ACCESS_PAGE, EPT_IDENTITY_MAP_ADDR, TSS_ADDR
from kvmref.kernel.linux_3_3.outside.mmu import init_kvm_mmu, kvm_mmu_reset_context
from kvmref.kernel.linux_3_3.vmx.control_registers import vmx_set_cr0, vmx_set_cr4, vmx_set_efer
from kvmref.kernel.linux_3_3.vmx.hardware_setup import hardware_setup
from kvmref.kernel.linux_3_3.vmx.host_state import vmx_vcpu_load, vmx_vcpu_put
from kvmref.kernel.linux_3_3.vmx.loaded_vmcs import alloc_vmcs, loaded_vmcs_init
from kvmref.kernel.linux_3_3.vmx.module import kvm_intel
from kvmref.kernel.linux_3_3.vmx.nested_controls import vmx_control_msr
from kvmref.kernel.linux_3_3.vmx.ops import vmx_x86_ops
from kvmref.kernel.linux_3_3.vmx.rflags import vmx_set_rflags
from kvmref.kernel.linux_3_3.vmx.segments import (
    kvm_segment,
    vmx_set_gdt,
    vmx_set_idt,
    vmx_set_segment,
)
from kvmref.kernel.linux_3_3.vmx.structs import NO_VMPTR, struct_loaded_vmcs, vcpu_vmx
from kvmref.kernel.linux_3_3.vmx.vcpu_setup import vmx_cpuid_update, vmx_vcpu_reset, vmx_vcpu_setup
from kvmref.kernel.setup import Setup


def capability_msrs(setup: Setup) -> dict[u32, u64]:
    """Return the MSRs of the host that are not zero: VMX capabilities, and the kernel's own."""
    pin_hi = setup.pin_hi if setup.virtual_nmis else setup.pin_hi & ~PIN_BASED_VIRTUAL_NMIS
    proc_hi = setup.proc_hi
    if not setup.tpr_shadow:
        proc_hi &= ~CPU_BASED_TPR_SHADOW
    if not setup.secondary:
        proc_hi &= ~CPU_BASED_ACTIVATE_SECONDARY_CONTROLS
    return {
        MSR_FS_BASE: 0x7F0000001000,
        MSR_GS_BASE: 0xFFFF88003FC00000,
        MSR_KERNEL_GS_BASE: 0x5000,
        MSR_IA32_SYSENTER_CS: 0x10,
        MSR_IA32_SYSENTER_ESP: 0xFFFF88003FC0E000,
        MSR_IA32_SYSENTER_EIP: 0xFFFFFFFF81600000,
        MSR_IA32_CR_PAT: 0x7010600070106,
        MSR_EFER: setup.host_efer,
        MSR_IA32_VMX_BASIC: setup.vmx_basic,
        MSR_IA32_VMX_PINBASED_CTLS: vmx_control_msr(setup.pin_lo, pin_hi),
        MSR_IA32_VMX_PROCBASED_CTLS: vmx_control_msr(setup.proc_lo, proc_hi),
        MSR_IA32_VMX_PROCBASED_CTLS2: vmx_control_msr(setup.sec_lo, setup.sec_hi),
        MSR_IA32_VMX_EXIT_CTLS: vmx_control_msr(setup.exit_lo, setup.exit_hi),
        MSR_IA32_VMX_ENTRY_CTLS: vmx_control_msr(setup.entry_lo, setup.entry_hi),
        MSR_IA32_VMX_EPT_VPID_CAP: setup.ept_vpid_cap,
    }


def load_module(
    setup: Setup, kvm: struct_kvm, env: Environment
) -> tuple[kvm_intel, struct_kvm_x86_ops]:
    """Load kvm-intel with the parameters of *setup*: its variables, and its functions."""
    module = kvm_intel(
        enable_ept=setup.enable_ept,
        enable_vpid=setup.enable_vpid,
        enable_unrestricted_guest=setup.enable_unrestricted_guest,
        flexpriority_enabled=setup.flexpriority,
        yield_on_hlt=setup.yield_on_hlt,
        nested=setup.nested,
        ple_gap=setup.ple_gap,
        host_efer=env.processor.rdmsr(MSR_EFER),
    )
    ops = vmx_x86_ops()
    if hardware_setup(module, kvm, ops, env) < 0:
        raise UnsupportedHostError("the host's VMX capability MSRs lack something that KVM needs")
    return module, ops


class UnsupportedHostError(ValueError):
    """KVM refuses to load on the host that a setup describes."""


def create_vcpu(setup: Setup, env: Environment) -> vcpu_vmx:
    """Make a virtual machine with one virtual CPU, reset it, and bring it to the start of L1."""
    kvm = struct_kvm(
        irqchip_in_kernel=setup.irqchip,
        tss_addr=TSS_ADDR,
        apic_access_page_addr=APIC_ACCESS_PAGE,
        ept_identity_map_addr=EPT_IDENTITY_MAP_ADDR,
    )
    module, ops = load_module(setup, kvm, env)

    vmcs01 = struct_loaded_vmcs(vmcs=alloc_vmcs(env))
    assert vmcs01.vmcs is not None
    vmcs01.vmcs.name = "01"
    vmx = vcpu_vmx(
        kvm=kvm,
        kvm_x86_ops=ops,
        processor=env.processor,
        env=env,
        module=module,
        vmcs01=vmcs01,
        loaded_vmcs=vmcs01,
        vpid=int(module.enable_vpid),
    )
    if setup.irqchip:
        vmx.arch.apic = kvm_lapic()
    loaded_vmcs_init(env, vmcs01)

    vmx_vcpu_load(vmx, 0)
    vmx.cpu = 0
    vmx_vcpu_setup(vmx)
    vmx_vcpu_put(vmx)
    vmx.nested.current_vmptr = NO_VMPTR
    vmx_vcpu_load(vmx, 0)

    vmx.arch.dr6 = DR6_FIXED_1
    vmx.arch.dr7 = DR7_FIXED_1
    kvm_make_request(KVM_REQ_EVENT, vmx)
    vmx_vcpu_reset(vmx)
    init_kvm_mmu(vmx)
    vmx_cpuid_update(vmx)
    vmx.guest_debug = setup.guest_debug
    _start_l1(vmx, setup)
    return vmx


def _start_l1(vmx: vcpu_vmx, setup: Setup) -> None:
    """Set the registers of L1, as user space would."""
    vmx_set_idt(vmx, 0xFFF, 0x6000)
    vmx_set_gdt(vmx, 0x7F, 0x7000)
    vmx.arch.cr3 = setup.l1_cr3
    vmx.arch.regs_avail |= 1 << VCPU_EXREG_CR3
    vmx_set_efer(vmx, setup.l1_efer)
    vmx_set_cr0(vmx, setup.l1_cr0)
    vmx.arch.cr0 = setup.l1_cr0
    vmx_set_cr4(vmx, setup.l1_cr4)
    kvm_mmu_reset_context(vmx)

    vmx_set_segment(vmx, _segment(setup.l1_cs_sel, 0, 0xFFFFFFFF, setup.l1_cs_ar), VCPU_SREG_CS)
    vmx_set_segment(vmx, _segment(0x18, 0, 0xFFFFFFFF, 0xC093), VCPU_SREG_DS)
    vmx_set_segment(vmx, _segment(0x18, 0, 0xFFFFFFFF, 0xC093), VCPU_SREG_ES)
    vmx_set_segment(vmx, _segment(0, 0x100, 0xFFFFFFFF, 0xC093), VCPU_SREG_FS)
    vmx_set_segment(vmx, _segment(0, 0x200, 0xFFFFFFFF, 0xC093), VCPU_SREG_GS)
    vmx_set_segment(vmx, _segment(0x18, 0, 0xFFFFFFFF, 0xC093), VCPU_SREG_SS)
    vmx_set_segment(vmx, _segment(0x40, 0x5000, 0x67, 0x8B), VCPU_SREG_TR)
    vmx_set_segment(vmx, _segment(0, 0, 0xFFFF, 0x10000), VCPU_SREG_LDTR)

    kvm_register_write(vmx, VCPU_REGS_RDX, 0)
    kvm_register_write(vmx, VCPU_REGS_RSP, setup.l1_rsp)
    kvm_rip_write(vmx, setup.l1_rip)
    vmx_set_rflags(vmx, setup.l1_rflags)
    kvm_make_request(KVM_REQ_EVENT, vmx)


def _segment(selector: u16, base: u64, limit: u32, ar: u32) -> kvm_segment:
    """Return a segment register with the access rights *ar*, in the format of a VMCS."""
    return kvm_segment(
        base=base,
        limit=limit,
        selector=selector,
        type=ar & 15,
        s=(ar >> 4) & 1,
        dpl=(ar >> 5) & 3,
        present=(ar >> 7) & 1,
        avl=(ar >> 12) & 1,
        l=(ar >> 13) & 1,
        db=(ar >> 14) & 1,
        g=(ar >> 15) & 1,
        unusable=(ar >> 16) & 1,
    )
