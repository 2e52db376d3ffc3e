# SPDX-License-Identifier: GPL-2.0-only
"""What stands for the FPU: its state does not exist; that it is switched can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmref.integers import u32, u64
from kvmref.kernel.linux_3_3.include.kvm_host import XSTATE_FP, kvm_vcpu
from kvmref.kernel.linux_3_3.include.processor_flags import X86_CR0_ET

if TYPE_CHECKING:
    from kvmref.kernel.linux_3_3.outside.environment import Environment


def fx_init(vcpu: kvm_vcpu) -> int:
    """Make the guest's FPU state, for which there is always memory: return 0, not -ENOMEM."""
    vcpu.arch.xcr0 = XSTATE_FP
    vcpu.arch.cr0 |= X86_CR0_ET
    return 0


def unlazy_fpu(env: Environment) -> None:
    """Save the thread's own FPU state; it has none to lose."""


def fpu_restore_checking(env: Environment) -> None:
    """Load the guest's FPU state."""
    env.trace.event("fpu_restore")


def fpu_save_init(env: Environment) -> None:
    """Save the guest's FPU state."""
    env.trace.event("fpu_save")


def xsetbv(env: Environment, index: u32, value: u64) -> None:
    """Load an extended control register of the processor."""
    env.trace.event(("xsetbv", index, value))
