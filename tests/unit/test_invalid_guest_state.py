# SPDX-License-Identifier: GPL-2.0-only
"""Which guest state counts as valid, and what happens while it does not."""

from __future__ import annotations

import pytest
from guests import read, requested, write

from kvmref.kernel.linux_3_3.include.asm_vmx import (
    CPU_BASED_VIRTUAL_INTR_PENDING,
    EXIT_REASON_CPUID,
)
from kvmref.kernel.linux_3_3.include.kvm_host import KVM_REQ_EVENT
from kvmref.kernel.linux_3_3.include.processor_flags import X86_CR0_ET
from kvmref.kernel.linux_3_3.vmx.handle_exit import vmx_handle_exit
from kvmref.kernel.linux_3_3.vmx.invalid_guest_state import guest_state_valid
from kvmref.machine.log import Hook
from kvmref.machine.machine import Machine
from kvmref.machine.steps import Enter

DPL_3_STACK = {"GUEST_SS_SELECTOR": 0x1B, "GUEST_SS_AR_BYTES": 0xC0F3}


@pytest.fixture
def machine() -> Machine:
    """Return a machine that emulates invalid guest state; the state of its L1 is valid."""
    machine = Machine()
    machine.vmx.module.emulate_invalid_guest_state = True
    machine.vmx.emulation_required = True
    return machine


def test_the_state_that_l1_starts_with_is_valid(machine: Machine) -> None:
    """vmx.c:3395-3438."""
    assert guest_state_valid(machine.vmx)


@pytest.mark.parametrize(
    ("valid", "fields"),
    [
        pytest.param(False, {"GUEST_CS_SELECTOR": 0x11}, id="RPL of CS is not that of SS"),
        pytest.param(False, {"GUEST_CS_AR_BYTES": 0x1A09B}, id="CS is unusable"),
        pytest.param(False, {"GUEST_CS_AR_BYTES": 0xA093}, id="CS is a data segment"),
        pytest.param(False, {"GUEST_CS_AR_BYTES": 0xA09A}, id="CS is not accessed"),
        pytest.param(False, {"GUEST_CS_AR_BYTES": 0xA08B}, id="CS is a system segment"),
        pytest.param(False, {"GUEST_CS_AR_BYTES": 0xA0BB}, id="DPL of CS is not its RPL"),
        pytest.param(True, {"GUEST_CS_AR_BYTES": 0xA09F}, id="CS is conforming"),
        pytest.param(False, {"GUEST_CS_AR_BYTES": 0xA0BF}, id="DPL of conforming CS above RPL"),
        pytest.param(
            True,
            {"GUEST_CS_SELECTOR": 0x13, "GUEST_CS_AR_BYTES": 0xA09F} | DPL_3_STACK,
            id="DPL of conforming CS below RPL",
        ),
        pytest.param(False, {"GUEST_CS_AR_BYTES": 0xA01B}, id="CS is not present"),
    ],
)
def test_a_code_segment_is_checked(machine: Machine, valid: bool, fields: dict[str, int]) -> None:
    """vmx.c:3268-3294, 3379-3388."""
    write(machine, **fields)
    assert valid == guest_state_valid(machine.vmx)


@pytest.mark.parametrize(
    ("valid", "access_rights"),
    [
        pytest.param(True, 0x1C093, id="unusable"),
        pytest.param(False, 0xC091, id="read-only"),
        pytest.param(True, 0xC097, id="writable, expand-down"),
        pytest.param(False, 0xC083, id="system segment"),
        pytest.param(False, 0xC0B3, id="DPL is not RPL"),
        pytest.param(False, 0xC013, id="not present"),
    ],
)
def test_a_stack_segment_is_checked(machine: Machine, valid: bool, access_rights: int) -> None:
    """vmx.c:3296-3316."""
    write(machine, GUEST_SS_AR_BYTES=access_rights)
    assert valid == guest_state_valid(machine.vmx)


@pytest.mark.parametrize("register", ["DS", "ES", "FS", "GS"])
@pytest.mark.parametrize(
    ("valid", "selector", "access_rights"),
    [
        pytest.param(True, 0x18, 0x10000, id="unusable"),
        pytest.param(False, 0x18, 0xC083, id="system segment"),
        pytest.param(False, 0x18, 0xC013, id="not present"),
        pytest.param(False, 0x1B, 0xC093, id="DPL below RPL"),
        pytest.param(True, 0x1B, 0xC0F3, id="DPL is RPL"),
        pytest.param(True, 0x1B, 0xC09F, id="conforming code, DPL below RPL"),
    ],
)
def test_a_data_segment_is_checked(
    machine: Machine, register: str, valid: bool, selector: int, access_rights: int
) -> None:
    """vmx.c:3318-3341."""
    fields = {
        f"GUEST_{register}_SELECTOR": selector,
        f"GUEST_{register}_AR_BYTES": access_rights,
    }
    write(machine, **fields)
    assert valid == guest_state_valid(machine.vmx)


@pytest.mark.parametrize(
    ("valid", "selector", "access_rights"),
    [
        pytest.param(False, 0x40, 0x1008B, id="unusable"),
        pytest.param(False, 0x44, 0x8B, id="in the LDT"),
        pytest.param(False, 0x40, 0x89, id="available"),
        pytest.param(True, 0x40, 0x83, id="16-bit"),
        pytest.param(False, 0x40, 0x0B, id="not present"),
    ],
)
def test_the_task_register_is_checked(
    machine: Machine, valid: bool, selector: int, access_rights: int
) -> None:
    """vmx.c:3343-3359."""
    write(machine, GUEST_TR_SELECTOR=selector, GUEST_TR_AR_BYTES=access_rights)
    assert valid == guest_state_valid(machine.vmx)


@pytest.mark.parametrize(
    ("valid", "selector", "access_rights"),
    [
        pytest.param(True, 0x04, 0x10000, id="unusable"),
        pytest.param(True, 0x48, 0x82, id="usable"),
        pytest.param(False, 0x4C, 0x82, id="in the LDT"),
        pytest.param(False, 0x48, 0x83, id="not an LDT"),
        pytest.param(False, 0x48, 0x02, id="not present"),
    ],
)
def test_ldtr_is_checked(machine: Machine, valid: bool, selector: int, access_rights: int) -> None:
    """vmx.c:3361-3377."""
    write(machine, GUEST_LDTR_SELECTOR=selector, GUEST_LDTR_AR_BYTES=access_rights)
    assert valid == guest_state_valid(machine.vmx)


def real_mode_segments() -> dict[str, int]:
    """Return segment registers that virtual-8086 mode can be entered with."""
    fields: dict[str, int] = {}
    for number, register in enumerate(["CS", "SS", "DS", "ES", "FS", "GS"]):
        fields |= {
            f"GUEST_{register}_SELECTOR": 0x100 + number,
            f"GUEST_{register}_BASE": 0x1000 + 0x10 * number,
            f"GUEST_{register}_LIMIT": 0xFFFF,
            f"GUEST_{register}_AR_BYTES": 0xF3,
        }
    return fields


def test_real_mode_segments_are_valid_if_virtual_8086_mode_could_have_loaded_them(
    machine: Machine,
) -> None:
    """vmx.c:3250-3266, 3398-3410."""
    machine.vmx.arch.cr0 = X86_CR0_ET
    write(machine, **real_mode_segments())
    assert guest_state_valid(machine.vmx)


@pytest.mark.parametrize("register", ["CS", "SS", "DS", "ES", "FS", "GS"])
@pytest.mark.parametrize(("field", "value"), [("BASE", 0), ("LIMIT", 0xFFFFF), ("AR_BYTES", 0x93)])
def test_each_real_mode_segment_is_checked(
    machine: Machine, register: str, field: str, value: int
) -> None:
    """vmx.c:3250-3266, 3398-3410."""
    machine.vmx.arch.cr0 = X86_CR0_ET
    write(machine, **real_mode_segments() | {f"GUEST_{register}_{field}": value})
    assert not guest_state_valid(machine.vmx)


def test_valid_state_ends_the_emulation(machine: Machine) -> None:
    """vmx.c:4889, 4910-4912: not one instruction is emulated."""
    machine.log.events = []
    assert 1 == vmx_handle_exit(machine.vmx)
    assert not machine.vmx.emulation_required
    assert [] == machine.log.events


def test_without_the_module_parameter_the_exit_is_handled(machine: Machine) -> None:
    """vmx.c:5853-5854."""
    machine.vmx.module.emulate_invalid_guest_state = False
    machine.vmx.exit_reason = EXIT_REASON_CPUID
    machine.log.events = []
    assert 1 == vmx_handle_exit(machine.vmx)
    assert machine.vmx.emulation_required
    assert ["emulate_cpuid"] == machine.log.events


def test_the_emulation_comes_before_everything_else(machine: Machine) -> None:
    """vmx.c:5853-5862: a nested entry stays pending, and no event is requested for it."""
    machine.vmx.nested.nested_run_pending = True
    machine.vmx.requests = 0
    assert 1 == vmx_handle_exit(machine.vmx)
    assert machine.vmx.nested.nested_run_pending
    assert 0 == machine.vmx.requests


def test_the_guest_is_not_run_while_its_state_is_invalid(machine: Machine) -> None:
    """vmx.c:6132-6133."""
    write(machine, GUEST_CS_AR_BYTES=0xA01B)
    machine.env.emul = 1
    result = machine.step(Enter())
    assert 0 == result.ret
    assert "vmentry" not in [event[0] for event in result.log if isinstance(event, tuple)]
    assert ("emulate_instruction", 0) in result.log


@pytest.mark.parametrize("emul", [1, 2])
def test_emulation_that_needs_user_space_or_fails_leaves_the_kernel(
    machine: Machine, emul: int
) -> None:
    """vmx.c:4896-4902."""
    write(machine, GUEST_CS_AR_BYTES=0xA01B)
    machine.env.emul = emul
    assert 0 == vmx_handle_exit(machine.vmx)
    assert machine.vmx.emulation_required


def test_an_interrupt_window_ends_the_emulation_before_the_next_instruction(
    machine: Machine,
) -> None:
    """vmx.c:4886-4892."""
    controls = read(machine, "CPU_BASED_VM_EXEC_CONTROL")
    write(
        machine,
        GUEST_CS_AR_BYTES=0xA01B,
        CPU_BASED_VM_EXEC_CONTROL=controls | CPU_BASED_VIRTUAL_INTR_PENDING,
    )
    machine.vmx.requests = 0
    machine.log.events = []
    assert 1 == vmx_handle_exit(machine.vmx)
    assert controls == read(machine, "CPU_BASED_VM_EXEC_CONTROL")
    assert requested(machine, KVM_REQ_EVENT)
    assert [] == machine.log.events
    assert machine.vmx.emulation_required


def test_an_interrupt_window_that_is_closed_does_not_end_the_emulation(machine: Machine) -> None:
    """vmx.c:4890-4891: RFLAGS.IF is 0."""
    write(machine, GUEST_CS_AR_BYTES=0xA01B, CPU_BASED_VM_EXEC_CONTROL=1 << 2)
    machine.vmx.rflags = 0x2
    machine.env.emul = 1
    machine.log.events = []
    assert 0 == vmx_handle_exit(machine.vmx)
    assert [("emulate_instruction", 0)] == machine.log.events


def test_a_signal_ends_the_emulation_after_an_instruction(machine: Machine) -> None:
    """vmx.c:4904-4905."""
    write(machine, GUEST_CS_AR_BYTES=0xA01B)
    machine.env.signal_pending = True
    machine.log.events = []
    assert 1 == vmx_handle_exit(machine.vmx)
    assert [("emulate_instruction", 0)] == machine.log.events
    assert machine.vmx.emulation_required


@pytest.mark.parametrize("resched", [False, True])
def test_instructions_are_emulated_until_the_state_is_valid(
    machine: Machine, resched: bool
) -> None:
    """vmx.c:4889-4911: the CPU is given up between two instructions if another thread needs it."""
    write(machine, GUEST_CS_AR_BYTES=0xA01B)
    machine.env.need_resched = resched
    machine.log.events = []

    def present() -> None:
        events = machine.log.events
        write(machine, GUEST_CS_AR_BYTES=0xA09B)
        machine.log.events = events

    machine.log.hooks.append(Hook("need_resched", 3, present))
    assert 1 == vmx_handle_exit(machine.vmx)
    assert [("emulate_instruction", 0)] * 3 == machine.log.events
    assert not machine.vmx.emulation_required
    assert not machine.env.need_resched
