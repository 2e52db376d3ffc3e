# SPDX-License-Identifier: GPL-2.0-only
"""A timeline tells what happened, when, and who did it."""

from __future__ import annotations

import json

import pytest
from recorded import FOLDER, IMMEDIATE_EXIT

from kvmref.harness.recordings.recording import Entered, load
from kvmref.harness.reports.timeline import (
    Arrow,
    Lane,
    Record,
    SpanKind,
    Timeline,
    What,
    of_reference,
    timeline,
)
from kvmref.harness.reports.watch import Watched, watch_steps
from kvmref.machine.steps import ClearRequest, Dump, Enter, Irq, Request
from kvmref.trace import Event

EVENT = 1 << 11
IMMEDIATE = 1 << 15


def entry(vmcs: str, intr_info: int = 0, err: int = 0) -> Event:
    return ("vmentry", vmcs, 1, intr_info, err, 0, 0x1000, 0x2000)


def of_log(*log: Event) -> Timeline:
    return timeline("t", [Record(Enter(), log=log)])


def whats(shown: Timeline) -> list[What]:
    return [marker.what for marker in shown.markers if marker.what is not What.OTHER]


def texts(shown: Timeline) -> list[str]:
    return [marker.text for marker in shown.markers]


def watched(name: str) -> list[Watched]:
    recording = load(FOLDER / f"{name}.jsonl.gz")
    return watch_steps(recording.setup, [(one.step, "", False) for one in recording.operations])


@pytest.fixture(scope="module")
def immediate_exit() -> Timeline:
    """Return the three passes of an immediate exit: request, run of L2, exit to L1."""
    return of_reference("immediate exit", watched("hand-01-immediate-exit")[12:16])


def test_watching_changes_nothing() -> None:
    recording = load(IMMEDIATE_EXIT)
    recorded = [one.results for one in recording.operations]
    for item, results in zip(watched("hand-01-immediate-exit"), recorded, strict=True):
        if isinstance(results, Entered):
            assert results.log == list(item.log)
            assert results.ret == item.ret


def test_there_is_a_sample_for_every_event_and_two_more() -> None:
    for item in watched("hand-01-immediate-exit"):
        assert len(item.log) + 2 == len(item.samples)


def test_the_story_of_an_immediate_exit(immediate_exit: Timeline) -> None:
    assert [
        What.REQUEST_MADE,
        What.REQUEST_CONSUMED,
        What.REQUEST_CONSUMED,
        What.REQUEST_MADE,
        What.IRQS_OFF,
        What.IRQS_ON,
        What.REQUEST_CONSUMED,
        What.IRQS_OFF,
        What.IPI_SENT,
        What.ENTRY,
        What.DELIVERY,
        What.EXIT,
        What.IRQS_ON,
        What.IPI_TAKEN,
        What.REQUEST_MADE,
        What.REQUEST_CONSUMED,
        What.TO_L1,
        What.REQUEST_MADE,
        What.IRQS_OFF,
        What.IRQS_ON,
    ] == whats(immediate_exit)


def test_requests_are_told_by_name(immediate_exit: Timeline) -> None:
    shown = [one.text for one in immediate_exit.markers if "request" in one.what.value]
    assert [
        "request EVENT is made",
        "L0 takes the request TLB_FLUSH",
        "L0 takes the request EVENT",
        "request IMMEDIATE_EXIT is made",
        "L0 takes the request IMMEDIATE_EXIT",
        "request EVENT is made",
        "L0 takes the request EVENT",
        "request TLB_FLUSH is made",
    ] == shown


def test_l2_runs_in_its_own_lane_while_interrupts_are_off(immediate_exit: Timeline) -> None:
    [run] = [span for span in immediate_exit.spans if span.kind is SpanKind.RUN]
    off = [span for span in immediate_exit.spans if span.kind is SpanKind.IRQS_OFF]
    assert Lane.L2 is run.lane
    assert any(span.start < run.start and run.end < span.end for span in off)


def test_the_ipi_is_an_arrow_from_who_sends_it_to_where_it_is_taken(
    immediate_exit: Timeline,
) -> None:
    times = {marker.what: marker.time for marker in immediate_exit.markers}
    assert (Arrow(times[What.IPI_SENT], times[What.IPI_TAKEN]),) == immediate_exit.arrows


def test_times_differ() -> None:
    shown = of_reference("t", watched("0001"))
    times = [marker.time for marker in shown.markers] + [step.start for step in shown.steps]
    assert len(times) == len(set(times))


def test_every_marker_lies_in_the_step_that_it_belongs_to(immediate_exit: Timeline) -> None:
    for marker in immediate_exit.markers:
        assert any(step.start < marker.time <= step.end for step in immediate_exit.steps)


def test_vmcs01_is_the_lane_of_l1_and_any_other_one_that_of_l2() -> None:
    shown = of_log(entry("01"), ("vmexit", "01", 12), entry("02"), ("vmexit", "02", 12))
    assert [Lane.L1, Lane.L2] == [span.lane for span in shown.spans]


@pytest.mark.parametrize(
    ("intr_info", "err", "delivered"),
    [
        (0x80000030, 0, "external interrupt 48 (0x30)"),
        (0x80000202, 0, "NMI"),
        (0x80000B0D, 0x18, "#GP, error code 0x18"),
        (0x80000306, 0, "#UD"),
        (0x80000603, 0, "software exception #BP"),
        (0x80000480, 0, "software interrupt 128 (0x80)"),
        (0x80000520, 0, "an event of a reserved type (0x80000520)"),
    ],
)
def test_what_is_injected_is_told_in_words(intr_info: int, err: int, delivered: str) -> None:
    shown = of_log(entry("02", intr_info, err), ("vmexit", "02", 1))
    assert f"L2 receives {delivered}" in texts(shown)


def test_information_that_is_not_valid_delivers_nothing() -> None:
    assert What.DELIVERY not in whats(of_log(entry("02", 0x30), ("vmexit", "02", 1)))


@pytest.mark.parametrize("end", [("vmfail", "02", 7), ("vmexit", "02", 0x80000021)])
def test_an_entry_that_fails_is_no_run_and_delivers_nothing(end: Event) -> None:
    shown = of_log(entry("02", 0x80000030), end)
    assert [What.ATTEMPT, What.ENTRY_FAILED] == whats(shown)
    assert () == shown.spans


def test_exit_reasons_have_their_names_and_unknown_ones_their_numbers() -> None:
    shown = of_log(entry("01"), ("vmexit", "01", 10), entry("01"), ("vmexit", "01", 63))
    assert "L1 exits: CPUID" in texts(shown)
    assert "L1 exits: exit reason 63" in texts(shown)


def test_loading_the_other_vmcs_is_a_switch_and_loading_the_same_one_is_not() -> None:
    shown = of_log(("vmptrld", "01"), ("vmptrld", "02"), ("vmptrld", "02"), ("vmptrld", "01"))
    assert [What.TO_L2, What.TO_L1] == whats(shown)


def test_a_starting_point_that_is_not_shown_still_says_which_vmcs_is_loaded() -> None:
    records = [
        Record(Enter(), log=(("vmptrld", "02"),), preamble=True),
        Record(Enter(), log=(("vmptrld", "01"),)),
    ]
    assert [What.TO_L1] == whats(timeline("t", records))
    assert [0] == [step.number for step in timeline("t", records).steps]
    assert [-1, 0] == [step.number for step in timeline("t", records, preamble=True).steps]


def test_requests_known_only_before_and_after_are_taken_first_and_made_last() -> None:
    records = [Record(Enter(), log=("mmu_load", "new_cr3"), requests=(EVENT, IMMEDIATE))]
    assert [What.REQUEST_CONSUMED, What.OTHER, What.OTHER, What.REQUEST_MADE] == [
        marker.what for marker in timeline("t", records).markers
    ]


def test_without_requests_nothing_is_said_of_them() -> None:
    assert [] == whats(timeline("t", [Record(Enter(), log=("mmu_load",))]))


def test_a_request_that_the_script_clears_is_not_taken_by_l0() -> None:
    records = [
        Record(Request(11), log=(), requests=(0, EVENT)),
        Record(ClearRequest(11), log=(), requests=(EVENT, 0)),
    ]
    assert ["request EVENT is made", "the request EVENT is cleared"] == texts(
        timeline("t", records)
    )


def test_a_step_without_a_log_is_there_and_says_so() -> None:
    [step] = timeline("t", [Record(Enter(), note="n", ret=1)]).steps
    assert (False, "n", 1) == (step.logged, step.note, step.ret)


def test_interrupts_that_stay_off_are_off_until_the_end() -> None:
    shown = of_log("local_irq_disable", "mmu_load")
    [span] = shown.spans
    assert shown.steps[-1].end == span.end


def test_an_interrupt_that_nobody_sent_has_no_arrow() -> None:
    shown = of_log("reschedule_interrupt")
    assert () == shown.arrows
    assert ["L0 takes an interrupt"] == texts(shown)


def test_a_kick_is_an_arrow_too() -> None:
    assert 1 == len(of_log("kick_ipi", "reschedule_interrupt").arrows)


def test_what_is_not_understood_is_shown_as_it_is() -> None:
    shown = of_log("something", ("vmentry",), ("vmexit", b"\x00"), ("nothing", -1))
    assert "something" in texts(shown)


def test_a_timeline_as_json_is_json_and_complete() -> None:
    shown = of_reference("t", watched("hand-01-immediate-exit"))
    read = json.loads(json.dumps(shown.as_json()))
    assert (1, "t", ["L0", "L1", "L2"]) == (read["format"], read["title"], read["lanes"])
    assert len(shown.steps) == len(read["steps"])
    assert len(shown.markers) == len(read["markers"])
    assert len(shown.spans) == len(read["spans"])
    assert [{"start": one.start, "end": one.end} for one in shown.arrows] == read["arrows"]


def test_steps_that_do_nothing_take_no_time() -> None:
    [step] = timeline("t", [Record(Dump(), log=())]).steps
    assert step.start == step.end


def test_a_timeline_is_always_the_same() -> None:
    assert of_reference("t", watched("0005")) == of_reference("t", watched("0005"))


def test_the_note_of_a_step_is_kept() -> None:
    [step] = timeline("t", [Record(Irq(81), "for L1", log=())]).steps
    assert ("interrupt 81 (0x51) arrives for L1", "for L1") == (step.text, step.note)
