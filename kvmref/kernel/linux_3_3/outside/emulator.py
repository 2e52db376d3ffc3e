# SPDX-License-Identifier: GPL-2.0-only
"""What stands for the instruction emulator: instructions are skipped, or fail, as the script says.

No register but RAX of a hypercall is ever written.
"""

from __future__ import annotations

from kvmref.integers import U64, s32, u16, u32
from kvmref.kernel.linux_3_3.include.kvm import KVM_EXIT_IO
from kvmref.kernel.linux_3_3.include.kvm_host import (
    EMULATE_DO_MMIO,
    EMULATE_DONE,
    EMULATE_FAIL,
    KVM_REQ_EVENT,
    VCPU_REGS_RAX,
    X86EMUL_CONTINUE,
    kvm_make_request,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_register_write
from kvmref.kernel.linux_3_3.x86_h import kvm_clear_exception_queue


def x86_emulate_instruction(vcpu: kvm_vcpu, emulation_type: s32) -> int:
    """Emulate the instruction that the guest exited with; return an EMULATE code."""
    vcpu.env.trace.event(("emulate_instruction", emulation_type))
    kvm_clear_exception_queue(vcpu)
    if vcpu.env.emul == 1:
        return EMULATE_DO_MMIO
    if vcpu.env.emul == 2:
        return EMULATE_FAIL
    vcpu.kvm_x86_ops.skip_emulated_instruction(vcpu)
    kvm_make_request(KVM_REQ_EVENT, vcpu)
    return EMULATE_DONE


def emulate_instruction(vcpu: kvm_vcpu, emulation_type: s32) -> int:
    """Emulate the instruction that the guest exited with; return an EMULATE code."""
    return x86_emulate_instruction(vcpu, emulation_type)


def kvm_task_switch(
    vcpu: kvm_vcpu, tss_selector: u16, reason: s32, has_error_code: bool, error_code: u32
) -> int:
    """Emulate a task switch; return an EMULATE code."""
    vcpu.env.trace.event(("task_switch", tss_selector, reason, int(has_error_code), error_code))
    if vcpu.env.emul == 2:
        return EMULATE_FAIL
    kvm_make_request(KVM_REQ_EVENT, vcpu)
    return EMULATE_DONE


def kvm_rdpmc(vcpu: kvm_vcpu) -> bool:
    """Emulate RDPMC; tell whether it fails."""
    vcpu.env.trace.event("rdpmc")
    return vcpu.env.emul == 2


def kvm_emulate_cpuid(vcpu: kvm_vcpu) -> None:
    """Emulate CPUID."""
    vcpu.env.trace.event("emulate_cpuid")
    vcpu.kvm_x86_ops.skip_emulated_instruction(vcpu)


def kvm_emulate_hypercall(vcpu: kvm_vcpu) -> int:
    """Refuse a hypercall: RAX becomes -KVM_ENOSYS. Returns 1."""
    vcpu.env.trace.event("emulate_hypercall")
    kvm_register_write(vcpu, VCPU_REGS_RAX, -1000 & U64)
    return 1


def kvm_emulate_wbinvd(vcpu: kvm_vcpu) -> int:
    """Emulate WBINVD; return X86EMUL_CONTINUE."""
    vcpu.env.trace.event("emulate_wbinvd")
    return X86EMUL_CONTINUE


def kvm_vcpu_on_spin(vcpu: kvm_vcpu) -> None:
    """Let another virtual CPU run, because this one waits in a loop."""
    vcpu.env.trace.event("on_spin")


def kvm_fast_pio_out(vcpu: kvm_vcpu, size: s32, port: u16) -> int:
    """Leave an OUT to user space: return 0."""
    vcpu.env.trace.event(("pio_out", size, port))
    vcpu.run.exit_reason = KVM_EXIT_IO
    return 0


def kvm_inject_realmode_interrupt(vcpu: kvm_vcpu, irq: s32, inc_eip: s32) -> int:
    """Deliver an event to a guest in emulated real mode; return an EMULATE code."""
    vcpu.env.trace.event(("inject_realmode", irq, inc_eip))
    return EMULATE_DONE
