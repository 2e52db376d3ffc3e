# SPDX-License-Identifier: GPL-2.0-only
"""The judge: do what a vector says to an implementation, and compare what can be seen of it.

The implementation is told the setup and the steps, and asked for keys; it never learns what is
expected. What it cannot show is masked: counted, and neither right nor wrong. A vector ends at the
first step after which something differs, because whatever follows would follow from that.

An implementation that breaks says nothing about what it implements, so that whatever it raises
makes the verdict `Outcome.ERRORED`; nothing of it passes through here.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from typing import Final

from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.implementations.interface import (
    Answer,
    Hello,
    Implementation,
    ImplementationError,
)
from kvmref.harness.judging.verdict import Difference, Outcome, Verdict
from kvmref.harness.vectors.model import EventPattern, Expectation, Vector, VectorStep
from kvmref.harness.wording.findings import (
    expected_in_words,
    item_in_words,
    pattern_in_words,
    value_in_words,
)
from kvmref.trace import EVENTS, Event

_FRAMES: Final = 6
"""How many calls of an in-process implementation a transcript shows, the innermost ones."""


def run_vector(vector: Vector, implementation: Implementation, hello: Hello) -> Verdict:
    """Run *vector* on *implementation*, which has said *hello*, and return what came of it."""
    started = time.perf_counter()
    run = _Run(vector, implementation, hello)
    outcome = Outcome.ERRORED
    differences: tuple[Difference, ...] = ()
    error = ""
    transcript: tuple[str, ...] = ()
    try:
        differences = tuple(run.differences())
        outcome = run.outcome(differences)
    except ImplementationError as broken:
        error, transcript = " ".join(broken.problem.split()), broken.transcript
    except Exception as raised:
        # An implementation in this process may raise anything, and may return anything.
        error = f"raised {type(raised).__name__}: {' '.join(str(raised).split())}"
        transcript = _calls(raised)
    return Verdict(
        vector,
        outcome,
        differences,
        tuple(run.logs),
        reference_logs(vector, len(run.logs)) if outcome is Outcome.FAILED else (),
        run.checked,
        run.masked,
        error,
        transcript,
        time.perf_counter() - started,
    )


def reference_logs(vector: Vector, steps: int) -> tuple[tuple[Event, ...], ...]:
    """Return what the reference logs in the first *steps* steps of *vector*."""
    reference = MachineImplementation()
    reference.reset(vector.setup)
    for step in vector.preamble:
        reference.step(step)
    answers = [reference.step(vector_step.step) for vector_step in vector.steps[:steps]]
    return tuple(tuple(answer.log or ()) for answer in answers)


def expectations(steps: Sequence[VectorStep]) -> int:
    """Return how many things are expected after *steps*."""
    return sum(
        (expect.ret is not None) + len(expect.values) + len(expect.log) + len(expect.never)
        for expect in (step.expect for step in steps)
    )


class _Run:
    """A vector that is being run: what has been compared so far."""

    __slots__ = ("checked", "hello", "implementation", "logs", "masked", "vector")

    def __init__(self, vector: Vector, implementation: Implementation, hello: Hello) -> None:
        self.vector = vector
        self.implementation = implementation
        self.hello = hello
        self.checked = 0
        self.masked = 0
        self.logs: list[tuple[Event, ...] | None] = []

    def differences(self) -> list[Difference]:
        """Run the vector, and return the differences after the first step that has any."""
        self.implementation.reset(self.vector.setup)
        for step in self.vector.preamble:
            if self.implementation.step(step) is None:
                self.masked += expectations(self.vector.steps)
                return []
        for index, vector_step in enumerate(self.vector.steps):
            answer = self.implementation.step(vector_step.step)
            if answer is None:
                self.masked += expectations(self.vector.steps[index:])
                return []
            log = answer.log if self.hello.log else None
            self.logs.append(None if log is None else tuple(log))
            differences = self._compare(index, vector_step.expect, answer)
            if differences:
                return differences
        return []

    def outcome(self, differences: Sequence[Difference]) -> Outcome:
        """Return what the run came to, which had these *differences*."""
        if differences:
            return Outcome.FAILED
        return Outcome.MASKED if self.masked else Outcome.PASSED

    def _compare(self, index: int, expect: Expectation, answer: Answer) -> list[Difference]:
        return [
            *self._compare_ret(index, expect, answer),
            *self._compare_log(index, expect),
            *self._compare_values(index, expect),
        ]

    def _compare_ret(self, index: int, expect: Expectation, answer: Answer) -> list[Difference]:
        if expect.ret is None:
            return []
        if not self.hello.ret or answer.ret is None:
            self.masked += 1
            return []
        self.checked += 1
        if expect.ret == answer.ret:
            return []
        return [Difference(index, "ret", str(expect.ret), str(answer.ret))]

    def _compare_log(self, index: int, expect: Expectation) -> list[Difference]:
        log = self.logs[index]
        count = len(expect.log) + len(expect.never)
        if log is None:
            self.masked += count
            return []
        self.checked += count
        missing = first_missing(expect.log, log)
        forbidden = [
            Difference(
                index,
                "log",
                f"no {pattern_in_words(pattern)}",
                f"{item_in_words(log[place])}, item {place} of the log",
            )
            for pattern in expect.never
            if (place := _find(pattern, log, 0)) is not None
        ]
        return [*([] if missing is None else [Difference(index, "log", *missing)]), *forbidden]

    def _compare_values(self, index: int, expect: Expectation) -> list[Difference]:
        asked = [key for key in expect.values if self.hello.shows(key)]
        observed = self.implementation.observe(asked) if asked else {}
        differences = []
        for key, expected in expect.values.items():
            if key not in asked or key not in observed:
                self.masked += 1
                continue
            self.checked += 1
            if not expected.matches(observed[key]):
                differences.append(
                    Difference(
                        index,
                        key,
                        expected_in_words(key, expected),
                        value_in_words(key, observed[key]),
                    )
                )
        return differences


def matches(pattern: EventPattern, event: Event) -> bool:
    """Tell whether *event* is what *pattern* looks for."""
    if isinstance(event, str):
        return pattern.name == event and not pattern.arguments
    name, *values = event
    if name != pattern.name:
        return False
    arguments = dict(zip(EVENTS.get(pattern.name, {}), values, strict=False))
    return all(arguments.get(key) == value for key, value in pattern.arguments.items())


def first_missing(patterns: Sequence[EventPattern], log: Sequence[Event]) -> tuple[str, str] | None:
    """Return what was expected and what is there instead, for the first pattern not in *log*.

    The events must be there in the order of *patterns*, others in between or not. ``None`` if all
    of them are.
    """
    position = 0
    for number, pattern in enumerate(patterns):
        place = _find(pattern, log, position)
        if place is None:
            after = f" after {item_in_words(log[position - 1])}" if number else ""
            return pattern_in_words(pattern) + after, _instead(pattern, log, position)
        position = place + 1
    return None


def _find(pattern: EventPattern, log: Sequence[Event], start: int) -> int | None:
    return next((place for place in range(start, len(log)) if matches(pattern, log[place])), None)


def _instead(pattern: EventPattern, log: Sequence[Event], start: int) -> str:
    """Return what comes nearest to an event that is missing from item *start* of *log* on."""
    for place in range(start, len(log)):
        event = log[place]
        if pattern.name == (event if isinstance(event, str) else event[0]):
            return f"{item_in_words(event)}, item {place} of the log"
    earlier = _find(pattern, log, 0)
    if earlier is not None:
        return f"it only comes before that, as item {earlier} of the log"
    return "not in the log"


def _calls(raised: Exception) -> tuple[str, ...]:
    """Return the innermost calls that led to what was raised, a line for each."""
    return tuple(
        f"{frame.name}, line {frame.lineno} of {frame.filename}"
        for frame in traceback.extract_tb(raised.__traceback__)[-_FRAMES:]
    )
