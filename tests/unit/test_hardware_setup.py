# SPDX-License-Identifier: GPL-2.0-only
"""What KVM needs of a host, and what it does without."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmref.kernel.linux_3_3.boot import UnsupportedHostError
from kvmref.kernel.linux_3_3.include.msr_index import EFER_NX
from kvmref.kernel.linux_3_3.vmx import hardware_setup
from kvmref.kernel.setup import Setup
from kvmref.machine.machine import Machine

HOST = Setup()


@pytest.mark.parametrize(
    "setup",
    [
        pytest.param(replace(HOST, pin_hi=0x7E), id="external-interrupt exiting (2404)"),
        pytest.param(replace(HOST, pin_hi=0x77), id="NMI exiting (2404)"),
        pytest.param(replace(HOST, proc_hi=0xFFF9FF7E), id="HLT exiting (2429)"),
        pytest.param(
            replace(HOST, exit_hi=0x7FFDFF, exit_lo=0x36DFF & ~0x200), id="64-bit host (2471)"
        ),
        pytest.param(replace(HOST, vmx_basic=0xDA100100000010), id="VMCS within a page (2484)"),
        pytest.param(replace(HOST, vmx_basic=0xDB040000000010), id="64-bit addresses (2489)"),
        pytest.param(replace(HOST, vmx_basic=0xD2040000000010), id="write-back memory (2494)"),
    ],
)
def test_kvm_does_not_load_without(setup: Setup) -> None:
    """vmx.c:2365-2382, 2392-2495, 2619-2620."""
    with pytest.raises(UnsupportedHostError):
        Machine(setup)


def test_hlt_exiting_is_not_needed_if_the_guest_keeps_the_cpu_while_it_halts() -> None:
    """vmx.c:2423-2424."""
    machine = Machine(replace(HOST, yield_on_hlt=False, proc_hi=0xFFF9FF7E))
    assert 0 == machine.vmcs_config()["cpu"] & 0x80


@pytest.mark.parametrize(
    ("family", "model", "usable"),
    [
        *((6, model, False) for model in (26, 30, 37, 44, 46)),
        (6, 27, True),
        (15, 26, True),
    ],
)
def test_some_processors_do_not_load_perf_global_ctrl_properly(
    monkeypatch: pytest.MonkeyPatch, family: int, model: int, usable: bool
) -> None:
    """vmx.c:2533-2547."""
    monkeypatch.setattr(hardware_setup, "BOOT_CPU_FAMILY", family)
    monkeypatch.setattr(hardware_setup, "BOOT_CPU_MODEL", model)
    assert int(usable) == Machine().effective()["cpu_has_load_perf_global_ctrl"]


@pytest.mark.parametrize("has_nx", [True, False])
def test_guests_may_set_efer_nx_if_the_host_has_it(
    monkeypatch: pytest.MonkeyPatch, has_nx: bool
) -> None:
    """vmx.c:2622-2623."""
    monkeypatch.setattr(hardware_setup, "BOOT_CPU_HAS_NX", has_nx)
    assert has_nx == (not Machine().effective()["efer_reserved_bits"] & EFER_NX)


def test_vmxon_regions_that_exist_are_freed_if_one_cannot_be_made() -> None:
    """vmx.c:2589-2615."""
    machine = Machine()
    module = machine.vmx.module
    regions = list(module.vmxarea)
    machine.env.alloc_fail = "vmcs"
    machine.log.events = []
    assert -12 == hardware_setup.alloc_kvm_area(module, machine.env)
    assert ["alloc_vmcs_fail", ("free_vmcs", "02"), ("free_vmcs", "02")] == machine.log.events
    assert None not in regions
    assert [None, None] == module.vmxarea


def test_the_first_vmxon_region_leaves_nothing_to_free() -> None:
    """vmx.c:2589-2615: freeing a region that does not exist does nothing."""
    machine = Machine()
    module = machine.vmx.module
    module.vmxarea = [None, None]
    machine.env.alloc_fail = "vmcs"
    machine.log.events = []
    assert -12 == hardware_setup.alloc_kvm_area(module, machine.env)
    assert ["alloc_vmcs_fail"] == machine.log.events
