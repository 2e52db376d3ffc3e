# SPDX-License-Identifier: GPL-2.0-only
"""What a test of a vector comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from kvmref.harness.vectors.model import Vector
from kvmref.trace import Event


class Outcome(Enum):
    """How a vector ends."""

    PASSED = "passed"
    """Everything that was expected was observed."""
    MASKED = "masked"
    """Whatever could be observed was as expected, but not everything could be."""
    FAILED = "failed"
    """Something was observed that was not expected."""
    ERRORED = "errored"
    """The implementation broke: nothing is known about what it implements."""


@dataclass(slots=True, frozen=True)
class Difference:
    """Something that was not observed as expected, in words for people."""

    step: int
    """Index of the step in the vector, from 0."""
    key: str
    """The observation key, or ``ret``, or ``log``."""
    expected: str
    observed: str


@dataclass(slots=True, frozen=True)
class Verdict:
    """What came of one vector."""

    vector: Vector
    outcome: Outcome
    differences: tuple[Difference, ...] = ()
    """All differences after the first step that has any; the vector ends there."""
    logs: tuple[tuple[Event, ...] | None, ...] = ()
    """The implementation's log of each step done, ``None`` where it returned none."""
    reference_logs: tuple[tuple[Event, ...], ...] = ()
    """The reference's log of the same steps, for a vector that failed."""
    checked: int = 0
    """How many expected things were compared."""
    masked: int = 0
    """How many could not be."""
    error: str = ""
    """What broke, for a vector that errored."""
    transcript: tuple[str, ...] = field(default=())
    """What was said on the wire before that."""
    seconds: float = 0.0

    @property
    def strict(self) -> bool:
        """Whether the vector counts in the strict score: nothing failed and nothing was masked."""
        return self.outcome is Outcome.PASSED

    @property
    def masked_pass(self) -> bool:
        """Whether it counts in the masked score: nothing that could be observed failed."""
        return self.outcome in (Outcome.PASSED, Outcome.MASKED)
