# SPDX-License-Identifier: GPL-2.0-only
"""What stands for performance monitoring: the host does not use it."""

from __future__ import annotations

from typing import NamedTuple

from kvmref.integers import u32, u64
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu


class perf_guest_switch_msr(NamedTuple):
    """An MSR that has to be switched for perf (``struct perf_guest_switch_msr``)."""

    msr: u32
    host: u64
    guest: u64


def perf_guest_get_msrs() -> list[perf_guest_switch_msr]:
    """Return the MSRs that have to be switched for perf; there are none."""
    return []


def kvm_handle_pmu_event(vcpu: kvm_vcpu) -> None:
    """Stand for programming the guest's counters anew."""
    vcpu.env.trace.event("pmu_event")


def kvm_deliver_pmi(vcpu: kvm_vcpu) -> None:
    """Stand for an interrupt from the guest's counters."""
    vcpu.env.trace.event("deliver_pmi")
