# SPDX-License-Identifier: GPL-2.0-only
"""The judge: what it asks, what it compares, what it masks, and how it explains what is wrong."""

from __future__ import annotations

from pathlib import Path

import mutants
import pytest
from scenarios import expecting, suite, vector

from kvmref.cli.vector_arguments import load_asked
from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.implementations.interface import Answer, Hello, Implementation
from kvmref.harness.judging.check import first_missing, matches, run_vector
from kvmref.harness.judging.verdict import Outcome, Verdict
from kvmref.harness.reports.explanation import explain, headline, side_by_side
from kvmref.harness.vectors.directories import suite_directory
from kvmref.harness.vectors.model import EventPattern, ExpectedValue, Vector
from kvmref.harness.wording.findings import expected_in_words, item_in_words, value_in_words
from kvmref.machine.steps import Dump, Enter, Irq, Kick, Nmi
from kvmref.trace import Event

ALL = Hello("fake", "1", ("3.3",), levels=("l0", "l1"), log=True, ret=True)
NONE = Hello("fake", "1", ("3.3",))
L1 = Hello("fake", "1", ("3.3",), levels=("l1",))
EVENT = EventPattern("kick_ipi")


def judged(vector: Vector, implementation: Implementation) -> Verdict:
    return run_vector(vector, implementation, implementation.hello())


def keys(**values: int) -> dict[str, ExpectedValue]:
    return {name: ExpectedValue(value) for name, value in values.items()}


# What the implementation is told.


def test_the_implementation_gets_the_setup_and_all_steps_in_order() -> None:
    fake = mutants.Fake(ALL)
    tested = vector(expecting(Kick()), expecting(Enter()), preamble=(Dump(), Irq(81)))
    judged(tested, fake)
    assert [tested.setup] == fake.setups
    assert [Dump(), Irq(81), Kick(), Enter()] == fake.steps


def test_the_implementation_is_asked_for_the_expected_keys_only() -> None:
    fake = mutants.Fake(ALL, values={"mode": 0, "rip": 1})
    judged(vector(expecting(Dump(), values=keys(mode=0)), expecting(Dump())), fake)
    assert [["mode"]] == fake.asked


def test_the_implementation_is_not_asked_for_what_it_cannot_show() -> None:
    fake = mutants.Fake(L1, values={"rip": 1})
    judged(vector(expecting(Dump(), values=keys(mode=0, rip=1))), fake)
    assert [["rip"]] == fake.asked


# What is compared, and what is masked.


def test_everything_observed_as_expected_is_a_pass() -> None:
    fake = mutants.Fake(ALL, [Answer(1, ["kick_ipi"])], {"mode": 0})
    expected = expecting(Enter(), ret=1, log=(EVENT,), values=keys(mode=0))
    verdict = judged(vector(expected), fake)
    assert (Outcome.PASSED, 3, 0) == (verdict.outcome, verdict.checked, verdict.masked)
    assert (("kick_ipi",),) == verdict.logs
    assert () == verdict.reference_logs


def test_what_is_not_shown_is_masked() -> None:
    fake = mutants.Fake(NONE, [Answer(0, [])])
    expected = expecting(Enter(), ret=1, log=(EVENT,), never=(EVENT,), values=keys(mode=0))
    verdict = judged(vector(expected), fake)
    assert (Outcome.MASKED, 0, 4) == (verdict.outcome, verdict.checked, verdict.masked)
    assert (None,) == verdict.logs


def test_a_key_that_is_shown_but_missing_in_the_answer_is_masked() -> None:
    verdict = judged(vector(expecting(Dump(), values=keys(mode=0))), mutants.Fake(ALL))
    assert (Outcome.MASKED, 0, 1) == (verdict.outcome, verdict.checked, verdict.masked)


def test_a_step_that_is_not_supported_masks_what_comes_after_it() -> None:
    fake = mutants.Fake(ALL, [Answer(), None], {"mode": 0})
    steps = [expecting(step, values=keys(mode=0)) for step in (Dump(), Nmi(), Kick())]
    verdict = judged(vector(*steps), fake)
    assert (Outcome.MASKED, 1, 2) == (verdict.outcome, verdict.checked, verdict.masked)
    assert [Dump(), Nmi()] == fake.steps


def test_a_step_of_the_starting_point_that_is_not_supported_masks_everything() -> None:
    tested = vector(expecting(Dump(), values=keys(mode=0)), preamble=(Nmi(),))
    verdict = judged(tested, mutants.Fake(ALL, [None]))
    assert (Outcome.MASKED, 0, 1) == (verdict.outcome, verdict.checked, verdict.masked)


def test_a_vector_ends_at_the_first_step_that_differs_with_all_its_differences() -> None:
    fake = mutants.Fake(ALL, [Answer(), Answer(0, [])], {"mode": 0, "cpu": 3})
    differs = expecting(Enter(), ret=1, log=(EVENT,), values=keys(mode=2, cpu=3))
    verdict = judged(vector(expecting(Dump()), differs, expecting(Kick())), fake)
    assert Outcome.FAILED is verdict.outcome
    assert ["ret", "log", "mode"] == [difference.key for difference in verdict.differences]
    assert {1} == {difference.step for difference in verdict.differences}
    assert [Dump(), Enter()] == fake.steps
    assert 2 == len(verdict.reference_logs)


def test_a_difference_counts_more_than_what_is_masked() -> None:
    fake = mutants.Fake(L1, values={"rip": 1})
    verdict = judged(vector(expecting(Dump(), values=keys(mode=0, rip=2))), fake)
    assert (Outcome.FAILED, 1, 1) == (verdict.outcome, verdict.checked, verdict.masked)


def test_only_the_bits_of_a_mask_are_compared() -> None:
    def rflags(expected: ExpectedValue) -> Verdict:
        fake = mutants.Fake(ALL, values={"rflags": 0x206})
        return judged(vector(expecting(Dump(), values={"rflags": expected})), fake)

    assert Outcome.PASSED is rflags(ExpectedValue(0x200, mask=0x201)).outcome
    (difference,) = rflags(ExpectedValue(0x201, mask=0x201)).differences
    assert "CF, IF set" == difference.expected


# Logs.


LOG: list[Event] = [
    "mmu_load",
    ("smp_send_reschedule", 0),
    ("vmexit", "02", 1),
    ("vmexit", "01", 7),
]


def test_a_pattern_looks_at_the_arguments_that_it_names() -> None:
    assert matches(EventPattern("vmexit"), ("vmexit", "02", 1))
    assert matches(EventPattern("vmexit", {"reason": 1}), ("vmexit", "02", 1))
    assert not matches(EventPattern("vmexit", {"reason": 7}), ("vmexit", "02", 1))
    assert not matches(EventPattern("vmexit", {"reason": 7}), "vmexit")


def test_patterns_are_found_in_order_with_others_in_between() -> None:
    assert None is first_missing([EventPattern("mmu_load"), EventPattern("vmexit")], LOG)
    assert None is first_missing([EventPattern("vmexit"), EventPattern("vmexit")], LOG)


@pytest.mark.parametrize(
    ("patterns", "expected", "observed"),
    [
        ([EventPattern("kick_ipi")], "kick_ipi", "not in the log"),
        (
            [EventPattern("vmexit"), EventPattern("mmu_load")],
            "mmu_load after vmexit vmcs=02 reason=0x1 (EXTERNAL_INTERRUPT)",
            "it only comes before that, as item 0 of the log",
        ),
        (
            [EventPattern("vmexit", {"vmcs": "02", "reason": 10})],
            "vmexit vmcs=02 reason=0xa (CPUID)",
            "vmexit vmcs=02 reason=0x1 (EXTERNAL_INTERRUPT), item 2 of the log",
        ),
    ],
)
def test_a_missing_event_is_told_with_what_comes_nearest(
    patterns: list[EventPattern], expected: str, observed: str
) -> None:
    assert (expected, observed) == first_missing(patterns, LOG)


def test_an_event_that_must_not_happen_is_a_difference() -> None:
    fake = mutants.Fake(ALL, [Answer(None, ["mmu_load", "kick_ipi"])])
    verdict = judged(vector(expecting(Dump(), never=(EVENT,))), fake)
    difference = verdict.differences[0]
    assert ("no kick_ipi", "kick_ipi, item 1 of the log") == (
        difference.expected,
        difference.observed,
    )


def test_logs_are_shown_side_by_side_with_what_they_share_on_the_same_lines() -> None:
    rows = side_by_side(["mmu_load", "get_cpu"], ["mmu_load", "kick_ipi", "get_cpu"])
    assert [("mmu_load", "mmu_load"), ("", "kick_ipi"), ("get_cpu", "get_cpu")] == [
        (row.observed, row.reference) for row in rows
    ]


# Words.


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("requests", 0x8000, "0x8000 (IMMEDIATE_EXIT)"),
        ("requests", 0, "0x0 (none)"),
        ("vmx.exit_reason", 0x80000021, "0x80000021 (INVALID_STATE + FAILED_VMENTRY)"),
        ("vmcs12.vm_exit_reason", 0xFFF, "0xfff"),
        ("vmcs12.vm_entry_intr_info_field", 0x30, "0x30 (not valid)"),
        (
            "vmcs12.vm_entry_intr_info_field",
            0x80000030,
            "0x80000030 (external interrupt 48 (0x30))",
        ),
        ("vmcs12.vm_entry_intr_info_field", 0x80000B0E, "0x80000b0e (#PF with an error code)"),
        ("vmcs12.vm_entry_intr_info_field", 0, "0x0"),
        ("vmcs12.guest_rip", None, "nothing"),
        ("irr", [81], "[81]"),
        ("loaded", "02", "02"),
        ("rip", "nonsense", "nonsense"),
    ],
)
def test_values_are_shown_with_the_names_of_what_they_consist_of(
    key: str, value: object, words: str
) -> None:
    assert words == value_in_words(key, value)


def test_bits_are_shown_as_set_or_clear() -> None:
    assert "IF set; CF clear" == expected_in_words("rflags", ExpectedValue(0x200, mask=0x201))
    assert "0x1 in the bits 0x3" == expected_in_words("rip", ExpectedValue(1, mask=3))


def test_an_event_that_does_not_exist_is_shown_as_it_is() -> None:
    assert '["vmexit",1,2,3,4]' == item_in_words(("vmexit", 1, 2, 3, 4))


# Implementations that break.


def test_an_exception_is_an_error_and_no_traceback() -> None:
    tested = vector(expecting(Dump()))
    verdict = judged(tested, mutants.Raises())
    assert Outcome.ERRORED is verdict.outcome
    assert "raised ValueError: something went wrong" == verdict.error
    assert "mutants.py" in verdict.transcript[-1]


def test_an_implementation_error_comes_with_its_transcript() -> None:
    verdict = judged(vector(expecting(Enter())), mutants.RaisesOnEntry())
    assert (Outcome.ERRORED, "no answer") == (verdict.outcome, verdict.error)
    assert ("> enter", "< ") == verdict.transcript
    assert "transcript\n    > enter\n" in explain(verdict)


# The vectors by hand, on the reference and on mutants of it.


@pytest.fixture
def scenarios(tmp_path: Path) -> dict[str, Vector]:
    return suite(tmp_path)


def test_the_reference_passes(scenarios: dict[str, Vector]) -> None:
    for tested in scenarios.values():
        assert Outcome.PASSED is judged(tested, MachineImplementation()).outcome


def test_without_the_ipi_l2_runs_and_the_explanation_names_the_ipi(
    scenarios: dict[str, Vector],
) -> None:
    verdict = judged(scenarios["immediate-exit/request"], mutants.SkipsTheIpi())
    assert "log after step 2: expected smp_send_reschedule, observed not in the log" == headline(
        verdict
    )
    text = explain(verdict)
    lines = text.splitlines()
    assert "FAILED immediate-exit/request" == lines[0]
    assert "why it matters  L1's interrupt waits until L2 happens to exit." in text
    assert "after step      2 enter: runs L2, and comes back at once" in text
    assert any("enable_irq_window makes the request" in line for line in lines)
    marked = [line.split() for line in lines if line.startswith("    >")]
    assert [">", "smp_send_reschedule", "cpu=0"] == marked[-1]
    assert "vcpu_enter_guest  arch/x86/kvm/x86.c:5135-5298" in text


def test_a_valid_bit_that_stays_is_named(scenarios: dict[str, Vector]) -> None:
    verdict = judged(scenarios["injection/one-off"], mutants.KeepsTheValidBit())
    assert (
        "vmcs12.vm_entry_intr_info_field after step 1: expected 0x30 (not valid),"
        " observed 0x80000030 (external interrupt 48 (0x30))"
    ) == headline(verdict)
    text = explain(verdict)
    assert "prepare_vmcs12 clears the valid bit." in text
    assert "prepare_vmcs12  arch/x86/kvm/vmx.c:" in text
    assert "the same as that of the reference" in text


def test_a_request_that_is_consumed_early_is_missing_where_it_is_served(
    scenarios: dict[str, Vector],
) -> None:
    verdict = judged(scenarios["immediate-exit/request"], mutants.ConsumesTheRequestEarly())
    assert {2} == {difference.step for difference in verdict.differences}
    assert "expected smp_send_reschedule" in headline(verdict)
    assert "enable_irq_window  arch/x86/kvm/vmx.c:" in explain(verdict)


@pytest.mark.parametrize(
    ("mutant", "name", "cause", "function"),
    [
        (
            mutants.SkipsTheIpi,
            "immediate-exit/pass-2-request-is-consumed",
            "log after step 2: expected smp_send_reschedule",
            "vcpu_enter_guest",
        ),
        (
            mutants.ConsumesTheRequestEarly,
            "immediate-exit/pass-2-request-is-consumed",
            "log after step 2: expected smp_send_reschedule",
            "vcpu_enter_guest",
        ),
        (
            mutants.KeepsTheValidBit,
            "injection/external-interrupt",
            "vmcs12.vm_entry_intr_info_field after step 1: expected 0x30 (not valid)",
            "prepare_vmcs12",
        ),
    ],
)
def test_the_vectors_that_come_with_kvmref_find_the_mutants(
    mutant: type[mutants.Mutant], name: str, cause: str, function: str
) -> None:
    (shipped,) = load_asked([str(suite_directory() / f"{name}.toml")]).vectors
    verdict = judged(shipped, mutant())
    assert cause in headline(verdict)
    assert f"    {function}  arch/x86/kvm/" in explain(verdict)


def test_who_shows_little_is_masked_and_not_failed(scenarios: dict[str, Vector]) -> None:
    outcomes = {name: judged(v, mutants.ShowsLittle()).outcome for name, v in scenarios.items()}
    assert {
        "injection/one-off": Outcome.PASSED,
        "immediate-exit/request": Outcome.MASKED,
    } == outcomes
    masked = judged(scenarios["immediate-exit/request"], mutants.ShowsLittle())
    assert "checked         0 of 8 expected values, 8 masked" in explain(masked)


def test_without_a_log_the_explanation_shows_that_of_the_reference(
    scenarios: dict[str, Vector],
) -> None:
    hello = Hello("little", "1", ("3.3",), levels=("l0",))
    verdict = run_vector(scenarios["immediate-exit/request"], mutants.SkipsTheIpi(), hello)
    assert Outcome.PASSED is not verdict.outcome
    mutant = mutants.ConsumesTheRequestEarly()
    mutant.machine.vmx.requests = 0
    tested = vector(expecting(Kick(), values=keys(cpu=5)))
    text = explain(run_vector(tested, mutant, hello))
    assert "C functions" in text
    assert "the implementation shows no log; the reference:" in text
