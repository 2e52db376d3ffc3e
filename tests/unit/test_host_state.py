# SPDX-License-Identifier: GPL-2.0-only
"""Host state around runs of the guest, and loading a virtual CPU on a processor."""

from __future__ import annotations

import pytest
from guests import read

from kvmref.kernel.linux_3_3.vmx import host_state
from kvmref.kernel.linux_3_3.vmx.host_state import (
    vmx_save_host_state,
    vmx_vcpu_load,
    vmx_vcpu_put,
)
from kvmref.kernel.linux_3_3.vmx.loaded_vmcs import free_loaded_vmcs
from kvmref.kernel.linux_3_3.vmx.structs import struct_loaded_vmcs
from kvmref.machine.machine import Machine


@pytest.fixture
def machine() -> Machine:
    """Return a machine whose log is empty."""
    machine = Machine()
    machine.log.events = []
    return machine


@pytest.mark.parametrize(
    ("selector", "field", "reload"), [(0x28, 0x28, 0), (0x2B, 0, 1), (0x2C, 0, 1)]
)
def test_vm_exits_do_not_load_a_selector_with_rpl_or_ti(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, selector: int, field: int, reload: int
) -> None:
    """vmx.c:1400-1414: FS and GS are loaded by software then."""
    monkeypatch.setattr(host_state, "savesegment_fs", lambda: selector)
    monkeypatch.setattr(host_state, "savesegment_gs", lambda: selector)
    vmx_save_host_state(machine.vmx)
    saved = machine.vmx.host_state
    assert (selector, selector) == (saved.fs_sel, saved.gs_sel)
    assert (field, field) == (read(machine, "HOST_FS_SELECTOR"), read(machine, "HOST_GS_SELECTOR"))
    assert (reload, reload) == (saved.fs_reload_needed, saved.gs_ldt_reload_needed)


def test_host_state_is_saved_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """vmx.c:1390-1391."""
    vmx_save_host_state(machine.vmx)
    monkeypatch.setattr(host_state, "savesegment_fs", lambda: 0x28)
    vmx_save_host_state(machine.vmx)
    assert 0 == read(machine, "HOST_FS_SELECTOR")


def test_a_kernel_that_shares_vmx_gives_it_back_with_the_cpu(machine: Machine) -> None:
    """vmx.c:1517-1521, 969-980."""
    machine.vmx.module.vmm_exclusive = False
    vmx_vcpu_put(machine.vmx)
    assert [("vmclear", "01")] == machine.log.events
    assert -1 == machine.vmx.cpu == machine.vmx.vmcs01.cpu
    assert machine.vmx.module.current_vmcs[0] is None


def test_a_vmcs_that_is_not_loaded_here_is_not_cleared_here(machine: Machine) -> None:
    """vmx.c:974-975: the second time there is nothing to give back."""
    machine.vmx.module.vmm_exclusive = False
    vmx_vcpu_put(machine.vmx)
    machine.log.events = []
    vmx_vcpu_put(machine.vmx)
    assert [] == machine.log.events


@pytest.mark.parametrize(("exclusive", "cleared"), [(True, True), (False, False)])
def test_a_kernel_that_shares_vmx_does_not_clear_a_vmcs_elsewhere(
    machine: Machine, exclusive: bool, cleared: bool
) -> None:
    """vmx.c:1481-1484: it has been cleared when it was put."""
    machine.vmx.module.vmm_exclusive = exclusive
    machine.processor.move_to(1)
    vmx_vcpu_load(machine.vmx, 1)
    assert cleared == (("smp_call", 0) in machine.log.events)
    assert ("vmptrld", "01") in machine.log.events
    assert 1 == machine.vmx.vmcs01.cpu


def test_freeing_a_vmcs_that_does_not_exist_does_nothing(machine: Machine) -> None:
    """vmx.c:2582-2583."""
    free_loaded_vmcs(machine.vmx, struct_loaded_vmcs())
    assert [] == machine.log.events
