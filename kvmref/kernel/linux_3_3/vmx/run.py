# SPDX-License-Identifier: GPL-2.0-only
"""Running the guest (vmx.c:6107-6280)."""

from __future__ import annotations

from typing import Final

from kvmref.integers import U32
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    VECTORING_INFO_DELIVER_CODE_MASK,
    VECTORING_INFO_VALID_MASK,
)
from kvmref.kernel.linux_3_3.include.kvm import KVM_GUESTDBG_SINGLESTEP
from kvmref.kernel.linux_3_3.include.kvm_host import (
    VCPU_EXREG_CPL,
    VCPU_EXREG_CR3,
    VCPU_EXREG_PDPTR,
    VCPU_EXREG_RFLAGS,
    VCPU_EXREG_SEGMENTS,
    VCPU_REGS_RIP,
    VCPU_REGS_RSP,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.kvm_cache_regs import is_guest_mode
from kvmref.kernel.linux_3_3.outside.host import HOST_RSP_VALUE
from kvmref.kernel.linux_3_3.outside.time import ktime_get
from kvmref.kernel.linux_3_3.vmx.capabilities import cpu_has_virtual_nmis
from kvmref.kernel.linux_3_3.vmx.complete_interrupts import (
    vmx_complete_atomic_exit,
    vmx_complete_interrupts,
    vmx_recover_nmi_blocking,
)
from kvmref.kernel.linux_3_3.vmx.msr_switch import atomic_switch_perf_msrs
from kvmref.kernel.linux_3_3.vmx.nested_pages import get_vmcs12
from kvmref.kernel.linux_3_3.vmx.rflags import vmx_set_interrupt_shadow
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx, vcpu_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_read32, vmcs_write32, vmcs_writel
from kvmref.processor.vmcs_fields import (
    GUEST_RIP,
    GUEST_RSP,
    HOST_RSP,
    IDT_VECTORING_ERROR_CODE,
    IDT_VECTORING_INFO_FIELD,
    VM_ENTRY_EXCEPTION_ERROR_CODE,
    VM_ENTRY_INSTRUCTION_LEN,
    VM_ENTRY_INTR_INFO_FIELD,
    VM_EXIT_INSTRUCTION_LEN,
    VM_EXIT_REASON,
    VM_INSTRUCTION_ERROR,
)

_NOT_CACHED: Final = U32 & ~(
    (1 << VCPU_REGS_RIP)
    | (1 << VCPU_REGS_RSP)
    | (1 << VCPU_EXREG_RFLAGS)
    | (1 << VCPU_EXREG_CPL)
    | (1 << VCPU_EXREG_PDPTR)
    | (1 << VCPU_EXREG_SEGMENTS)
    | (1 << VCPU_EXREG_CR3)
)
"""``regs_avail`` after a run: what the VMCS holds has to be read again."""


def vmx_vcpu_run(vcpu: kvm_vcpu) -> None:
    """Enter the guest, and take stock after its exit. Interrupts are disabled.

    An event that L2 was being delivered when it last exited is injected again here, whatever
    `inject_pending_event` has put in its place.

    Source: arch/x86/kvm/vmx.c:6107-6280
    """
    vmx = to_vmx(vcpu)

    if is_guest_mode(vcpu) and not vmx.nested.nested_run_pending:
        vmcs12 = get_vmcs12(vcpu)
        if vmcs12.idt_vectoring_info_field & VECTORING_INFO_VALID_MASK:
            vmcs_write32(vcpu, VM_ENTRY_INTR_INFO_FIELD, vmcs12.idt_vectoring_info_field)
            vmcs_write32(vcpu, VM_ENTRY_INSTRUCTION_LEN, vmcs12.vm_exit_instruction_len)
            if vmcs12.idt_vectoring_info_field & VECTORING_INFO_DELIVER_CODE_MASK:
                vmcs_write32(vcpu, VM_ENTRY_EXCEPTION_ERROR_CODE, vmcs12.idt_vectoring_error_code)

    if not cpu_has_virtual_nmis(vmx.module) and vmx.soft_vnmi_blocked:
        vmx.entry_time = ktime_get(vcpu.env)

    if vmx.emulation_required and vmx.module.emulate_invalid_guest_state:
        return

    if vcpu.arch.regs_dirty & (1 << VCPU_REGS_RSP):
        vmcs_writel(vcpu, GUEST_RSP, vcpu.arch.regs[VCPU_REGS_RSP])
    if vcpu.arch.regs_dirty & (1 << VCPU_REGS_RIP):
        vmcs_writel(vcpu, GUEST_RIP, vcpu.arch.regs[VCPU_REGS_RIP])

    # Single-stepping over STI or MOV SS would otherwise need a pending debug exception.
    if vcpu.guest_debug & KVM_GUESTDBG_SINGLESTEP:
        vmx_set_interrupt_shadow(vcpu, 0)

    atomic_switch_perf_msrs(vmx)

    vmx.launched = bool(vmx.loaded_vmcs.launched)
    _enter_guest(vmx)

    vcpu.arch.regs_avail = _NOT_CACHED
    vcpu.arch.regs_dirty = 0

    vmx.idt_vectoring_info = vmcs_read32(vcpu, IDT_VECTORING_INFO_FIELD)

    if is_guest_mode(vcpu):
        vmcs12 = get_vmcs12(vcpu)
        vmcs12.idt_vectoring_info_field = vmx.idt_vectoring_info
        if vmx.idt_vectoring_info & VECTORING_INFO_VALID_MASK:
            vmcs12.idt_vectoring_error_code = vmcs_read32(vcpu, IDT_VECTORING_ERROR_CODE)
            vmcs12.vm_exit_instruction_len = vmcs_read32(vcpu, VM_EXIT_INSTRUCTION_LEN)

    vcpu.env.trace.point("reload_ds_es")
    vmx.loaded_vmcs.launched = 1

    vmx.exit_reason = vmcs_read32(vcpu, VM_EXIT_REASON)

    vmx_complete_atomic_exit(vmx)
    vmx_recover_nmi_blocking(vmx)
    vmx_complete_interrupts(vmx)


def _enter_guest(vmx: vcpu_vmx) -> None:
    """Do what the assembly in `vmx_vcpu_run` does: VMLAUNCH or VMRESUME, registers around it."""
    if vmx.host_rsp != HOST_RSP_VALUE:
        vmx.host_rsp = HOST_RSP_VALUE
        vmcs_writel(vmx, HOST_RSP, HOST_RSP_VALUE)

    trace = vmx.env.trace
    vmcs = vmx.processor.vmcs
    fields = vmcs.fields
    trace.event(
        (
            "vmentry",
            vmcs.name,
            int(vmx.launched),
            fields[VM_ENTRY_INTR_INFO_FIELD],
            fields[VM_ENTRY_EXCEPTION_ERROR_CODE],
            fields[VM_ENTRY_INSTRUCTION_LEN],
            fields[GUEST_RIP],
            fields[GUEST_RSP],
        )
    )
    if vmx.processor.vm_entry(vmx.arch, vmx.launched):
        vmx.fail = 0
        trace.event(("vmexit", vmcs.name, fields[VM_EXIT_REASON]))
    else:
        vmx.fail = 1
        trace.event(("vmfail", vmcs.name, fields[VM_INSTRUCTION_ERROR]))
