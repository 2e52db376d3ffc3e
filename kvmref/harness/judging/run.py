# SPDX-License-Identifier: GPL-2.0-only
"""A run: what was tested, with which vectors, and what came of it. Reports are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from kvmref.harness.judging.deviations import Deviations, Judgement
from kvmref.harness.judging.verdict import Outcome, Verdict


@dataclass(slots=True, frozen=True)
class Run:
    """A run that has ended, or was interrupted."""

    implementation: str
    """What was tested: its name, or how it was started if it never said its name."""
    version: str
    """Its version; empty if it never said that."""
    kernel: str
    verdicts: tuple[Verdict, ...]
    judgement: Judgement
    deviations: Deviations
    seconds: float
    interrupted: bool = False

    def deviation_of(self, verdict: Verdict) -> str | None:
        """Return why the vector is known to fail; ``None`` if it isn't."""
        deviation = self.deviations.get(verdict.vector.id)
        return None if deviation is None else deviation.reason

    def as_expected(self, verdict: Verdict) -> bool:
        """Tell whether *verdict* is what the list of deviations says."""
        if verdict.outcome is Outcome.ERRORED:
            return False
        failed = verdict.outcome is Outcome.FAILED
        return failed == (verdict.vector.id in self.deviations)
