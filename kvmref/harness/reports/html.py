# SPDX-License-Identifier: GPL-2.0-only
"""The report for people: one HTML file that needs nothing else, on the disk or from the network.

The page is in ``templates/report.html.j2``; what it shows is prepared here. Everything that an
implementation or a vector says is escaped by the template engine, and only pictures, which escape
for themselves, are put in as they are. The pictures of vectors that fail are in the page; all other
ones, which most readers never look at, are in it as compressed data and appear on demand.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kvmref import __version__
from kvmref.errors import KvmrefError
from kvmref.harness.judging.run import Run
from kvmref.harness.judging.scores import Score, folder_of, percent, score, scores
from kvmref.harness.judging.verdict import Difference, Outcome, Verdict
from kvmref.harness.reports.expected import expectation_in_words
from kvmref.harness.reports.explanation import LogRow, counts_in_words, side_by_side
from kvmref.harness.reports.svg import STYLE, legend, svg
from kvmref.harness.reports.timeline import Record, of_reference, timeline
from kvmref.harness.reports.watch import Watched, watch
from kvmref.harness.vectors.model import Vector
from kvmref.harness.wording.citations import citations
from kvmref.harness.wording.narration import step_in_words

_ORDER: Final = (Outcome.ERRORED, Outcome.FAILED, Outcome.MASKED, Outcome.PASSED)
"""Outcomes, those that people look for first."""


@dataclass(slots=True, frozen=True)
class ScoreLine:
    """A line of the table of scores."""

    folder: str
    score: Score
    strict: str
    masked: str


@dataclass(slots=True, frozen=True)
class StepLine:
    """A step of a vector."""

    number: int
    text: str
    note: str
    expected: tuple[str, ...]
    differences: tuple[Difference, ...]
    log: tuple[LogRow, ...]
    """Its log beside that of the reference, if the vector failed."""
    logged: bool
    """The implementation shows the log."""
    done: bool

    @property
    def differs(self) -> bool:
        """Whether the logs are not the same."""
        return any(row.differs for row in self.log)


@dataclass(slots=True, frozen=True)
class Entry:
    """What the page says of one vector."""

    vector: Vector
    outcome: str
    folder: str
    as_expected: bool
    deviation: str
    url: str
    counts: str
    error: str
    transcript: tuple[str, ...]
    steps: tuple[StepLine, ...]
    functions: tuple[str, ...]
    pictures: tuple[tuple[str, Markup], ...]
    """What stands in the page: name and picture."""


def write_html(run: Run, path: Path) -> None:
    """Write *run* to *path*; raises ``OSError``."""
    path.write_text(page(run), encoding="utf-8", errors="replace")


def page(run: Run) -> str:
    """Return the page for *run*."""
    entries: list[Entry] = []
    pictures: dict[str, str] = {}
    for verdict in sorted(run.verdicts, key=_rank):
        entry = _entry(run, verdict)
        entries.append(entry)
        if not entry.pictures:
            pictures |= _picture_on_demand(verdict.vector)
    environment = Environment(
        loader=PackageLoader("kvmref.harness.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        run=run,
        version=__version__,
        total=_line("all", score(run.verdicts)),
        folders=[_line(one.folder, one) for one in scores(run.verdicts)],
        outcomes=[outcome.value for outcome in _ORDER],
        entries=entries,
        picture_style=Markup(STYLE),
        legend=Markup(legend()),
        picture_data=_compressed(pictures),
        unexpected=sum(not entry.as_expected for entry in entries),
    )


def _rank(verdict: Verdict) -> tuple[int, str]:
    return _ORDER.index(verdict.outcome), verdict.vector.id


def _line(folder: str, one: Score) -> ScoreLine:
    return ScoreLine(folder, one, percent(one.strict), percent(one.forgiving))


def _entry(run: Run, verdict: Verdict) -> Entry:
    vector = verdict.vector
    deviation = run.deviations.get(vector.id)
    url = "" if deviation is None else deviation.url
    return Entry(
        vector,
        verdict.outcome.value,
        folder_of(vector.id),
        run.as_expected(verdict),
        "" if deviation is None else deviation.reason,
        # A link is followed by whoever reads the report, who should only get to a page.
        url if url.startswith(("https://", "http://")) else "",
        counts_in_words(verdict),
        verdict.error,
        verdict.transcript,
        tuple(_steps(verdict)),
        tuple(_functions(vector)),
        tuple(_pictures(verdict)) if verdict.outcome is Outcome.FAILED else (),
    )


def _steps(verdict: Verdict) -> Iterator[StepLine]:
    failed = verdict.outcome is Outcome.FAILED
    for number, item in enumerate(verdict.vector.steps):
        done = number < len(verdict.logs)
        observed = verdict.logs[number] if done else None
        rows: Sequence[LogRow] = ()
        if failed and number < len(verdict.reference_logs):
            rows = side_by_side(observed or (), verdict.reference_logs[number])
        yield StepLine(
            number,
            step_in_words(item.step),
            item.note,
            tuple(expectation_in_words(item.expect)),
            tuple(one for one in verdict.differences if one.step == number),
            tuple(rows),
            observed is not None,
            done,
        )


def _functions(vector: Vector) -> Iterator[str]:
    for function in vector.functions:
        found = citations(function, vector.kernels[0] if vector.kernels else "")
        places = "".join(f", {citation}" for citation in found)
        yield f"{function}{places}"


def _watched(vector: Vector) -> list[Watched]:
    """Return what the reference does; nothing if it can't do *vector* at all."""
    try:
        return watch(vector)
    except KvmrefError:
        return []


def _pictures(verdict: Verdict) -> Iterator[tuple[str, Markup]]:
    """Yield what the implementation did and what the reference does, up to the difference."""
    vector = verdict.vector
    watched = _watched(vector)
    preamble = [item for item in watched if item.preamble]
    steps = [item for item in watched if not item.preamble][: len(verdict.logs)]
    failed = {difference.step for difference in verdict.differences}
    if any(log is not None for log in verdict.logs):
        records = [
            # Where the starting point leaves things is known from the reference alone.
            *(Record(item.step, log=item.log, preamble=True) for item in preamble),
            *(
                Record(item.step, item.note, log=log)
                for item, log in zip(vector.steps, verdict.logs, strict=False)
            ),
        ]
        title = f"{vector.title} (implementation)"
        picture = svg(timeline(title, records), failed=failed, standalone=False)
        yield "The implementation", Markup(picture)
    if steps:
        expected = of_reference(f"{vector.title} (reference)", [*preamble, *steps])
        yield "The reference", Markup(svg(expected, standalone=False))


def _picture_on_demand(vector: Vector) -> dict[str, str]:
    watched = _watched(vector)
    if not watched:
        return {}
    return {vector.id: svg(of_reference(vector.title, watched), standalone=False)}


def _compressed(pictures: dict[str, str]) -> str:
    packed = gzip.compress(json.dumps(pictures).encode(), mtime=0)
    return base64.b64encode(packed).decode()
