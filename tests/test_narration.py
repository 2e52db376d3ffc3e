# SPDX-License-Identifier: GPL-2.0-only
"""Everything that can be done, and everything that can happen, has words."""

from __future__ import annotations

from typing import get_args

import pytest
from recorded import FILES

from kvmref.harness.recordings.recording import load
from kvmref.harness.wording.narration import (
    delivered_in_words,
    reason_in_words,
    requests_in_words,
    step_in_words,
)
from kvmref.machine.steps import (
    AllocFail,
    At,
    ClearExits,
    ClearHooks,
    ClearRequest,
    Destroy,
    Dump,
    Enter,
    Events,
    Exit,
    HostIrq,
    HostIrqNow,
    Irq,
    Kick,
    Ktime,
    Map,
    Mem,
    MmuFail,
    Nmi,
    PokeVmcs12,
    QueueException,
    Request,
    Resched,
    Sched,
    Set,
    Signal,
    Step,
    TimeFail,
    Tsc,
    Unmap,
    WriteRegisters,
    WriteVmcs,
    WriteVmcs12,
)
from kvmref.processor.scripted import Outcome
from kvmref.processor.vmcs_fields import GUEST_RIP

WORDS = [
    (Enter(), "L0 calls vcpu_enter_guest"),
    (Dump(), "the state is looked at"),
    (Exit(Outcome(reason=10)), "the next guest run will end with CPUID"),
    (
        Exit(Outcome(reason=0, intr_info=0x80000B0E, intr_err=2, idt_info=0x80000030)),
        "the next guest run will end with EXCEPTION_NMI, #PF, error code 0x2,"
        " while delivering external interrupt 48 (0x30)",
    ),
    (Exit(Outcome(reason=0x80000021)), "the next VM entry will fail: INVALID_STATE"),
    (Exit(Outcome(fail=7)), "the next VM entry will be a VMfail with error 7"),
    (ClearExits(), "the script of guest runs is emptied"),
    (Irq(81), "interrupt 81 (0x51) arrives for L1"),
    (Irq(81, noreq=True), "interrupt 81 (0x51) arrives for L1, without a request"),
    (Nmi(), "an NMI arrives for L1"),
    (QueueException(13, 0x18), "#GP, error code 0x18 is queued"),
    (QueueException(3, reinject=True), "#BP is queued again"),
    (QueueException(99), "exception 99 is queued"),
    (Request(11), "request EVENT is made"),
    (ClearRequest(40), "request 40 is cleared"),
    (Kick(), "the virtual CPU is kicked"),
    (Signal(True), "a signal is pending"),
    (Signal(False), "a signal is no longer pending"),
    (Resched(True), "the thread should give up the CPU"),
    (HostIrq(), "a device interrupts the host during the next guest run"),
    (HostIrqNow(), "a device interrupts the host"),
    (Sched(), "the thread is scheduled out, and in again"),
    (Sched(1), "the thread is scheduled out, and in again on CPU 1"),
    (Mem(0x8000, 8, 0x30000), "8 bytes at 0x8000 become 0x30000"),
    (Unmap(0x8000), "the page of 0x8000 is unmapped"),
    (Map(0x8000), "the page of 0x8000 is mapped again"),
    (WriteVmcs12(0x30000, {"guest_rip": 1}), "the vmcs12 at 0x30000 is written: guest_rip=0x1"),
    (WriteVmcs12(0x30000, {}, True), "the vmcs12 at 0x30000 is cleared, then written"),
    (
        PokeVmcs12(
            {"guest_cr0": 1, "guest_cr3": 2, "guest_cr4": 3, "guest_rip": 4, "guest_rsp": 5}
        ),
        "the current vmcs12 is written: guest_cr0, guest_cr3, guest_cr4 and 2 more",
    ),
    (WriteRegisters({"rax": 16}), "registers are written: rax=0x10"),
    (WriteVmcs({GUEST_RIP: 16}), "the VMCS is written: GUEST_RIP=0x10"),
    (Set({"riw": 1}), "variables of L0 are set: riw=0x1"),
    (Events(2, True), "user space restores the state of events: shadow=0x2, nmi_masked=0x1"),
    (Events(), "user space restores the state of events"),
    (Tsc(16), "the host's TSC is 0x10"),
    (Ktime(5), "the host's clock is 5 ns"),
    (MmuFail(), "the next kvm_mmu_reload fails"),
    (TimeFail(), "the next kvm_guest_time_update fails"),
    (AllocFail("vmcs"), "the next allocation of a vmcs fails"),
    (At("smp_mb", Kick()), "at the next smp_mb: the virtual CPU is kicked"),
    (At("vmentry", Kick(), 2), "at occurrence 2 of vmentry: the virtual CPU is kicked"),
    (ClearHooks(), "all hooks are forgotten"),
    (Destroy(), "L1 goes down"),
]


@pytest.mark.parametrize(("step", "words"), WORDS, ids=lambda value: type(value).__name__)
def test_a_step_in_words(step: Step, words: str) -> None:
    assert words == step_in_words(step)


def test_every_kind_of_step_is_among_them() -> None:
    assert set(get_args(Step)) == {type(step) for step, _ in WORDS}


def test_every_step_of_recordings_has_words() -> None:
    for file in FILES[::16]:
        for operation in load(str(file)).operations:
            assert step_in_words(operation.step)


def test_requests_have_names_and_unknown_ones_numbers() -> None:
    assert ["TLB_FLUSH", "EVENT", "bit 63"] == requests_in_words(1 | 1 << 11 | 1 << 63)
    assert [] == requests_in_words(0)


def test_reasons_have_names_and_unknown_ones_numbers() -> None:
    assert "EPT_VIOLATION" == reason_in_words(48)
    assert "INVALID_STATE" == reason_in_words(0x80000021)
    assert "exit reason 65535" == reason_in_words(0xFFFF)


def test_an_nmi_with_another_vector_says_so() -> None:
    assert "NMI with vector 3" == delivered_in_words(0x80000203)
