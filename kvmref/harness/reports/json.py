# SPDX-License-Identifier: GPL-2.0-only
"""The report for programs: one JSON object.

Events are written as in a recording. The version of the format goes up when a member changes its
meaning or goes away; members may be added without that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from kvmref import __version__
from kvmref.harness.judging.run import Run
from kvmref.harness.judging.scores import Score, score, scores
from kvmref.harness.judging.verdict import Verdict
from kvmref.harness.notation.values import spelled_event
from kvmref.trace import Event

FORMAT: Final = 1
"""Version of the format."""


def write_json(run: Run, path: Path) -> None:
    """Write *run* to *path*; raises ``OSError``."""
    text = json.dumps(report(run), indent=1, default=repr)
    path.write_text(f"{text}\n", encoding="utf-8")


def report(run: Run) -> dict[str, object]:
    """Return the object that stands for *run*."""
    return {
        "format": FORMAT,
        "kvmref": __version__,
        "implementation": {"name": run.implementation, "version": run.version},
        "kernel": run.kernel,
        "seconds": round(run.seconds, 3),
        "interrupted": run.interrupted,
        "as_expected": run.judgement.as_expected,
        "score": _score(score(run.verdicts)),
        "folders": {one.folder: _score(one) for one in scores(run.verdicts)},
        "unknown_deviations": [deviation.vector for deviation in run.judgement.unknown],
        "vectors": [_verdict(run, verdict) for verdict in run.verdicts],
    }


def _score(one: Score) -> dict[str, object]:
    members = asdict(one)
    del members["folder"]
    return {**members, "total": one.total, "strict": one.strict, "masked_score": one.forgiving}


def _verdict(run: Run, verdict: Verdict) -> dict[str, object]:
    vector = verdict.vector
    return {
        "id": vector.id,
        "title": vector.title,
        "why": vector.why,
        "level": vector.level,
        "outcome": verdict.outcome.value,
        "as_expected": run.as_expected(verdict),
        "deviation": run.deviation_of(verdict),
        "checked": verdict.checked,
        "masked": verdict.masked,
        "seconds": round(verdict.seconds, 6),
        "differences": [asdict(difference) for difference in verdict.differences],
        "logs": [_log(log) for log in verdict.logs],
        "reference_logs": [_log(log) for log in verdict.reference_logs],
        "error": verdict.error,
        "transcript": list(verdict.transcript),
    }


def _log(log: Sequence[Event] | None) -> list[object] | None:
    return None if log is None else [spelled_event(event) for event in log]
