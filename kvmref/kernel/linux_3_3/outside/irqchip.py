# SPDX-License-Identifier: GPL-2.0-only
"""What stands for the interrupt controller: a set of vectors that wait.

There are no priorities, no interrupts in service and no masking: the highest vector comes first.
Without the in-kernel controller, interrupts come from user space through ``arch.interrupt``.
"""

from __future__ import annotations

from kvmref.integers import s32, u64
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu, struct_kvm


def irqchip_in_kernel(kvm: struct_kvm) -> bool:
    """Tell whether the interrupt controller is in the kernel."""
    return kvm.irqchip_in_kernel


def kvm_cpu_has_interrupt(vcpu: kvm_vcpu) -> bool:
    """Tell whether an interrupt waits."""
    if not vcpu.kvm.irqchip_in_kernel:
        return vcpu.arch.interrupt.pending
    return vcpu.env.irr != 0


def kvm_cpu_get_interrupt(vcpu: kvm_vcpu) -> s32:
    """Take the interrupt that is due; return its vector, or -1 if none waits."""
    if not vcpu.kvm.irqchip_in_kernel:
        return vcpu.arch.interrupt.nr
    env = vcpu.env
    vector: s32 = env.irr.bit_length() - 1
    if vector != -1:
        env.irr &= ~(1 << vector)
        env.trace.event(("ack_irq", vector))
    return vector


def kvm_lapic_find_highest_irr(vcpu: kvm_vcpu) -> s32:
    """Return the highest vector that waits, or -1."""
    return vcpu.env.irr.bit_length() - 1


def kvm_lapic_enabled(vcpu: kvm_vcpu) -> bool:
    """Tell whether the virtual CPU has a local APIC that is enabled."""
    return vcpu.arch.apic is not None


def kvm_lapic_get_cr8(vcpu: kvm_vcpu) -> u64:
    """Return the TPR, in the format of CR8."""
    return vcpu.arch.cr8


def kvm_lapic_set_tpr(vcpu: kvm_vcpu, cr8: u64) -> None:
    """Store the TPR, in the format of CR8."""
    vcpu.arch.cr8 = cr8


def kvm_lapic_set_eoi(vcpu: kvm_vcpu) -> None:
    """Stand for the end of an interrupt."""
    vcpu.env.trace.event("lapic_eoi")


def kvm_lapic_sync_to_vapic(vcpu: kvm_vcpu) -> None:
    """Tell the guest's vapic page about interrupts; there is no such page."""


def kvm_lapic_sync_from_vapic(vcpu: kvm_vcpu) -> None:
    """Read the TPR from the guest's vapic page; there is no such page."""


def kvm_set_apic_base(vcpu: kvm_vcpu, data: u64) -> None:
    """Store IA32_APIC_BASE."""
    vcpu.arch.apic_base = data
