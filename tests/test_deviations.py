# SPDX-License-Identifier: GPL-2.0-only
"""Known deviations: how they are declared, what they excuse, and when they are wrong themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenarios import vector

from kvmref.errors import InputError, InvalidVectorError
from kvmref.harness.judging.deviations import (
    Deviation,
    judge,
    load_deviations,
    unknown_in_words,
    write_deviations,
)
from kvmref.harness.judging.verdict import Difference, Outcome, Verdict

GOOD = """
[[deviation]]
vector = "folder/fails"
reason = "not done yet"
url = "https://example.org/1"
[[deviation]]
vector = "folder/other"
reason = "on purpose"
"""

LISTED = {"folder/name": Deviation("folder/name", "not done yet", "https://example.org/1")}


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "deviations.toml"
    file.write_text(text)
    return file


def verdict(outcome: Outcome, name: str = "folder/name") -> Verdict:
    differences = (
        (Difference(2, "requests", "0x0 (none)", '0x8000 "\x7f"'),)
        if outcome is Outcome.FAILED
        else ()
    )
    return Verdict(vector(name=name), outcome, differences)


def test_deviations_are_read_by_the_ids_of_their_vectors(tmp_path: Path) -> None:
    deviations = load_deviations(written(tmp_path, GOOD))
    assert {
        "folder/fails": Deviation("folder/fails", "not done yet", "https://example.org/1"),
        "folder/other": Deviation("folder/other", "on purpose"),
    } == deviations


def test_an_empty_file_declares_nothing(tmp_path: Path) -> None:
    assert {} == load_deviations(written(tmp_path, ""))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[deviation]", ": invalid TOML: "),
        ('[[deviations]]\nvector = "a"', ': deviations: unknown key "deviations", did you mean'),
        ("deviation = 1", ": deviation: found 1 (accepted: an array)"),
        ("deviation = [1]", ": deviation[0]: found 1 (accepted: a table)"),
        ('[[deviation]]\nvector = "a"', ": deviation[0]: missing reason"),
        ('[[deviation]]\nreason = "a"', ": deviation[0]: missing vector"),
        ('[[deviation]]\nvector = "a"\nreason = ""', ': deviation[0].reason: found ""'),
        ('[[deviation]]\nvector = "a"\nreason = 1', ": deviation[0].reason: found 1"),
        (
            '[[deviation]]\nvector = "a"\nreason = "b"\nlink = "c"',
            ': deviation[0].link: unknown key "link"',
        ),
        (
            '[[deviation]]\nvector = "a"\nreason = "b"\n' * 2,
            ': deviation[1].vector: "a" for the second time',
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_where(tmp_path: Path, text: str, expected: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(InvalidVectorError) as caught:
        load_deviations(file)
    (line, *_) = str(caught.value).splitlines()
    assert line.startswith(f"{file}{expected}")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidVectorError, match="can't be read: No such file"):
        load_deviations(tmp_path / "nothing.toml")


def test_a_failure_that_is_listed_is_as_expected() -> None:
    failed = verdict(Outcome.FAILED)
    judgement = judge([failed], LISTED)
    assert ((failed,), ()) == (judgement.expected, judgement.failures)
    assert judgement.as_expected


def test_a_failure_that_is_not_listed_is_not() -> None:
    assert not judge([verdict(Outcome.FAILED, "folder/another")], LISTED).as_expected


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.MASKED])
def test_a_vector_that_is_listed_and_does_not_fail_is_wrong(outcome: Outcome) -> None:
    judgement = judge([verdict(outcome)], LISTED)
    assert 1 == len(judgement.stale)
    assert not judgement.as_expected


def test_an_error_is_never_expected() -> None:
    judgement = judge([verdict(Outcome.ERRORED)], LISTED)
    assert 1 == len(judgement.errors)
    assert not judgement.as_expected


def test_a_vector_that_was_not_run_may_be_listed_if_it_exists() -> None:
    assert judge([], LISTED, {"folder/name"}).as_expected
    assert not judge([], LISTED, {"folder/nane"}).as_expected
    assert 'deviation of an unknown vector "folder/name", did you mean "folder/nane"?' == (
        unknown_in_words(LISTED["folder/name"], ["folder/nane"])
    )


def test_a_draft_lists_what_fails_and_can_be_read_again(tmp_path: Path) -> None:
    file = tmp_path / "draft.toml"
    verdicts = [verdict(Outcome.FAILED, "folder/new"), verdict(Outcome.PASSED, "folder/fine")]
    assert 1 == write_deviations(file, verdicts, {})
    reason = 'step 2: requests: expected 0x0 (none), observed 0x8000 "\x7f"'
    assert {"folder/new": Deviation("folder/new", reason)} == load_deviations(file)


def test_a_draft_keeps_what_is_known_and_drops_what_passes(tmp_path: Path) -> None:
    file = tmp_path / "draft.toml"
    listed = {**LISTED, "folder/passes": Deviation("folder/passes", "old")}
    not_run = {"folder/not-run": Deviation("folder/not-run", "kept")}
    verdicts = [verdict(Outcome.FAILED), verdict(Outcome.PASSED, "folder/passes")]
    assert 2 == write_deviations(file, verdicts, {**listed, **not_run})
    assert {**LISTED, **not_run} == load_deviations(file)


def test_a_draft_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be written"):
        write_deviations(tmp_path / "nowhere" / "draft.toml", [], {})
