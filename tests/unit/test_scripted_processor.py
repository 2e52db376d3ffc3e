# SPDX-License-Identifier: GPL-2.0-only
"""The scripted processor, without a kernel; and what encodings of VMCS fields say."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kvmref.integers import u64
from kvmref.machine.log import Log
from kvmref.processor.scripted import Outcome, ScriptedProcessor
from kvmref.processor.vmcs import NO_VMCS, Vmcs
from kvmref.processor.vmcs_fields import (
    EXIT_QUALIFICATION,
    GUEST_RIP,
    VM_ENTRY_INTR_INFO_FIELD,
    VM_EXIT_INTR_INFO,
    VM_EXIT_REASON,
    VM_INSTRUCTION_ERROR,
    FieldType,
    FieldWidth,
    field_type,
    field_width,
)


@dataclass
class Registers:
    """The registers of a guest."""

    regs: list[u64] = field(default_factory=lambda: [0] * 16)
    cr2: u64 = 0


@pytest.fixture
def processor() -> ScriptedProcessor:
    """Return a processor with a current VMCS."""
    processor = ScriptedProcessor({0x10: 5}, 0, Log())
    processor.vmptrld(Vmcs("01"))
    return processor


def run(processor: ScriptedProcessor, *outcomes: Outcome) -> tuple[bool, Registers]:
    """Queue *outcomes* and run the guest once."""
    processor.outcomes.extend(outcomes)
    guest = Registers()
    return processor.vm_entry(guest, False), guest


def test_a_run_comes_to_what_the_script_says(processor: ScriptedProcessor) -> None:
    entered, guest = run(
        processor,
        Outcome(reason=10, qual=7, fields={GUEST_RIP: 0x123}, regs={3: 0x456}, cr2=0x789),
        Outcome(reason=12),
    )
    fields = processor.vmcs.fields
    assert entered
    assert (10, 7, 0x123) == (fields[VM_EXIT_REASON], fields[EXIT_QUALIFICATION], fields[GUEST_RIP])
    assert (0x456, 0x789) == (guest.regs[3], guest.cr2)
    assert 1 == len(processor.outcomes)


def test_a_script_that_has_ended_gives_external_interrupts(processor: ScriptedProcessor) -> None:
    run(processor)
    assert 1 == processor.vmcs.fields[VM_EXIT_REASON]
    assert isinstance(processor.trace, Log)
    assert ["default_exit"] == processor.trace.events


@pytest.mark.parametrize(("force", "reason"), [(False, 1), (True, 10)])
def test_a_pending_interrupt_ends_the_run_at_once(
    processor: ScriptedProcessor, force: bool, reason: int
) -> None:
    processor.cli()
    processor.interrupt()
    run(processor, Outcome(reason=10, force=force))
    assert reason == processor.vmcs.fields[VM_EXIT_REASON]
    assert processor.interrupt_pending
    assert int(not force) == len(processor.outcomes)


def test_a_pending_interrupt_is_taken_when_interrupts_are_enabled(
    processor: ScriptedProcessor,
) -> None:
    taken: list[bool] = []
    processor.on_interrupt = lambda: taken.append(processor.interrupt_flag)
    processor.cli()
    processor.interrupt()
    assert [] == taken
    processor.sti()
    assert [True] == taken
    assert not processor.interrupt_pending
    processor.interrupt()
    assert [True, True] == taken


def test_nobody_has_to_take_interrupts(processor: ScriptedProcessor) -> None:
    processor.interrupt()
    assert not processor.interrupt_pending


def test_an_entry_that_the_processor_refuses_only_leaves_the_error(
    processor: ScriptedProcessor,
) -> None:
    """SDM volume 3, 31.2: VMfailValid."""
    processor.vmcs.fields[VM_EXIT_REASON] = 10
    entered, _ = run(processor, Outcome(fail=7, reason=12))
    assert not entered
    assert 7 == processor.vmcs.fields[VM_INSTRUCTION_ERROR]
    assert 10 == processor.vmcs.fields[VM_EXIT_REASON]


@pytest.mark.parametrize(
    ("reason", "intr_info", "injection"),
    [(0x80000021, 0, 0x80000030), (10, 0x80000301, 0x30)],
    ids=["entry failure", "exit"],
)
def test_an_injection_that_was_not_delivered_stays_valid(
    processor: ScriptedProcessor, reason: int, intr_info: int, injection: int
) -> None:
    """SDM volume 3, 27.8: the valid bit is cleared by the exit of a guest that ran."""
    processor.vmcs.fields[VM_ENTRY_INTR_INFO_FIELD] = 0x80000030
    run(processor, Outcome(reason=reason, intr_info=0x80000301))
    assert intr_info == processor.vmcs.fields[VM_EXIT_INTR_INFO]
    assert injection == processor.vmcs.fields[VM_ENTRY_INTR_INFO_FIELD]


def test_each_logical_processor_has_a_current_vmcs(processor: ScriptedProcessor) -> None:
    first = processor.vmcs
    processor.move_to(1)
    assert NO_VMCS is processor.vmcs
    processor.vmptrld(Vmcs("02"))
    processor.move_to(0)
    assert first is processor.vmcs
    processor.vmclear(first)
    assert NO_VMCS is processor.vmcs


def test_a_vmcs_that_is_not_current_has_no_fields() -> None:
    with pytest.raises(KeyError):
        NO_VMCS.fields[GUEST_RIP]
    with pytest.raises(KeyError):
        NO_VMCS.write(GUEST_RIP, 1)


def test_msrs_that_were_not_given_are_zero(processor: ScriptedProcessor) -> None:
    assert (5, 0) == (processor.rdmsr(0x10), processor.rdmsr(0x11))
    processor.wrmsr(0x11, 6)
    assert 6 == processor.rdmsr(0x11)


@pytest.mark.parametrize(
    ("encoding", "width", "kind"),
    [
        (0x0000, FieldWidth.WORD, FieldType.CONTROL),
        (0x2000, FieldWidth.QUADWORD, FieldType.CONTROL),
        (0x2001, FieldWidth.DOUBLEWORD, FieldType.CONTROL),
        (0x4402, FieldWidth.DOUBLEWORD, FieldType.READ_ONLY_DATA),
        (0x681E, FieldWidth.NATURAL, FieldType.GUEST_STATE),
        (0x6C16, FieldWidth.NATURAL, FieldType.HOST_STATE),
    ],
)
def test_an_encoding_says_what_a_field_is(
    encoding: int, width: FieldWidth, kind: FieldType
) -> None:
    """SDM volume 3, 25.11.2."""
    assert (width, kind) == (field_width(encoding), field_type(encoding))
