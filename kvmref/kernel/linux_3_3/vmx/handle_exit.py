# SPDX-License-Identifier: GPL-2.0-only
"""The way from an exit to its handler (vmx.c:5571-5611, 5846-5925)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvmref.integers import u32
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    EXIT_REASON_APIC_ACCESS,
    EXIT_REASON_CPUID,
    EXIT_REASON_CR_ACCESS,
    EXIT_REASON_DR_ACCESS,
    EXIT_REASON_EPT_MISCONFIG,
    EXIT_REASON_EPT_VIOLATION,
    EXIT_REASON_EXCEPTION_NMI,
    EXIT_REASON_EXTERNAL_INTERRUPT,
    EXIT_REASON_HLT,
    EXIT_REASON_INVD,
    EXIT_REASON_INVLPG,
    EXIT_REASON_IO_INSTRUCTION,
    EXIT_REASON_MCE_DURING_VMENTRY,
    EXIT_REASON_MONITOR_INSTRUCTION,
    EXIT_REASON_MSR_READ,
    EXIT_REASON_MSR_WRITE,
    EXIT_REASON_MWAIT_INSTRUCTION,
    EXIT_REASON_NMI_WINDOW,
    EXIT_REASON_PAUSE_INSTRUCTION,
    EXIT_REASON_PENDING_INTERRUPT,
    EXIT_REASON_RDPMC,
    EXIT_REASON_TASK_SWITCH,
    EXIT_REASON_TPR_BELOW_THRESHOLD,
    EXIT_REASON_TRIPLE_FAULT,
    EXIT_REASON_VMCALL,
    EXIT_REASON_VMCLEAR,
    EXIT_REASON_VMLAUNCH,
    EXIT_REASON_VMOFF,
    EXIT_REASON_VMON,
    EXIT_REASON_VMPTRLD,
    EXIT_REASON_VMPTRST,
    EXIT_REASON_VMREAD,
    EXIT_REASON_VMRESUME,
    EXIT_REASON_VMWRITE,
    EXIT_REASON_WBINVD,
    EXIT_REASON_XSETBV,
    VMX_EXIT_REASONS_FAILED_VMENTRY,
)
from kvmref.kernel.linux_3_3.include.kvm import KVM_EXIT_FAIL_ENTRY, KVM_EXIT_UNKNOWN
from kvmref.kernel.linux_3_3.include.kvm_host import KVM_REQ_EVENT, kvm_make_request, kvm_vcpu
from kvmref.kernel.linux_3_3.kvm_cache_regs import is_guest_mode
from kvmref.kernel.linux_3_3.vmx.capabilities import (
    cpu_has_virtual_nmis,
    nested_cpu_has_virtual_nmis,
)
from kvmref.kernel.linux_3_3.vmx.event_injection import vmx_interrupt_allowed
from kvmref.kernel.linux_3_3.vmx.exception_exits import handle_exception, handle_machine_check
from kvmref.kernel.linux_3_3.vmx.invalid_guest_state import handle_invalid_guest_state
from kvmref.kernel.linux_3_3.vmx.nested_entry import handle_vmlaunch, handle_vmresume
from kvmref.kernel.linux_3_3.vmx.nested_exit import nested_vmx_vmexit
from kvmref.kernel.linux_3_3.vmx.nested_exit_handled import nested_vmx_exit_handled
from kvmref.kernel.linux_3_3.vmx.nested_instructions import (
    handle_vmclear,
    handle_vmoff,
    handle_vmon,
    handle_vmptrld,
    handle_vmptrst,
    handle_vmread,
    handle_vmwrite,
)
from kvmref.kernel.linux_3_3.vmx.nested_pages import get_vmcs12
from kvmref.kernel.linux_3_3.vmx.other_exits import (
    handle_apic_access,
    handle_cpuid,
    handle_ept_misconfig,
    handle_ept_violation,
    handle_external_interrupt,
    handle_halt,
    handle_interrupt_window,
    handle_invalid_op,
    handle_invd,
    handle_invlpg,
    handle_io,
    handle_nmi_window,
    handle_pause,
    handle_rdpmc,
    handle_task_switch,
    handle_tpr_below_threshold,
    handle_triple_fault,
    handle_vmcall,
    handle_wbinvd,
    handle_xsetbv,
)
from kvmref.kernel.linux_3_3.vmx.register_exits import (
    handle_cr,
    handle_dr,
    handle_rdmsr,
    handle_wrmsr,
)
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_read32
from kvmref.processor.vmcs_fields import VM_INSTRUCTION_ERROR

kvm_vmx_exit_handlers: Final[dict[u32, Callable[[kvm_vcpu], int]]] = {
    EXIT_REASON_EXCEPTION_NMI: handle_exception,
    EXIT_REASON_EXTERNAL_INTERRUPT: handle_external_interrupt,
    EXIT_REASON_TRIPLE_FAULT: handle_triple_fault,
    EXIT_REASON_NMI_WINDOW: handle_nmi_window,
    EXIT_REASON_IO_INSTRUCTION: handle_io,
    EXIT_REASON_CR_ACCESS: handle_cr,
    EXIT_REASON_DR_ACCESS: handle_dr,
    EXIT_REASON_CPUID: handle_cpuid,
    EXIT_REASON_MSR_READ: handle_rdmsr,
    EXIT_REASON_MSR_WRITE: handle_wrmsr,
    EXIT_REASON_PENDING_INTERRUPT: handle_interrupt_window,
    EXIT_REASON_HLT: handle_halt,
    EXIT_REASON_INVD: handle_invd,
    EXIT_REASON_INVLPG: handle_invlpg,
    EXIT_REASON_RDPMC: handle_rdpmc,
    EXIT_REASON_VMCALL: handle_vmcall,
    EXIT_REASON_VMCLEAR: handle_vmclear,
    EXIT_REASON_VMLAUNCH: handle_vmlaunch,
    EXIT_REASON_VMPTRLD: handle_vmptrld,
    EXIT_REASON_VMPTRST: handle_vmptrst,
    EXIT_REASON_VMREAD: handle_vmread,
    EXIT_REASON_VMRESUME: handle_vmresume,
    EXIT_REASON_VMWRITE: handle_vmwrite,
    EXIT_REASON_VMOFF: handle_vmoff,
    EXIT_REASON_VMON: handle_vmon,
    EXIT_REASON_TPR_BELOW_THRESHOLD: handle_tpr_below_threshold,
    EXIT_REASON_APIC_ACCESS: handle_apic_access,
    EXIT_REASON_WBINVD: handle_wbinvd,
    EXIT_REASON_XSETBV: handle_xsetbv,
    EXIT_REASON_TASK_SWITCH: handle_task_switch,
    EXIT_REASON_MCE_DURING_VMENTRY: handle_machine_check,
    EXIT_REASON_EPT_VIOLATION: handle_ept_violation,
    EXIT_REASON_EPT_MISCONFIG: handle_ept_misconfig,
    EXIT_REASON_PAUSE_INSTRUCTION: handle_pause,
    EXIT_REASON_MWAIT_INSTRUCTION: handle_invalid_op,
    EXIT_REASON_MONITOR_INSTRUCTION: handle_invalid_op,
}
"""The handler of each exit reason. It returns 1 if the guest can go on, and 0 for user space."""

NMI_BLOCKED_LIMIT_NS: Final = 1000000000
"""How long software believes that an NMI handler runs, if interrupts never get enabled."""


def vmx_handle_exit(vcpu: kvm_vcpu) -> int:
    """Handle the last exit: 1 if the guest can go on, 0 for user space, negative for an error.

    Source: arch/x86/kvm/vmx.c:5846-5925
    """
    vmx = to_vmx(vcpu)
    exit_reason = vmx.exit_reason

    if vmx.emulation_required and vmx.module.emulate_invalid_guest_state:
        return handle_invalid_guest_state(vcpu)

    # An event for L1 may have waited for L2 to run, and EVENT lasts for one entry only.
    if vmx.nested.nested_run_pending:
        kvm_make_request(KVM_REQ_EVENT, vcpu)

    vmx.nested.nested_run_pending = not is_guest_mode(vcpu) and (
        exit_reason == EXIT_REASON_VMLAUNCH or exit_reason == EXIT_REASON_VMRESUME
    )

    if is_guest_mode(vcpu) and nested_vmx_exit_handled(vcpu):
        nested_vmx_vmexit(vcpu)
        return 1

    if exit_reason & VMX_EXIT_REASONS_FAILED_VMENTRY:
        vcpu.run.exit_reason = KVM_EXIT_FAIL_ENTRY
        vcpu.run.fail_entry.hardware_entry_failure_reason = exit_reason
        return 0

    if vmx.fail:
        vcpu.run.exit_reason = KVM_EXIT_FAIL_ENTRY
        vcpu.run.fail_entry.hardware_entry_failure_reason = vmcs_read32(vcpu, VM_INSTRUCTION_ERROR)
        return 0

    if (
        not cpu_has_virtual_nmis(vmx.module)
        and vmx.soft_vnmi_blocked
        and not (is_guest_mode(vcpu) and nested_cpu_has_virtual_nmis(get_vmcs12(vcpu), vcpu))
    ):
        if vmx_interrupt_allowed(vcpu):
            vmx.soft_vnmi_blocked = 0
        elif vmx.vnmi_blocked_time > NMI_BLOCKED_LIMIT_NS and vcpu.arch.nmi_pending:
            # The guest keeps interrupts disabled, so the end of its handler cannot be seen.
            vmx.soft_vnmi_blocked = 0

    handler = kvm_vmx_exit_handlers.get(exit_reason)
    if handler is not None:
        return handler(vcpu)
    vcpu.run.exit_reason = KVM_EXIT_UNKNOWN
    vcpu.run.hw.hardware_exit_reason = exit_reason
    return 0
