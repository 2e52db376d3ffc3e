# SPDX-License-Identifier: GPL-2.0-only
"""What stands for the rest of the kernel does what the README of the recordings says."""

from __future__ import annotations

import copy

import pytest

from kvmref.kernel.linux_3_3.outside.cpuid import kvm_find_cpuid_entry
from kvmref.kernel.linux_3_3.outside.host import smp_send_reschedule
from kvmref.kernel.linux_3_3.outside.irqchip import kvm_cpu_get_interrupt, kvm_cpu_has_interrupt
from kvmref.kernel.linux_3_3.outside.memory import (
    gfn_to_page,
    is_error_page,
    kvm_release_page_clean,
)
from kvmref.kernel.linux_3_3.x86_h import kvm_queue_interrupt
from kvmref.kernel.setup import Setup
from kvmref.machine.machine import Machine


@pytest.mark.parametrize(
    ("function", "present"), [(1, True), (7, True), (0x80000001, True), (0, False), (2, False)]
)
def test_cpuid_has_three_leaves(function: int, present: bool) -> None:
    """Section "CPUID, time, CPU, FPU, debug registers"."""
    assert present == (kvm_find_cpuid_entry(Machine().vmx, function, 0) is not None)


def test_the_highest_vector_comes_first_and_once() -> None:
    """Section "Interrupt controller": no vector is -1."""
    machine = Machine()
    machine.env.irr = 1 << 0x31 | 1 << 0x51
    machine.log.events = []
    assert [0x51, 0x31, -1] == [kvm_cpu_get_interrupt(machine.vmx) for _ in range(3)]
    assert [("ack_irq", 0x51), ("ack_irq", 0x31)] == machine.log.events


def test_without_an_interrupt_controller_the_interrupt_is_the_one_that_user_space_queued() -> None:
    """Section "Interrupt controller": taking it has no effect."""
    machine = Machine(Setup(irqchip=False))
    kvm_queue_interrupt(machine.vmx, 0x51, False)
    machine.log.events = []
    assert kvm_cpu_has_interrupt(machine.vmx)
    assert [0x51, 0x51] == [kvm_cpu_get_interrupt(machine.vmx) for _ in range(2)]
    assert [] == machine.log.events


def test_the_page_that_stands_for_no_page_is_the_same_in_every_copy() -> None:
    """Section "Guest memory": references to it do not count."""
    machine = Machine()
    missing = gfn_to_page(machine.env, 0x1000)
    assert is_error_page(missing)
    kvm_release_page_clean(missing)
    assert 0 == missing.references
    assert missing is copy.deepcopy(missing)


@pytest.mark.parametrize(("cpu", "pending"), [(0, True), (1, False)])
def test_an_ipi_to_another_cpu_interrupts_nobody_here(cpu: int, pending: bool) -> None:
    """Section "Interrupts of the host, and kicks"."""
    machine = Machine()
    machine.processor.cli()
    machine.log.events = []
    smp_send_reschedule(machine.env, cpu)
    assert [("smp_send_reschedule", cpu)] == machine.log.events
    assert pending == machine.processor.interrupt_pending
