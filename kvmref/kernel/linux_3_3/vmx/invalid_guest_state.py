# SPDX-License-Identifier: GPL-2.0-only
"""Guest state that VMX would not run, and its emulation (vmx.c:3250-3438, 4878-4913).

Between real mode and protected mode a guest has segment registers that a VM entry refuses, if the
processor has no unrestricted guest. With the module parameter ``emulate_invalid_guest_state``,
which is off by default, KVM emulates the guest until its segments are such that it can be entered.
Nothing here judges what a processor would check: the checks are those of vmx.c, with their gaps.
"""

from __future__ import annotations

from kvmref.integers import u32
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    AR_TYPE_ACCESSES_MASK,
    AR_TYPE_CODE_MASK,
    AR_TYPE_WRITEABLE_MASK,
    CPU_BASED_VIRTUAL_INTR_PENDING,
)
from kvmref.kernel.linux_3_3.include.kvm_host import (
    EMULATE_DO_MMIO,
    EMULATE_DONE,
    SELECTOR_RPL_MASK,
    SELECTOR_TI_MASK,
    VCPU_SREG_CS,
    VCPU_SREG_DS,
    VCPU_SREG_ES,
    VCPU_SREG_FS,
    VCPU_SREG_GS,
    VCPU_SREG_LDTR,
    VCPU_SREG_SS,
    VCPU_SREG_TR,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.processor_flags import X86_EFLAGS_IF
from kvmref.kernel.linux_3_3.outside.emulator import emulate_instruction
from kvmref.kernel.linux_3_3.outside.host import need_resched, schedule, signal_pending
from kvmref.kernel.linux_3_3.vmx.other_exits import handle_interrupt_window
from kvmref.kernel.linux_3_3.vmx.segments import vmx_get_segment, vmx_segment_access_rights
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_read32
from kvmref.kernel.linux_3_3.x86.rflags import kvm_get_rflags
from kvmref.kernel.linux_3_3.x86_h import is_protmode
from kvmref.processor.vmcs_fields import CPU_BASED_VM_EXEC_CONTROL


def rmode_segment_valid(vcpu: kvm_vcpu, seg: int) -> bool:
    """Tell whether a segment register is as virtual-8086 mode needs it.

    Source: arch/x86/kvm/vmx.c:3250-3266
    """
    var = vmx_get_segment(vcpu, seg)
    ar = vmx_segment_access_rights(var)

    if var.base != var.selector << 4:
        return False
    if var.limit != 0xFFFF:
        return False
    if ar != 0xF3:
        return False

    return True


def code_segment_valid(vcpu: kvm_vcpu) -> bool:
    """Tell whether CS is valid in protected mode.

    The bit that is called writable means conforming, for a code segment.

    Source: arch/x86/kvm/vmx.c:3268-3294
    """
    cs = vmx_get_segment(vcpu, VCPU_SREG_CS)
    cs_rpl: u32 = cs.selector & SELECTOR_RPL_MASK

    if cs.unusable:
        return False
    if ~cs.type & (AR_TYPE_CODE_MASK | AR_TYPE_ACCESSES_MASK):
        return False
    if not cs.s:
        return False
    if cs.type & AR_TYPE_WRITEABLE_MASK:
        if cs.dpl > cs_rpl:
            return False
    else:
        if cs.dpl != cs_rpl:
            return False
    if not cs.present:
        return False

    return True


def stack_segment_valid(vcpu: kvm_vcpu) -> bool:
    """Tell whether SS is valid in protected mode.

    Source: arch/x86/kvm/vmx.c:3296-3316
    """
    ss = vmx_get_segment(vcpu, VCPU_SREG_SS)
    ss_rpl: u32 = ss.selector & SELECTOR_RPL_MASK

    if ss.unusable:
        return True
    if ss.type != 3 and ss.type != 7:
        return False
    if not ss.s:
        return False
    if ss.dpl != ss_rpl:
        return False
    if not ss.present:
        return False

    return True


def data_segment_valid(vcpu: kvm_vcpu, seg: int) -> bool:
    """Tell whether DS, ES, FS or GS is valid in protected mode.

    Source: arch/x86/kvm/vmx.c:3318-3341
    """
    var = vmx_get_segment(vcpu, seg)
    rpl: u32 = var.selector & SELECTOR_RPL_MASK

    if var.unusable:
        return True
    if not var.s:
        return False
    if not var.present:
        return False
    if ~var.type & (AR_TYPE_CODE_MASK | AR_TYPE_WRITEABLE_MASK):
        if var.dpl < rpl:
            return False

    return True


def tr_valid(vcpu: kvm_vcpu) -> bool:
    """Tell whether TR is valid in protected mode.

    Source: arch/x86/kvm/vmx.c:3343-3359
    """
    tr = vmx_get_segment(vcpu, VCPU_SREG_TR)

    if tr.unusable:
        return False
    if tr.selector & SELECTOR_TI_MASK:
        return False
    if tr.type != 3 and tr.type != 11:
        return False
    if not tr.present:
        return False

    return True


def ldtr_valid(vcpu: kvm_vcpu) -> bool:
    """Tell whether LDTR is valid in protected mode.

    Source: arch/x86/kvm/vmx.c:3361-3377
    """
    ldtr = vmx_get_segment(vcpu, VCPU_SREG_LDTR)

    if ldtr.unusable:
        return True
    if ldtr.selector & SELECTOR_TI_MASK:
        return False
    if ldtr.type != 2:
        return False
    if not ldtr.present:
        return False

    return True


def cs_ss_rpl_check(vcpu: kvm_vcpu) -> bool:
    """Tell whether the selectors of CS and SS have the same RPL.

    Source: arch/x86/kvm/vmx.c:3379-3388
    """
    cs = vmx_get_segment(vcpu, VCPU_SREG_CS)
    ss = vmx_get_segment(vcpu, VCPU_SREG_SS)

    return (cs.selector & SELECTOR_RPL_MASK) == (ss.selector & SELECTOR_RPL_MASK)


def guest_state_valid(vcpu: kvm_vcpu) -> bool:
    """Tell whether the guest can be entered; RIP and RFLAGS are not looked at.

    Source: arch/x86/kvm/vmx.c:3395-3438
    """
    if not is_protmode(vcpu):
        if not rmode_segment_valid(vcpu, VCPU_SREG_CS):
            return False
        if not rmode_segment_valid(vcpu, VCPU_SREG_SS):
            return False
        if not rmode_segment_valid(vcpu, VCPU_SREG_DS):
            return False
        if not rmode_segment_valid(vcpu, VCPU_SREG_ES):
            return False
        if not rmode_segment_valid(vcpu, VCPU_SREG_FS):
            return False
        if not rmode_segment_valid(vcpu, VCPU_SREG_GS):
            return False
    else:
        if not cs_ss_rpl_check(vcpu):
            return False
        if not code_segment_valid(vcpu):
            return False
        if not stack_segment_valid(vcpu):
            return False
        if not data_segment_valid(vcpu, VCPU_SREG_DS):
            return False
        if not data_segment_valid(vcpu, VCPU_SREG_ES):
            return False
        if not data_segment_valid(vcpu, VCPU_SREG_FS):
            return False
        if not data_segment_valid(vcpu, VCPU_SREG_GS):
            return False
        if not tr_valid(vcpu):
            return False
        if not ldtr_valid(vcpu):
            return False

    return True


def handle_invalid_guest_state(vcpu: kvm_vcpu) -> int:
    """Emulate the guest until it can be entered, or until something else has to happen first.

    Returns 1 if the guest can go on, and 0 for user space.

    Source: arch/x86/kvm/vmx.c:4878-4913
    """
    vmx = to_vmx(vcpu)

    cpu_exec_ctrl = vmcs_read32(vcpu, CPU_BASED_VM_EXEC_CONTROL)
    intr_window_requested = cpu_exec_ctrl & CPU_BASED_VIRTUAL_INTR_PENDING

    while not guest_state_valid(vcpu):
        if intr_window_requested and kvm_get_rflags(vcpu) & X86_EFLAGS_IF:
            return handle_interrupt_window(vcpu)

        err = emulate_instruction(vcpu, 0)

        if err == EMULATE_DO_MMIO:
            return 0

        if err != EMULATE_DONE:
            return 0

        if signal_pending(vcpu.env):
            return 1
        if need_resched(vcpu.env):
            schedule(vcpu.env)

    vmx.emulation_required = False
    return 1
