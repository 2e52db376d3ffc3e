# SPDX-License-Identifier: GPL-2.0-only
"""A timeline as lines of text: the lanes on the left, what happened on the right.

Without *unicode*, the lanes are drawn with ASCII. Colours are for whoever prints the lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kvmref.harness.reports.rows import MarkerRow, StepRow, rows
from kvmref.harness.reports.timeline import Lane, Timeline, TimelineStep, What

_COLUMN: Final = {Lane.L0: 2, Lane.L1: 6, Lane.L2: 10}
_GUTTER: Final = 13

_SYMBOLS: Final = {
    What.DELIVERY: "▶",
    What.ENTRY_FAILED: "✗",
    What.REQUEST_MADE: "◆",
    What.REQUEST_CONSUMED: "◇",
    What.IRQS_OFF: "╋",
    What.IRQS_ON: "╋",
    What.IPI_SENT: "●",
    What.IPI_TAKEN: "○",
    What.TO_L1: "■",
    What.TO_L2: "■",
    What.ACKNOWLEDGED: "○",
    What.OTHER: "┃",
}

_ASCII: Final = str.maketrans(
    {
        "┃": "|",
        "━": "-",
        "╌": ".",
        "┣": "+",
        "┫": "+",
        "╋": "+",
        "▶": ">",
        "◀": "<",
        "◆": "*",
        "◇": "o",
        "●": "@",
        "○": "O",
        "■": "#",
        "✗": "x",
        "░": ":",
        "·": ".",
        "→": "->",
    }
)


@dataclass(slots=True, frozen=True)
class Line:
    """One line."""

    gutter: str
    """The lanes, always equally wide; empty for the line of a step."""
    text: str
    what: What | None
    """What the line is about; ``None`` for a step."""


def lines(timeline: Timeline, *, unicode: bool = True) -> Iterator[Line]:
    """Yield the lines of *timeline*."""
    for line in _lines(timeline):
        if unicode:
            yield line
        else:
            gutter, text = line.gutter.translate(_ASCII), line.text.translate(_ASCII)
            yield Line(gutter, text, line.what)


def _lines(timeline: Timeline) -> Iterator[Line]:
    enters = False
    for row in rows(timeline):
        if isinstance(row, StepRow):
            enters = row.step.enters
            yield Line("", _step(row.step), None)
        else:
            yield Line(_gutter(row, enters), row.text, row.marker.what)


def _step(step: TimelineStep) -> str:
    note = f" ({step.note})" if step.note else ""
    ret = "" if step.ret is None else f" → {step.ret}"
    log = "" if step.logged else ", without a log"
    return f"{step.number} {step.text}{note}{ret}{log}"


def _gutter(row: MarkerRow, enters: bool) -> str:
    cells = [" "] * _GUTTER
    marker = row.marker
    if row.irqs_off or marker.what is What.IRQS_OFF:
        cells[0] = "░"
    if enters:
        cells[_COLUMN[row.running]] = "┃"
    place = _COLUMN[marker.lane]
    match marker.what:
        case What.ENTRY:
            cells[_COLUMN[Lane.L0] : place + 1] = "┣" + "━" * (place - 3) + "▶"
        case What.ATTEMPT:
            cells[_COLUMN[Lane.L0] : place + 1] = "┣" + "╌" * (place - 3) + "✗"
        case What.EXIT:
            cells[_COLUMN[Lane.L0] : place + 1] = "◀" + "━" * (place - 3) + "┫"
        case _:
            cells[place] = _SYMBOLS[marker.what]
    return "".join(cells)
