# SPDX-License-Identifier: GPL-2.0-only
"""Reports for programs: what they say of each outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from scenarios import vector

from kvmref.harness.judging.deviations import Deviation, judge
from kvmref.harness.judging.run import Run
from kvmref.harness.judging.verdict import Difference, Outcome, Verdict
from kvmref.harness.reports.formats import FORMATS, write_report

DIFFERENCES = (Difference(0, "requests", "0x1", "0x0"),)
LISTED = {name: Deviation(name, "known <reason>") for name in ("b/listed", "b/stale", "b/unknown")}


def verdict(name: str, outcome: Outcome, **rest: Any) -> Verdict:
    differences = DIFFERENCES if outcome is Outcome.FAILED else ()
    return Verdict(one_step(name), outcome, differences, **rest)


def one_step(name: str) -> Any:
    from scenarios import expecting

    from kvmref.machine.steps import Dump

    return vector(expecting(Dump()), name=name)


VERDICTS = (
    verdict("a/passed", Outcome.PASSED, checked=2, seconds=0.25, logs=((("vmexit", "02", 1),),)),
    verdict("a/masked", Outcome.MASKED, checked=1, masked=2, logs=(None,)),
    verdict("a/unseen", Outcome.MASKED, masked=2),
    verdict("b/failed", Outcome.FAILED, logs=(("kick_ipi",),), reference_logs=((),)),
    verdict("b/listed", Outcome.FAILED),
    verdict("b/stale", Outcome.PASSED),
    verdict("b/errored", Outcome.ERRORED, error="died \x00", transcript=("> enter", "\x1b[0m")),
)

RUN = Run(
    "thing",
    "2.0",
    "3.3",
    VERDICTS,
    judge(VERDICTS, LISTED, {one.vector.id for one in VERDICTS}),
    LISTED,
    1.5,
)


def written(tmp_path: Path, suffix: str) -> str:
    file = tmp_path / f"report{suffix}"
    write_report(RUN, file)
    return file.read_text()


def test_json_says_what_was_tested_and_how_it_came_out(tmp_path: Path) -> None:
    report = json.loads(written(tmp_path, ".json"))
    assert {"name": "thing", "version": "2.0"} == report["implementation"]
    assert (1, "3.3", 1.5, False) == (
        report["format"],
        report["kernel"],
        report["seconds"],
        report["as_expected"],
    )
    assert ["b/unknown"] == report["unknown_deviations"]
    assert ["a", "b"] == list(report["folders"])
    assert 7 == report["score"]["total"]


def test_json_has_every_vector_with_its_differences_and_logs(tmp_path: Path) -> None:
    vectors = {one["id"]: one for one in json.loads(written(tmp_path, ".json"))["vectors"]}
    failed = vectors["b/failed"]
    assert [{"step": 0, "key": "requests", "expected": "0x1", "observed": "0x0"}] == failed[
        "differences"
    ]
    assert ([["kick_ipi"]], [[]]) == (failed["logs"], failed["reference_logs"])
    assert [[["vmexit", "02", "0x1"]]] == vectors["a/passed"]["logs"]
    assert [None] == vectors["a/masked"]["logs"]
    assert ("died \x00", ["> enter", "\x1b[0m"]) == (
        vectors["b/errored"]["error"],
        vectors["b/errored"]["transcript"],
    )
    assert {"a/passed", "a/masked", "a/unseen", "b/listed"} == {
        name for name, one in vectors.items() if one["as_expected"]
    }


def test_junit_has_a_suite_for_each_folder_with_counts(tmp_path: Path) -> None:
    root = ElementTree.fromstring(written(tmp_path, ".xml"))
    first, second = root.findall("testsuite")
    assert ("a", "3", "0", "0", "1", "0.250") == tuple(
        first.get(name) for name in ("name", "tests", "failures", "errors", "skipped", "time")
    )
    assert ("b", "4", "2", "1", "1") == tuple(
        second.get(name) for name in ("name", "tests", "failures", "errors", "skipped")
    )
    assert ("7", "2", "1", "2") == tuple(
        root.get(name) for name in ("tests", "failures", "errors", "skipped")
    )


@pytest.mark.parametrize(
    ("name", "tag", "message"),
    [
        ("unseen", "skipped", "the implementation shows nothing that is expected"),
        ("failed", "failure", "requests after step 0: expected 0x1, observed 0x0"),
        ("listed", "skipped", "known deviation: known <reason>"),
        ("stale", "failure", "passes, but is listed as a deviation"),
        ("errored", "error", "died ?"),
    ],
)
def test_junit_says_what_became_of_a_vector(
    tmp_path: Path, name: str, tag: str, message: str
) -> None:
    root = ElementTree.fromstring(written(tmp_path, ".xml"))
    (case,) = (case for case in root.iter("testcase") if case.get("name") == name)
    (result,) = case
    assert (tag, message) == (result.tag, result.get("message"))


def test_junit_explains_a_failure(tmp_path: Path) -> None:
    root = ElementTree.fromstring(written(tmp_path, ".xml"))
    (failure,) = root.findall(".//testcase[@name='failed']/failure")
    assert "why it matters  It matters." in (failure.text or "")


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_can_be_written(tmp_path: Path, suffix: str) -> None:
    assert "requests" in written(tmp_path, suffix)
