# SPDX-License-Identifier: GPL-2.0-only
"""Resetting a virtual CPU, and telling it what its CPUID is."""

from __future__ import annotations

import pytest
from guests import read, write

from kvmref.kernel.linux_3_3.vmx import vcpu_setup
from kvmref.kernel.linux_3_3.vmx.vcpu_setup import vmx_cpuid_update, vmx_vcpu_reset
from kvmref.machine.machine import Machine

RDTSCP = 1 << 3


def test_the_bootstrap_processor_starts_below_1m() -> None:
    """vmx.c:3838-3841, 3854-3856, 3883-3884."""
    machine = Machine()
    assert 0 == vmx_vcpu_reset(machine.vmx)
    assert (0xF000, 0xF0000) == (
        read(machine, "GUEST_CS_SELECTOR"),
        read(machine, "GUEST_CS_BASE"),
    )
    assert 0xFFF0 == machine.observe(["rip"])["rip"]
    assert 0xFEE00900 == machine.vmx.arch.apic_base


def test_another_processor_starts_where_the_startup_ipi_says() -> None:
    """vmx.c:3838-3841, 3857-3859, 3885-3886."""
    machine = Machine()
    machine.vmx.kvm.bsp_vcpu_id = 1
    machine.vmx.arch.sipi_vector = 0x9A
    assert 0 == vmx_vcpu_reset(machine.vmx)
    assert (0x9A00, 0x9A000) == (
        read(machine, "GUEST_CS_SELECTOR"),
        read(machine, "GUEST_CS_BASE"),
    )
    assert 0 == machine.observe(["rip"])["rip"]
    assert 0xFEE00800 == machine.vmx.arch.apic_base


def test_a_reset_without_memory_for_fpu_state_stops_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """vmx.c:3843-3845."""
    machine = Machine()
    monkeypatch.setattr(vcpu_setup, "fx_init", lambda _: -12)
    before = read(machine, "GUEST_CS_SELECTOR")
    assert -12 == vmx_vcpu_reset(machine.vmx)
    assert before == read(machine, "GUEST_CS_SELECTOR")


@pytest.mark.parametrize(("enabled", "allowed"), [(True, True), (False, False)])
def test_rdtscp_needs_its_control(enabled: bool, allowed: bool) -> None:
    """vmx.c:6432-6443."""
    machine = Machine()
    control = read(machine, "SECONDARY_VM_EXEC_CONTROL") | RDTSCP
    if not enabled:
        control &= ~RDTSCP
    write(machine, SECONDARY_VM_EXEC_CONTROL=control)
    vmx_cpuid_update(machine.vmx)
    assert allowed == machine.vmx.rdtscp_enabled
    assert control == read(machine, "SECONDARY_VM_EXEC_CONTROL")
