# SPDX-License-Identifier: GPL-2.0-only
"""The rows of a timeline, from top to bottom: what a picture and the terminal both show.

A row is a step or a marker. Of what is neither an entry nor an exit nor anything else that has a
meaning of its own, what comes in one go shares a row; what every pass does alike is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kvmref.harness.reports.timeline import Lane, Marker, SpanKind, Timeline, TimelineStep, What

_ROUTINE: Final = frozenset(
    {
        "default_exit",
        "get_cpu",
        "kvm_guest_enter",
        "kvm_guest_exit",
        "preempt_disable",
        "preempt_enable",
        "put_cpu",
        "srcu_read_lock",
        "srcu_read_unlock",
    }
)
"""Items of a log that say nothing about the pass that they are in."""


@dataclass(slots=True, frozen=True)
class StepRow:
    """A step begins."""

    step: TimelineStep


@dataclass(slots=True, frozen=True)
class MarkerRow:
    """Something happened."""

    marker: Marker
    """The first marker of the row."""
    text: str
    event: str
    """What the log says, for all of the row."""
    running: Lane
    """Who runs before the marker."""
    irqs_off: bool
    """Whether interrupts are off before the marker."""


Row = StepRow | MarkerRow
"""One row."""


def rows(timeline: Timeline) -> Iterator[Row]:
    """Yield the rows of *timeline*."""
    markers = list(timeline.markers)
    position = 0
    for step in timeline.steps:
        yield StepRow(step)
        inside: list[Marker] = []
        while position < len(markers) and markers[position].time <= step.end:
            inside.append(markers[position])
            position += 1
        yield from _marker_rows(timeline, inside)


def _marker_rows(timeline: Timeline, markers: list[Marker]) -> Iterator[MarkerRow]:
    others: list[Marker] = []
    for marker in markers:
        if marker.what is What.OTHER:
            if marker.event not in _ROUTINE:
                others.append(marker)
            continue
        if others:
            yield _row(timeline, others)
            others = []
        yield _row(timeline, [marker])
    if others:
        yield _row(timeline, others)


def _row(timeline: Timeline, markers: list[Marker]) -> MarkerRow:
    first = markers[0]
    return MarkerRow(
        first,
        _joined([marker.text for marker in markers]),
        _joined([marker.event for marker in markers]),
        _running(timeline, first.time),
        _irqs_off(timeline, first.time),
    )


def _joined(texts: list[str]) -> str:
    """Return *texts* with commas; one that comes again and again only once, with a count."""
    counted: list[tuple[str, int]] = []
    for text in texts:
        if counted and counted[-1][0] == text:
            counted[-1] = (text, counted[-1][1] + 1)
        else:
            counted.append((text, 1))
    return ", ".join(text if count == 1 else f"{text} ({count} times)" for text, count in counted)


def _running(timeline: Timeline, time: int) -> Lane:
    for span in timeline.spans:
        if span.kind is SpanKind.RUN and span.start < time <= span.end:
            return span.lane
    return Lane.L0


def _irqs_off(timeline: Timeline, time: int) -> bool:
    return any(
        span.kind is SpanKind.IRQS_OFF and span.start < time <= span.end for span in timeline.spans
    )
