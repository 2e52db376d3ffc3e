# SPDX-License-Identifier: GPL-2.0-only
"""Which translations are forgotten, on hosts that lack some kinds of invalidation."""

from __future__ import annotations

import pytest

from kvmref.kernel.linux_3_3.vmx.tlb import ept_sync_context, vmx_flush_tlb, vpid_sync_vcpu_single
from kvmref.machine.machine import Machine


@pytest.fixture
def machine() -> Machine:
    """Return a machine with EPT, a VPID and an empty log."""
    machine = Machine()
    machine.log.events = []
    return machine


def test_a_flush_forgets_one_vpid_and_one_ept(machine: Machine) -> None:
    """vmx.c:1004-1026, 2877-2885: memory type 6, walk length 4."""
    machine.vmx.arch.mmu.root_hpa = 0x7000000
    vmx_flush_tlb(machine.vmx)
    assert [("invvpid", 1, 1), ("invept", 1, 0x700001E)] == machine.log.events


def test_without_single_context_invept_all_epts_are_forgotten(machine: Machine) -> None:
    """vmx.c:1012-1024."""
    machine.vmx.module.vmx_capability.ept &= ~(1 << 25)
    ept_sync_context(machine.vmx, 0x700001E)
    assert [("invept", 2, 0)] == machine.log.events


def test_without_any_invept_nothing_is_forgotten(machine: Machine) -> None:
    """vmx.c:1012-1024."""
    machine.vmx.module.vmx_capability.ept &= ~(3 << 25)
    ept_sync_context(machine.vmx, 0x700001E)
    assert [] == machine.log.events


def test_without_ept_there_is_nothing_to_forget(machine: Machine) -> None:
    """vmx.c:1020."""
    machine.vmx.module.enable_ept = False
    ept_sync_context(machine.vmx, 0x700001E)
    assert [] == machine.log.events


@pytest.mark.parametrize(("vpid", "single"), [(0, True), (1, False)])
def test_a_vpid_is_forgotten_only_if_there_is_one_and_a_way(
    machine: Machine, vpid: int, single: bool
) -> None:
    """vmx.c:991-995."""
    machine.vmx.vpid = vpid
    if not single:
        machine.vmx.module.vmx_capability.vpid &= ~(1 << 9)
    vpid_sync_vcpu_single(machine.vmx)
    assert [] == machine.log.events
