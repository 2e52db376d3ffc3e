# SPDX-License-Identifier: GPL-2.0-only
"""Around the run of the guest: breakpoints of the host, the threshold of the TPR, APIC accesses."""

from __future__ import annotations

import pytest
from guests import read, write

from kvmref.kernel.linux_3_3.include.kvm_host import kvm_lapic
from kvmref.kernel.linux_3_3.vmx.other_exits import handle_apic_access
from kvmref.kernel.linux_3_3.x86 import enter_guest
from kvmref.kernel.linux_3_3.x86.enter_guest import update_cr8_intercept
from kvmref.machine.machine import Machine
from kvmref.machine.steps import Enter


@pytest.mark.parametrize("active", [True, False])
def test_the_hosts_breakpoints_are_restored_if_it_uses_them(
    monkeypatch: pytest.MonkeyPatch, active: bool
) -> None:
    """x86.c:5259-5260: right after the run, before interrupts are enabled."""
    machine = Machine()
    restored: list[bool] = []
    monkeypatch.setattr(enter_guest, "hw_breakpoint_active", lambda _: active)
    monkeypatch.setattr(
        enter_guest,
        "hw_breakpoint_restore",
        lambda _: restored.append(machine.processor.interrupt_flag),
    )
    machine.step(Enter())
    assert ([False] if active else []) == restored


@pytest.mark.parametrize(
    ("apic", "cr8", "threshold"),
    [
        pytest.param(kvm_lapic(), 5, 3, id="an interrupt waits for the TPR"),
        pytest.param(kvm_lapic(), 2, 0, id="the TPR does not hold it back"),
        pytest.param(kvm_lapic(vapic_addr=0x1000), 5, 0, id="a vapic page is in use"),
        pytest.param(None, 5, 9, id="no APIC"),
    ],
)
def test_writes_to_cr8_exit_only_if_an_interrupt_waits_for_them(
    apic: kvm_lapic | None, cr8: int, threshold: int
) -> None:
    """x86.c:5036-5057, vmx.c:5927-5935."""
    machine = Machine()
    write(machine, TPR_THRESHOLD=9)
    machine.env.irr = 1 << 0x31
    machine.vmx.arch.apic = apic
    machine.vmx.arch.cr8 = cr8
    update_cr8_intercept(machine.vmx)
    assert threshold == read(machine, "TPR_THRESHOLD")


@pytest.mark.parametrize(
    ("fasteoi", "log"), [(True, ["lapic_eoi"]), (False, [("emulate_instruction", 0)])]
)
def test_the_end_of_an_interrupt_is_emulated_the_short_way_if_that_is_wanted(
    fasteoi: bool, log: list[object]
) -> None:
    """vmx.c:4655-4673."""
    machine = Machine()
    machine.vmx.module.fasteoi = fasteoi
    write(machine, EXIT_QUALIFICATION=0x10B0)
    machine.log.events = []
    assert 1 == handle_apic_access(machine.vmx)
    assert log == machine.log.events
