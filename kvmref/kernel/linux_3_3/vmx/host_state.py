# SPDX-License-Identifier: GPL-2.0-only
"""The host's state around a run of the guest, and the CPU that the VMCS is loaded on.

vmx.c:1385-1522, 3637-3668. The host's FS, GS and LDT selectors are those of a 64-bit kernel thread,
zero; so nothing is ever reloaded by hand. Shared MSRs, GDT and TSS leave no trace.
"""

from __future__ import annotations

from kvmref.kernel.linux_3_3.include.asm_vmx import VM_EXIT_LOAD_IA32_PAT
from kvmref.kernel.linux_3_3.include.kvm_host import KVM_REQ_TLB_FLUSH, kvm_make_request, kvm_vcpu
from kvmref.kernel.linux_3_3.include.msr_index import (
    MSR_FS_BASE,
    MSR_GS_BASE,
    MSR_IA32_CR_PAT,
    MSR_IA32_SYSENTER_CS,
    MSR_IA32_SYSENTER_EIP,
    MSR_IA32_SYSENTER_ESP,
    MSR_KERNEL_GS_BASE,
)
from kvmref.kernel.linux_3_3.include.processor_flags import X86_CR0_TS
from kvmref.kernel.linux_3_3.outside.host import (
    GDT_ENTRY_TSS,
    HOST_RIP_VALUE,
    KERNEL_CS,
    KERNEL_DS,
    host_gdt_address,
    kvm_cpu_vmxoff,
    kvm_cpu_vmxon,
    kvm_read_ldt,
    kvm_read_tr_base,
    local_irq_disable,
    local_irq_enable,
    native_store_idt,
    preempt_disable,
    preempt_enable,
    read_cr0,
    read_cr3,
    read_cr4,
    savesegment_fs,
    savesegment_gs,
)
from kvmref.kernel.linux_3_3.vmx.loaded_vmcs import (
    __loaded_vmcs_clear,
    loaded_vmcs_clear,
    vmcs_load,
)
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx, vcpu_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import (
    vmcs_write16,
    vmcs_write32,
    vmcs_write64,
    vmcs_writel,
)
from kvmref.kernel.linux_3_3.x86_h import is_long_mode
from kvmref.processor.vmcs_fields import (
    HOST_CR0,
    HOST_CR3,
    HOST_CR4,
    HOST_CS_SELECTOR,
    HOST_DS_SELECTOR,
    HOST_ES_SELECTOR,
    HOST_FS_BASE,
    HOST_FS_SELECTOR,
    HOST_GDTR_BASE,
    HOST_GS_BASE,
    HOST_GS_SELECTOR,
    HOST_IA32_PAT,
    HOST_IA32_SYSENTER_CS,
    HOST_IA32_SYSENTER_EIP,
    HOST_IA32_SYSENTER_ESP,
    HOST_IDTR_BASE,
    HOST_RIP,
    HOST_SS_SELECTOR,
    HOST_TR_BASE,
    HOST_TR_SELECTOR,
)


def vmx_save_host_state(vcpu: kvm_vcpu) -> None:
    """Put the host's state into the VMCS before the guest runs, unless it is there already.

    Source: arch/x86/kvm/vmx.c:1385-1433
    """
    vmx = to_vmx(vcpu)
    host_state = vmx.host_state

    if host_state.loaded:
        return

    host_state.loaded = 1
    host_state.ldt_sel = kvm_read_ldt()
    host_state.gs_ldt_reload_needed = host_state.ldt_sel
    host_state.fs_sel = savesegment_fs()
    if not host_state.fs_sel & 7:
        vmcs_write16(vcpu, HOST_FS_SELECTOR, host_state.fs_sel)
        host_state.fs_reload_needed = 0
    else:
        vmcs_write16(vcpu, HOST_FS_SELECTOR, 0)
        host_state.fs_reload_needed = 1
    host_state.gs_sel = savesegment_gs()
    if not host_state.gs_sel & 7:
        vmcs_write16(vcpu, HOST_GS_SELECTOR, host_state.gs_sel)
    else:
        vmcs_write16(vcpu, HOST_GS_SELECTOR, 0)
        host_state.gs_ldt_reload_needed = 1

    processor = vcpu.processor
    vmcs_writel(vcpu, HOST_FS_BASE, processor.rdmsr(MSR_FS_BASE))
    vmcs_writel(vcpu, HOST_GS_BASE, processor.rdmsr(MSR_GS_BASE))

    vmx.msr_host_kernel_gs_base = processor.rdmsr(MSR_KERNEL_GS_BASE)
    if is_long_mode(vcpu):
        processor.wrmsr(MSR_KERNEL_GS_BASE, vmx.msr_guest_kernel_gs_base)


def __vmx_load_host_state(vmx: vcpu_vmx) -> None:
    """Restore what of the host's state the guest has replaced, if it has.

    Source: arch/x86/kvm/vmx.c:1435-1463
    """
    if not vmx.host_state.loaded:
        return

    vmx.stat.host_state_reload += 1
    vmx.host_state.loaded = 0
    processor = vmx.processor
    if is_long_mode(vmx):
        vmx.msr_guest_kernel_gs_base = processor.rdmsr(MSR_KERNEL_GS_BASE)
    processor.wrmsr(MSR_KERNEL_GS_BASE, vmx.msr_host_kernel_gs_base)


def vmx_load_host_state(vmx: vcpu_vmx) -> None:
    """Do `__vmx_load_host_state` with preemption off.

    Source: arch/x86/kvm/vmx.c:1465-1470
    """
    preempt_disable(vmx.env)
    __vmx_load_host_state(vmx)
    preempt_enable(vmx.env)


def vmx_vcpu_load(vcpu: kvm_vcpu, cpu: int) -> None:
    """Load the virtual CPU's VMCS on the CPU *cpu*, where this code runs.

    Source: arch/x86/kvm/vmx.c:1476-1512
    """
    vmx = to_vmx(vcpu)
    module = vmx.module
    loaded = vmx.loaded_vmcs
    assert loaded.vmcs is not None

    if not module.vmm_exclusive:
        kvm_cpu_vmxon(vmx.env)
    elif loaded.cpu != cpu:
        loaded_vmcs_clear(vmx, loaded)

    if module.current_vmcs[cpu] is not loaded.vmcs:
        module.current_vmcs[cpu] = loaded.vmcs
        vmcs_load(vmx.env, loaded.vmcs)

    if loaded.cpu != cpu:
        kvm_make_request(KVM_REQ_TLB_FLUSH, vcpu)
        local_irq_disable(vmx.env)
        module.loaded_vmcss_on_cpu[cpu].insert(0, loaded)
        local_irq_enable(vmx.env)

        vmcs_writel(vcpu, HOST_TR_BASE, kvm_read_tr_base(vmx.env))
        vmcs_writel(vcpu, HOST_GDTR_BASE, host_gdt_address(cpu))

        sysenter_esp = vcpu.processor.rdmsr(MSR_IA32_SYSENTER_ESP)
        vmcs_writel(vcpu, HOST_IA32_SYSENTER_ESP, sysenter_esp)
        loaded.cpu = cpu


def vmx_vcpu_put(vcpu: kvm_vcpu) -> None:
    """Give the CPU back: restore the host's state.

    Source: arch/x86/kvm/vmx.c:1514-1522
    """
    vmx = to_vmx(vcpu)
    __vmx_load_host_state(vmx)
    if not vmx.module.vmm_exclusive:
        __loaded_vmcs_clear(vmx, vmx.loaded_vmcs)
        vcpu.cpu = -1
        kvm_cpu_vmxoff(vmx.env)


def vmx_set_constant_host_state(vcpu: kvm_vcpu) -> None:
    """Write the host-state fields that never change.

    Source: arch/x86/kvm/vmx.c:3637-3668
    """
    vmcs_writel(vcpu, HOST_CR0, read_cr0() | X86_CR0_TS)
    vmcs_writel(vcpu, HOST_CR4, read_cr4())
    vmcs_writel(vcpu, HOST_CR3, read_cr3())

    vmcs_write16(vcpu, HOST_CS_SELECTOR, KERNEL_CS)
    vmcs_write16(vcpu, HOST_DS_SELECTOR, KERNEL_DS)
    vmcs_write16(vcpu, HOST_ES_SELECTOR, KERNEL_DS)
    vmcs_write16(vcpu, HOST_SS_SELECTOR, KERNEL_DS)
    vmcs_write16(vcpu, HOST_TR_SELECTOR, GDT_ENTRY_TSS * 8)

    vmcs_writel(vcpu, HOST_IDTR_BASE, native_store_idt())

    vmcs_writel(vcpu, HOST_RIP, HOST_RIP_VALUE)

    processor = vcpu.processor
    vmcs_write32(vcpu, HOST_IA32_SYSENTER_CS, processor.rdmsr(MSR_IA32_SYSENTER_CS))
    vmcs_writel(vcpu, HOST_IA32_SYSENTER_EIP, processor.rdmsr(MSR_IA32_SYSENTER_EIP))

    if to_vmx(vcpu).module.vmcs_config.vmexit_ctrl & VM_EXIT_LOAD_IA32_PAT:
        vmcs_write64(vcpu, HOST_IA32_PAT, processor.rdmsr(MSR_IA32_CR_PAT))
