# SPDX-License-Identifier: GPL-2.0-only
"""``x86.c``, HLT."""

from __future__ import annotations

from kvmref.kernel.linux_3_3.include.kvm import KVM_EXIT_HLT, KVM_MP_STATE_HALTED
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu
from kvmref.kernel.linux_3_3.outside.irqchip import irqchip_in_kernel


def kvm_emulate_halt(vcpu: kvm_vcpu) -> int:
    """Halt the virtual CPU; return 1, or 0 if user space has to wait for the interrupt.

    Source: arch/x86/kvm/x86.c:4843-4853
    """
    vcpu.stat.halt_exits += 1
    if irqchip_in_kernel(vcpu.kvm):
        vcpu.arch.mp_state = KVM_MP_STATE_HALTED
        return 1
    vcpu.run.exit_reason = KVM_EXIT_HLT
    return 0
