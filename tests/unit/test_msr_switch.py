# SPDX-License-Identifier: GPL-2.0-only
"""MSRs that are switched between host and guest, by the processor or lazily."""

from __future__ import annotations

from dataclasses import replace

import pytest
from guests import read

from kvmref.kernel.linux_3_3.include.msr_index import (
    EFER_NX,
    MSR_CORE_PERF_GLOBAL_CTRL,
    MSR_CSTAR,
    MSR_EFER,
    MSR_LSTAR,
    MSR_STAR,
    MSR_SYSCALL_MASK,
    MSR_TSC_AUX,
)
from kvmref.kernel.linux_3_3.outside.pmu import perf_guest_switch_msr
from kvmref.kernel.linux_3_3.vmx import msr_switch, vcpu_setup
from kvmref.kernel.linux_3_3.vmx.module import vmx_msr_index
from kvmref.kernel.linux_3_3.vmx.msr_switch import (
    add_atomic_switch_msr,
    atomic_switch_perf_msrs,
    clear_atomic_switch_msr,
)
from kvmref.kernel.setup import Setup
from kvmref.machine.machine import Machine

ENTRY_LOADS_PERF, EXIT_LOADS_PERF = 1 << 13, 1 << 12
ENTRY_LOADS_EFER, EXIT_LOADS_EFER = 1 << 15, 1 << 21


@pytest.fixture
def machine() -> Machine:
    """Return a machine without entries in the MSR-load areas."""
    return Machine()


def areas(machine: Machine) -> list[tuple[int, int, int]]:
    """Return the entries of the MSR-load areas: MSR, value for the guest, value for the host."""
    m = machine.vmx.msr_autoload
    pairs = zip(m.guest[: m.nr], m.host[: m.nr], strict=True)
    assert all(guest.index == host.index for guest, host in zip(m.guest, m.host, strict=True))
    return [(guest.index, guest.value, host.value) for guest, host in pairs]


def counts(machine: Machine) -> tuple[int, int]:
    """Return how many entries the loaded VMCS has, for VM entry and for VM exit."""
    return read(machine, "VM_ENTRY_MSR_LOAD_COUNT"), read(machine, "VM_EXIT_MSR_LOAD_COUNT")


def test_an_msr_is_added_once_and_then_changed(machine: Machine) -> None:
    """vmx.c:1280-1297."""
    add_atomic_switch_msr(machine.vmx, 0x1D9, 1, 2)
    add_atomic_switch_msr(machine.vmx, 0x277, 3, 4)
    add_atomic_switch_msr(machine.vmx, 0x1D9, 5, 6)
    assert [(0x1D9, 5, 6), (0x277, 3, 4)] == areas(machine)
    assert (2, 2) == counts(machine)


def test_the_last_entry_takes_the_place_of_one_that_is_removed(machine: Machine) -> None:
    """vmx.c:1227-1237."""
    for msr in (0x10, 0x11, 0x12):
        add_atomic_switch_msr(machine.vmx, msr, msr + 0x100, msr + 0x200)
    clear_atomic_switch_msr(machine.vmx, 0x10)
    assert [(0x12, 0x112, 0x212), (0x11, 0x111, 0x211)] == areas(machine)
    assert (2, 2) == counts(machine)


def test_removing_an_msr_that_is_not_there_does_nothing(machine: Machine) -> None:
    """vmx.c:1231-1232."""
    add_atomic_switch_msr(machine.vmx, 0x10, 1, 2)
    clear_atomic_switch_msr(machine.vmx, 0x11)
    assert [(0x10, 1, 2)] == areas(machine)
    assert (1, 1) == counts(machine)


def test_a_ninth_msr_is_dropped(machine: Machine) -> None:
    """vmx.c:1284-1287."""
    for msr in range(0x10, 0x19):
        add_atomic_switch_msr(machine.vmx, msr, 1, 2)
    assert [(msr, 1, 2) for msr in range(0x10, 0x18)] == areas(machine)
    assert (8, 8) == counts(machine)


@pytest.mark.parametrize(
    ("msr", "field", "entry", "leave"),
    [
        (MSR_EFER, "IA32_EFER", ENTRY_LOADS_EFER, EXIT_LOADS_EFER),
        (MSR_CORE_PERF_GLOBAL_CTRL, "IA32_PERF_GLOBAL_CTRL", ENTRY_LOADS_PERF, EXIT_LOADS_PERF),
    ],
)
def test_msrs_with_controls_of_their_own_do_not_need_the_areas(
    machine: Machine, msr: int, field: str, entry: int, leave: int
) -> None:
    """vmx.c:1209-1225, 1256-1278."""
    before = read(machine, "VM_ENTRY_CONTROLS"), read(machine, "VM_EXIT_CONTROLS")
    add_atomic_switch_msr(machine.vmx, msr, 0x123, 0x456)
    assert (0x123, 0x456) == (read(machine, f"GUEST_{field}"), read(machine, f"HOST_{field}"))
    assert (before[0] | entry, before[1] | leave) == (
        read(machine, "VM_ENTRY_CONTROLS"),
        read(machine, "VM_EXIT_CONTROLS"),
    )
    clear_atomic_switch_msr(machine.vmx, msr)
    assert (before[0] & ~entry, before[1] & ~leave) == (
        read(machine, "VM_ENTRY_CONTROLS"),
        read(machine, "VM_EXIT_CONTROLS"),
    )
    assert [] == areas(machine)


@pytest.mark.parametrize("msr", [MSR_EFER, MSR_CORE_PERF_GLOBAL_CTRL])
def test_on_a_host_without_these_controls_the_areas_are_used(machine: Machine, msr: int) -> None:
    """vmx.c:1209-1237, 1256-1297."""
    machine.vmx.module.cpu_has_load_ia32_efer = False
    machine.vmx.module.cpu_has_load_perf_global_ctrl = False
    add_atomic_switch_msr(machine.vmx, msr, 1, 2)
    assert [(msr, 1, 2)] == areas(machine)
    clear_atomic_switch_msr(machine.vmx, msr)
    assert [] == areas(machine)
    assert (0, 0) == counts(machine)


def test_with_ept_a_difference_in_nx_is_switched_by_the_processor() -> None:
    """vmx.c:1338-1344: the host has NX and L1 has not."""
    machine = Machine(replace(Setup(), l1_efer=0xD01 & ~EFER_NX))
    assert 0xD01 & ~EFER_NX == read(machine, "GUEST_IA32_EFER")
    assert 0xD01 == read(machine, "HOST_IA32_EFER")


def test_msrs_of_perf_are_switched_only_where_host_and_guest_differ(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vmx.c:6081-6097."""
    switched = [perf_guest_switch_msr(0x186, 1, 0), perf_guest_switch_msr(0x187, 3, 4)]
    monkeypatch.setattr(msr_switch, "perf_guest_get_msrs", lambda: switched)
    atomic_switch_perf_msrs(machine.vmx)
    assert [(0x186, 0, 1), (0x187, 4, 3)] == areas(machine)
    switched[0] = perf_guest_switch_msr(0x186, 1, 1)
    atomic_switch_perf_msrs(machine.vmx)
    assert [(0x187, 4, 3)] == areas(machine)


def order(machine: Machine) -> list[int]:
    """Return the MSRs that are switched lazily, those that the guest needs now first."""
    return [vmx_msr_index[entry.index] for entry in machine.vmx.guest_msrs]


LONG_MODE = [MSR_SYSCALL_MASK, MSR_LSTAR, MSR_CSTAR, MSR_TSC_AUX, MSR_STAR, MSR_EFER]


def test_in_long_mode_all_msrs_are_switched() -> None:
    """vmx.c:1753-1779."""
    machine = Machine()
    assert LONG_MODE == order(machine)
    assert 6 == machine.vmx.save_nmsrs


@pytest.mark.parametrize("function", ["rdmsr_safe", "wrmsr_safe"])
@pytest.mark.parametrize("missing", [MSR_SYSCALL_MASK, MSR_LSTAR, MSR_CSTAR, MSR_TSC_AUX, MSR_STAR])
def test_an_msr_that_the_host_lacks_is_not_switched(
    monkeypatch: pytest.MonkeyPatch, function: str, missing: int
) -> None:
    """vmx.c:1754-1772, 3796-3809."""

    def rdmsr_safe(_processor: object, msr: int) -> tuple[int, int, int]:
        return (-5 if msr == missing else 0), 0, 0

    def wrmsr_safe(msr: int, _low: int, _high: int) -> int:
        return -5 if msr == missing else 0

    replacement = {"rdmsr_safe": rdmsr_safe, "wrmsr_safe": wrmsr_safe}[function]
    monkeypatch.setattr(vcpu_setup, function, replacement)
    machine = Machine()
    assert [msr for msr in LONG_MODE if msr != missing] == order(machine)
    assert 5 == machine.vmx.nmsrs == machine.vmx.save_nmsrs


def test_efer_cannot_change_on_a_host_that_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """vmx.c:1775-1779, 2824-2825."""

    def rdmsr_safe(_processor: object, msr: int) -> tuple[int, int, int]:
        return (-5 if msr == MSR_EFER else 0), 0, 0

    monkeypatch.setattr(vcpu_setup, "rdmsr_safe", rdmsr_safe)
    machine = Machine(replace(Setup(), l1_cr0=0x50033))
    assert 0 == machine.vmx.arch.efer
    assert 0 == machine.vmx.save_nmsrs


def test_without_msr_bitmaps_the_vmcs_gets_none() -> None:
    """vmx.c:1781-1788, 3741-3742."""
    machine = Machine(replace(Setup(), proc_hi=Setup().proc_hi & ~(1 << 28)))
    assert 0 == read(machine, "MSR_BITMAP")
