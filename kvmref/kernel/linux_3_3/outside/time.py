# SPDX-License-Identifier: GPL-2.0-only
"""What stands for clocks and timers: time stands still until a script moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmref.integers import s64, u64
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu

if TYPE_CHECKING:
    from kvmref.kernel.linux_3_3.outside.environment import Environment


def native_read_tsc(env: Environment) -> u64:
    """Return the host's time-stamp counter."""
    return env.processor.rdtsc()


def rdtscll(env: Environment) -> u64:
    """Return the host's time-stamp counter."""
    return env.processor.rdtsc()


def ktime_get(env: Environment) -> s64:
    """Return the monotonic time in nanoseconds."""
    return env.ktime


def kvm_write_tsc(vcpu: kvm_vcpu, data: u64) -> None:
    """Make the guest's time-stamp counter *data*, without matching it to other virtual CPUs."""
    vcpu.env.trace.event(("write_tsc", data))
    offset: u64 = vcpu.kvm_x86_ops.compute_tsc_offset(vcpu, data)
    vcpu.kvm_x86_ops.write_tsc_offset(vcpu, offset)


def kvm_guest_time_update(vcpu: kvm_vcpu) -> int:
    """Stand for publishing the time to the guest; return 1 if that fails."""
    vcpu.env.trace.event("guest_time_update")
    if vcpu.env.time_fail:
        vcpu.env.time_fail = False
        return 1
    return 0


def __kvm_migrate_timers(vcpu: kvm_vcpu) -> None:
    """Stand for moving the guest's timers to the CPU that the thread runs on."""
    vcpu.env.trace.event("migrate_timers")


def record_steal_time(vcpu: kvm_vcpu) -> None:
    """Stand for telling the guest how long it did not run."""
    vcpu.env.trace.event("steal_time")
