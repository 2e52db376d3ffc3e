# SPDX-License-Identifier: GPL-2.0-only
"""Scores: how many of the vectors an implementation passes, by folder and in all.

The strict score counts a vector only if everything that it expects was observed. The masked score
forgives what the implementation cannot show: it counts a vector if nothing that was observed is
wrong, and leaves out those of which nothing at all could be compared. A vector that errored counts
in neither; it is in the total of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from kvmref.harness.judging.verdict import Outcome, Verdict


@dataclass(slots=True, frozen=True)
class Score:
    """How the vectors of a folder came out."""

    folder: str
    """First part of their ids; empty for all vectors together."""
    passed: int
    masked: int
    failed: int
    errored: int
    unseen: int
    """How many of those that are masked had nothing that could be compared."""
    checked: int
    """How many expected things were compared."""
    hidden: int
    """How many could not be."""

    @property
    def total(self) -> int:
        """How many vectors there are."""
        return self.passed + self.masked + self.failed + self.errored

    @property
    def strict(self) -> float | None:
        """Share of the vectors that pass with everything observed; ``None`` without vectors."""
        return self.passed / self.total if self.total else None

    @property
    def forgiving(self) -> float | None:
        """The masked score; ``None`` if nothing could be compared."""
        seen = self.total - self.unseen
        return (self.passed + self.masked - self.unseen) / seen if seen else None


def folder_of(identifier: str) -> str:
    """Return the folder of the vector called *identifier*; ``.`` if it is in none."""
    folder, separator, _ = identifier.rpartition("/")
    return folder if separator else "."


def score(verdicts: Iterable[Verdict], folder: str = "") -> Score:
    """Return the score of *verdicts*, which are those of *folder*."""
    outcomes: Counter[Outcome] = Counter()
    unseen = checked = hidden = 0
    for verdict in verdicts:
        outcomes[verdict.outcome] += 1
        unseen += verdict.outcome is Outcome.MASKED and verdict.checked == 0
        checked += verdict.checked
        hidden += verdict.masked
    return Score(
        folder,
        outcomes[Outcome.PASSED],
        outcomes[Outcome.MASKED],
        outcomes[Outcome.FAILED],
        outcomes[Outcome.ERRORED],
        unseen,
        checked,
        hidden,
    )


def scores(verdicts: Iterable[Verdict]) -> list[Score]:
    """Return the score of each folder, in the order in which they first come."""
    by_folder: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_folder.setdefault(folder_of(verdict.vector.id), []).append(verdict)
    return [score(members, folder) for folder, members in by_folder.items()]


def percent(share: float | None) -> str:
    """Return *share* as whole percents, rounded down, so that only all of them are 100 %."""
    return "-" if share is None else f"{int(share * 100)} %"
