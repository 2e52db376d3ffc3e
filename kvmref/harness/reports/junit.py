# SPDX-License-Identifier: GPL-2.0-only
"""The report for continuous integration: XML as JUnit writes it, which most services read.

A suite is a folder, a case is a vector. A known deviation is skipped, and so is a vector of which
nothing could be compared; one that is listed as a deviation and passes is a failure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from kvmref.harness.judging.run import Run
from kvmref.harness.judging.scores import folder_of
from kvmref.harness.judging.verdict import Outcome, Verdict
from kvmref.harness.reports.explanation import counts_in_words, explain, headline

STALE: Final = "passes, but is listed as a deviation"
"""What is said of a vector that is listed and does not fail."""

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What must not be in an XML document, and can be in what an implementation says."""


def write_junit(run: Run, path: Path) -> None:
    """Write *run* to *path*; raises ``OSError``."""
    root = ElementTree.Element("testsuites", name=_clean(f"kvmref {run.implementation}"))
    by_folder: dict[str, list[Verdict]] = {}
    for verdict in run.verdicts:
        by_folder.setdefault(folder_of(verdict.vector.id), []).append(verdict)
    for folder, verdicts in by_folder.items():
        _suite(root, run, folder, verdicts)
    _count(root, list(root.iter("testcase")), run.verdicts)
    tree = ElementTree.ElementTree(root)
    ElementTree.indent(tree)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _suite(root: ElementTree.Element, run: Run, folder: str, verdicts: Sequence[Verdict]) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=folder)
    cases = [_case(suite, run, verdict) for verdict in verdicts]
    _count(suite, cases, verdicts)


def _count(
    element: ElementTree.Element,
    cases: Sequence[ElementTree.Element],
    verdicts: Sequence[Verdict],
) -> None:
    found = [child.tag for case in cases for child in case]
    element.set("tests", str(len(cases)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(found.count(tag)))
    element.set("time", f"{sum(verdict.seconds for verdict in verdicts):.3f}")


def _case(suite: ElementTree.Element, run: Run, verdict: Verdict) -> ElementTree.Element:
    folder, _, name = verdict.vector.id.rpartition("/")
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=folder.replace("/", "."),
        name=name,
        time=f"{verdict.seconds:.3f}",
    )
    reason = run.deviation_of(verdict)
    match verdict.outcome:
        case Outcome.ERRORED:
            _result(case, "error", verdict.error, explain(verdict))
        case Outcome.FAILED if reason is not None:
            _result(case, "skipped", f"known deviation: {reason}", headline(verdict))
        case Outcome.FAILED:
            _result(case, "failure", headline(verdict), explain(verdict))
        case _ if reason is not None:
            _result(case, "failure", STALE, reason)
        case Outcome.MASKED if verdict.checked == 0:
            _result(case, "skipped", "the implementation shows nothing that is expected", "")
        case Outcome.MASKED:
            ElementTree.SubElement(case, "system-out").text = counts_in_words(verdict)
    return case


def _result(case: ElementTree.Element, tag: str, message: str, text: str) -> None:
    result = ElementTree.SubElement(case, tag, message=_clean(message))
    if text:
        result.text = _clean(text)


def _clean(text: str) -> str:
    """Return *text* with a question mark for what XML can't contain."""
    return _FORBIDDEN.sub("?", text)
