# SPDX-License-Identifier: GPL-2.0-only
"""A verdict, explained: what differs, why that matters, what led to it, and where to read on.

The text is plain, for terminals, logs of test runs and reports alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from textwrap import wrap
from typing import Final

from kvmref.harness.judging.verdict import Difference, Outcome, Verdict
from kvmref.harness.notation.steps import STEP_NAMES
from kvmref.harness.notation.values import shortened
from kvmref.harness.vectors.model import Vector
from kvmref.harness.wording.citations import citations
from kvmref.harness.wording.findings import item_in_words
from kvmref.harness.wording.narration import step_in_words
from kvmref.trace import Event

_WIDTH: Final = 100
_LABEL: Final = 16
"""How wide the column of labels is."""
_ITEM: Final = 46
"""How wide a log is beside another one."""
_CONTEXT: Final = 6
"""How many lines of the logs are shown on either side of the first that differs."""


@dataclass(slots=True, frozen=True)
class LogRow:
    """A line of two logs side by side; an item that only one of them has stands alone."""

    observed: str
    reference: str

    @property
    def differs(self) -> bool:
        """Whether the items are not the same."""
        return self.observed != self.reference


def side_by_side(observed: Sequence[Event], reference: Sequence[Event]) -> list[LogRow]:
    """Return both logs, with what they have in common in the same lines."""
    left = [item_in_words(event) for event in observed]
    right = [item_in_words(event) for event in reference]
    rows: list[LogRow] = []
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    for _, first, last, start, end in matcher.get_opcodes():
        for offset in range(max(last - first, end - start)):
            rows.append(
                LogRow(
                    left[first + offset] if first + offset < last else "",
                    right[start + offset] if start + offset < end else "",
                )
            )
    return rows


def first_difference(rows: Sequence[LogRow]) -> int | None:
    """Return the index of the first of *rows* that differs."""
    return next((index for index, row in enumerate(rows) if row.differs), None)


def explain(verdict: Verdict) -> str:
    """Return the lines that explain *verdict*."""
    vector = verdict.vector
    lines = [
        f"{verdict.outcome.name} {vector.id}",
        *_labelled("", vector.title),
        *_labelled("why it matters", vector.why),
    ]
    match verdict.outcome:
        case Outcome.FAILED:
            lines += _failure(verdict)
        case Outcome.ERRORED:
            lines += _labelled("error", verdict.error)
            lines += _block("transcript", verdict.transcript)
        case Outcome.PASSED | Outcome.MASKED:
            lines += _labelled("checked", counts_in_words(verdict))
    return "\n".join(lines)


def counts_in_words(verdict: Verdict) -> str:
    """Return how much of what is expected was compared."""
    total = verdict.checked + verdict.masked
    return f"{verdict.checked} of {total} expected values, {verdict.masked} masked"


def headline(verdict: Verdict) -> str:
    """Return what is wrong, on one line."""
    if verdict.outcome is Outcome.ERRORED:
        return verdict.error
    if not verdict.differences:
        return str(verdict.outcome.value)
    first = verdict.differences[0]
    return (
        f"{first.key} after step {first.step}: expected {first.expected}, observed {first.observed}"
    )


def _failure(verdict: Verdict) -> list[str]:
    vector = verdict.vector
    index = verdict.differences[0].step
    lines = _labelled("after step", f"{index} {_operation(vector, index)}")
    for difference in verdict.differences:
        lines += _difference(difference)
    lines += _labelled("reason", vector.reason)
    lines += _block("steps", _steps(vector, index))
    lines += _block(f"log of step {index}", _logs(verdict, index))
    lines += _block("C functions", _functions(vector))
    return lines


def _operation(vector: Vector, index: int) -> str:
    vector_step = vector.steps[index]
    note = f": {vector_step.note}" if vector_step.note else ""
    return f"{STEP_NAMES[type(vector_step.step)]}{note}"


def _difference(difference: Difference) -> list[str]:
    return [
        *_labelled("key", difference.key),
        *_labelled("  expected", difference.expected),
        *_labelled("  observed", difference.observed),
    ]


def _steps(vector: Vector, last: int) -> Iterator[str]:
    """Yield a line for the starting point, and one for each step up to the *last* one."""
    yield f'    starting point "{vector.start}", {len(vector.preamble)} steps'
    for index, vector_step in enumerate(vector.steps[: last + 1]):
        mark = ">" if index == last else " "
        note = f"  ({vector_step.note})" if vector_step.note else ""
        yield f"{mark} {index} {step_in_words(vector_step.step)}{note}"


def _logs(verdict: Verdict, index: int) -> Iterator[str]:
    """Yield the log of the step *index* beside that of the reference."""
    observed = verdict.logs[index] if index < len(verdict.logs) else None
    reference = verdict.reference_logs[index] if index < len(verdict.reference_logs) else ()
    if observed is None:
        yield "the implementation shows no log; the reference:"
        yield from (f"  {item_in_words(event)}" for event in reference)
        return
    rows = side_by_side(observed, reference)
    first = first_difference(rows)
    if first is None:
        yield "the same as that of the reference"
        return
    yield f"  {'implementation':{_ITEM}}  reference"
    start = max(0, first - _CONTEXT)
    if start:
        yield f"  ... {start} equal lines"
    end = min(len(rows), first + _CONTEXT + 1)
    for place in range(start, end):
        row = rows[place]
        mark = ">" if place == first else " "
        left = shortened(row.observed, _ITEM)
        yield f"{mark} {left:{_ITEM}}  {row.reference}".rstrip()
        if len(row.observed) > _ITEM and row.differs:
            yield f"    the whole line: {row.observed}"
    if end < len(rows):
        yield f"  ... {len(rows) - end} more lines"


def _functions(vector: Vector) -> Iterator[str]:
    """Yield where each C function that *vector* is about is, in Linux and in the port."""
    kernel = vector.kernels[0] if vector.kernels else ""
    for function in vector.functions:
        found = citations(function, kernel)
        if not found:
            yield function
        for citation in found:
            yield f"{function}  {citation}  ({citation.module})"


def _labelled(label: str, text: str) -> list[str]:
    """Return *text* with a *label*, wrapped."""
    lines = wrap(text, _WIDTH - _LABEL - 2, break_long_words=False, break_on_hyphens=False)
    labels = [label, *([""] * len(lines))]
    return [f"  {name:{_LABEL}}{line}" for name, line in zip(labels, lines, strict=False)]


def _block(label: str, lines: Sequence[str] | Iterator[str]) -> list[str]:
    """Return *lines* below a *label*, indented; nothing if there are none."""
    indented = [f"    {line}".rstrip() for line in lines]
    return [f"  {label}", *indented] if indented else []
