# SPDX-License-Identifier: GPL-2.0-only
"""A timeline as a picture: three lanes from top to bottom, what happened beside them.

The picture needs nothing else: no script, no font, no other file. It is 390 units wide and as high
as it has to be, so that its text is readable from 400 pixels on, and it follows the reader's choice
of light or dark. What the log says is the tooltip of each row.

A page with many pictures takes `STYLE` once, and pictures that are not *standalone*.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from html import escape
from textwrap import wrap
from typing import Final

from kvmref.harness.reports.rows import MarkerRow, StepRow, rows
from kvmref.harness.reports.timeline import Lane, Timeline, TimelineStep, What

WIDTH: Final = 390
"""Width of every picture, in its own units."""

_X: Final = {Lane.L0: 34, Lane.L1: 64, Lane.L2: 94}
_TEXT: Final = 110
_LINE: Final = 15
_PADDING: Final = 5
_HEADER: Final = 34
_COLUMNS: Final = 40
"""How many characters of text fit beside the lanes."""
_STEP_COLUMNS: Final = 50
"""How many characters of text fit into the row of a step."""

STYLE: Final = """\
.tl{--ink:#1b1f24;--dim:#5c6670;--guide:#d5dae0;--band:#f0f2f5;--bad:#fdecec;--badink:#b42318;\
--l0:#52606d;--l1:#0b7285;--l2:#7a3ec8;--off:#f4b740;--req:#1a7f37;--ipi:#d1242f;--evt:#b65c02;\
--page:#ffffff;font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--ink);\
background:var(--page);width:100%;max-width:540px;height:auto;display:block}
@media (prefers-color-scheme:dark){.tl{--ink:#e6e9ed;--dim:#9aa5b1;--guide:#3a424c;--band:#232a32;\
--bad:#42201f;--badink:#ff9a91;--l0:#a3b1bf;--l1:#3fb8cf;--l2:#b794f6;--off:#8a6a1f;--req:#56d364;\
--ipi:#ff7b72;--evt:#f0a35a;--page:#14181d}}
@media print{.tl{--ink:#000;--dim:#444;--guide:#ccc;--band:#eee;--bad:#fdecec;--badink:#b42318;\
--l0:#52606d;--l1:#0b7285;--l2:#7a3ec8;--off:#f4b740;--req:#1a7f37;--ipi:#d1242f;--evt:#b65c02;\
--page:#fff}}
.tl .b{font-weight:600}.tl .d{fill:var(--dim);font-size:11px}.tl .i{fill:var(--dim);\
font-style:italic}.tl .g{stroke:var(--guide);stroke-dasharray:2 3}.tl .s{fill:var(--band)}
.tl .f{fill:var(--bad)}.tl .x{fill:var(--badink)}.tl .o{fill:var(--off);opacity:.45}
.tl .r{fill:none;stroke-width:4;stroke-linecap:butt}.tl .a{fill:none;stroke-width:1.6}
.tl .L0{stroke:var(--l0)}.tl .L1{stroke:var(--l1)}.tl .L2{stroke:var(--l2)}
.tl .h0{fill:var(--l0)}.tl .h1{fill:var(--l1)}.tl .h2{fill:var(--l2)}
.tl .req{fill:var(--req);stroke:var(--req);stroke-width:1.6}.tl .ipi{fill:var(--ipi);\
stroke:var(--ipi);stroke-width:1.6}.tl .evt{fill:var(--evt);stroke:var(--evt);stroke-width:1.6}
.tl .n{fill:none}.tl .e{fill:var(--page)}.tl .w{fill:var(--l0)}"""
"""The style sheet of pictures, for the page that they are in."""

_LEGEND: Final = (
    ("run", "a guest runs"),
    ("off", "interrupts are off"),
    ("made", "a request is made"),
    ("taken", "a request is taken"),
    ("event", "an event is delivered"),
    ("ipi", "an IPI, until it is taken"),
)


def svg(timeline: Timeline, *, failed: Collection[int] = (), standalone: bool = True) -> str:
    """Return *timeline* as an SVG element; the steps whose numbers are in *failed* stand out.

    A *standalone* picture has a style sheet and a legend of its own, and is a file.
    """
    drawing = _Drawing()
    for row in rows(timeline):
        if isinstance(row, StepRow):
            drawing.step(row.step, row.step.number in failed)
        else:
            drawing.row(row)
    for arrow in timeline.arrows:
        drawing.arrow(arrow.start, arrow.end)
    bottom = drawing.y + 8
    if standalone:
        bottom = drawing.legend(bottom)
    title = _text(timeline.title)
    namespace = ' xmlns="http://www.w3.org/2000/svg"' if standalone else ""
    style = f"<style>{STYLE}</style>" if standalone else ""
    return (
        f'<svg{namespace} class="tl" viewBox="0 0 {WIDTH} {bottom}" role="img"'
        f' aria-label="Timeline: {title}">{style}'
        f"{drawing.background()}{''.join(drawing.parts)}</svg>"
    )


def legend() -> str:
    """Return an SVG element that says what the symbols mean, for a page with many pictures."""
    drawing = _Drawing()
    bottom = drawing.legend(0)
    return (
        f'<svg class="tl" viewBox="0 0 {WIDTH} {bottom}" role="img" aria-label="Legend">'
        f"{''.join(drawing.parts)}</svg>"
    )


def _text(text: str) -> str:
    """Return *text* for XML, in which not even all characters may be referred to."""
    return escape(re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text))


def _wrapped(text: str, columns: int) -> list[str]:
    return wrap(text, columns, max_lines=3, placeholder=" …") or [""]


@dataclass(slots=True)
class _Drawing:
    """A picture in the making: where it has come to, and what is drawn."""

    y: int = _HEADER
    parts: list[str] = field(default_factory=list)
    paths: dict[Lane, list[str]] = field(default_factory=lambda: {lane: [] for lane in Lane})
    """Where each lane is active."""
    bands: list[str] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    """Height of each time, for arrows."""
    entering: bool = False
    """The step is a pass of L0."""
    off_since: int | None = None

    def step(self, step: TimelineStep, failed: bool) -> None:
        """Draw the row of a step."""
        self._close_band()
        self.entering = step.enters
        mark = "✗ " if failed else ""
        # The number and what the step returned stand on the same line.
        lines = _wrapped(f"{mark}{step.number} · {step.text}", _STEP_COLUMNS)
        notes = _wrapped(step.note, _STEP_COLUMNS + 6) if step.note else []
        if not step.logged and self.entering:
            notes.append("no log of this step")
        height = _LINE * (len(lines) + len(notes)) + 2 * _PADDING
        self.y += 6
        shade = "f" if failed else "s"
        self.parts.append(
            f'<rect class="{shade}" x="4" y="{self.y}" width="{WIDTH - 8}" height="{height}"'
            ' rx="4"/>'
        )
        top = self.y + _PADDING + 11
        ink = "b x" if failed else "b"
        for index, line in enumerate(lines):
            self._write(12, top + index * _LINE, line, ink)
        if step.ret is not None:
            self.parts.append(
                f'<text class="d" x="{WIDTH - 12}" y="{top}" text-anchor="end">'
                f"returns {step.ret}</text>"
            )
        for index, line in enumerate(notes, len(lines)):
            self._write(12, top + index * _LINE, line, "i")
        self.y += height + 2

    def row(self, row: MarkerRow) -> None:
        """Draw a row with a marker."""
        marker = row.marker
        dim = marker.what is What.OTHER
        lines = _wrapped(row.text, _COLUMNS + 3 if dim else _COLUMNS)
        height = _LINE * len(lines) + _PADDING
        middle = self.y + height // 2 if len(lines) == 1 else self.y + 10
        self.places[marker.time] = middle
        self.parts.append("<g>")
        if row.event and row.event != row.text:
            self.parts.append(f"<title>{_text(row.event)}</title>")
        self._activity(row, middle, self.y + height)
        self._symbol(row, middle)
        for index, line in enumerate(lines):
            self._write(_TEXT, middle + 4 + index * _LINE, line, "d" if dim else "")
        self.parts.append("</g>")
        self.y += height

    def _activity(self, row: MarkerRow, middle: int, bottom: int) -> None:
        """Draw who runs, above and below the marker, and where interrupts are off."""
        what, lane, top = row.marker.what, row.marker.lane, self.y
        if row.irqs_off and self.off_since is None:
            self.off_since = top
        if what is What.IRQS_OFF and self.off_since is None:
            self.off_since = middle
        elif what is What.IRQS_ON:
            self._close_band(middle)
        if not self.entering:
            return
        match what:
            case What.ENTRY:
                self._active(row.running, top, middle)
                self._active(lane, middle, bottom)
            case What.EXIT:
                self._active(row.running, top, middle)
                self._active(Lane.L0, middle, bottom)
            case _:
                self._active(row.running, top, bottom)

    def _active(self, lane: Lane, top: int, bottom: int) -> None:
        self.paths[lane].append(f"M{_X[lane]} {top}V{bottom}")

    def _close_band(self, bottom: int | None = None) -> None:
        if self.off_since is not None:
            end = self.y if bottom is None else bottom
            self.bands.append(f"M24 {self.off_since}H44V{end}H24z")
            self.off_since = None

    def _symbol(self, row: MarkerRow, y: int) -> None:
        marker = row.marker
        x = _X[marker.lane]
        match marker.what:
            case What.ENTRY:
                self._horizontal(_X[Lane.L0], x, y, marker.lane)
            case What.ATTEMPT:
                self._horizontal(_X[Lane.L0], x, y, marker.lane, ' stroke-dasharray="3 3"')
            case What.EXIT:
                self._horizontal(x, _X[Lane.L0], y, marker.lane)
            case What.DELIVERY:
                self._path("evt", f"M{x - 5} {y - 5}l9 5l-9 5z")
            case What.REQUEST_MADE:
                self._path("req", _diamond(x, y))
            case What.REQUEST_CONSUMED:
                self._path("req e", _diamond(x, y))
            case What.IPI_SENT | What.ENTRY_FAILED:
                self._circle("ipi", x, y)
            case What.IPI_TAKEN:
                self._circle("ipi e", x, y)
            case What.ACKNOWLEDGED:
                self._circle("evt e", x, y)
            case What.TO_L1 | What.TO_L2:
                lane = Lane.L1 if marker.what is What.TO_L1 else Lane.L2
                self._path(f"h{lane.value[1]}", f"M{x - 5} {y - 5}h10v10h-10z")
            case What.IRQS_OFF | What.IRQS_ON:
                self._path("a L0", f"M{x - 10} {y}h20")
            case What.OTHER:
                self.parts.append(f'<circle class="w" cx="{x}" cy="{y}" r="2.4"/>')

    def _horizontal(self, start: int, end: int, y: int, lane: Lane, extra: str = "") -> None:
        """Draw an arrow from one lane to another."""
        back = 6 if end < start else -6
        self.parts.append(f'<path class="a {lane.value}"{extra} d="M{start} {y}H{end + back}"/>')
        self._path(f"h{lane.value[1]}", f"M{end} {y}l{back} -4v8z")

    def _path(self, kind: str, data: str) -> None:
        self.parts.append(f'<path class="{kind}" d="{data}"/>')

    def _circle(self, kind: str, x: int, y: int) -> None:
        self.parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="4.2"/>')

    def _write(self, x: int, y: int, text: str, kind: str = "") -> None:
        shade = f' class="{kind}"' if kind else ""
        self.parts.append(f'<text{shade} x="{x}" y="{y}">{_text(text)}</text>')

    def arrow(self, start: int, end: int) -> None:
        """Draw an interrupt on its way, if both of its ends are there."""
        if start not in self.places or end not in self.places:
            return
        first, last = self.places[start], self.places[end]
        x = _X[Lane.L0] - 5
        self._path("ipi n", f"M{x} {first}C4 {first + 4} 4 {last - 4} {x - 5} {last}")
        self._path("ipi", f"M{x} {last}l-6 -3.5v7z")

    def background(self) -> str:
        """Return what lies behind everything: names of lanes, guides, bands, and who is active."""
        self._close_band()
        names = "".join(
            f'<text class="b h{lane.value[1]}" x="{x}" y="20" text-anchor="middle">'
            f"<title>{_ROLES[lane]}</title>{lane.value}</text>"
            for lane, x in _X.items()
        )
        guides = "".join(f"M{x} 28V{self.y}" for x in _X.values())
        active = "".join(
            f'<path class="r {lane.value}" d="{"".join(paths)}"/>'
            for lane, paths in self.paths.items()
            if paths
        )
        bands = f'<path class="o" d="{"".join(self.bands)}"/>' if self.bands else ""
        return f'{names}<path class="g" d="{guides}"/>{bands}{active}'

    def legend(self, top: int) -> int:
        """Draw what the symbols mean from *top* on, and return where that ends."""
        for index, (symbol, text) in enumerate(_LEGEND):
            x = 16 if index % 2 == 0 else WIDTH // 2 + 8
            y = top + 14 + index // 2 * 18
            match symbol:
                case "run":
                    self._path("r L1", f"M{x} {y - 6}V{y + 6}")
                    self._path("r L2", f"M{x + 8} {y - 6}V{y + 6}")
                case "off":
                    self._path("o", f"M{x - 6} {y - 6}h16v12h-16z")
                case "made":
                    self._path("req", _diamond(x + 2, y))
                case "taken":
                    self._path("req e", _diamond(x + 2, y))
                case "event":
                    self._path("evt", f"M{x - 3} {y - 5}l9 5l-9 5z")
                case _:
                    curve = f"C{x - 8} {y - 4} {x - 8} {y + 4} {x} {y + 5}"
                    self._path("ipi n", f"M{x + 6} {y - 6}{curve}")
                    self._path("ipi", f"M{x + 6} {y + 5}l-6 -3.5v7z")
            self._write(x + 18, y + 4, text, "d")
        return top + 14 + (len(_LEGEND) + 1) // 2 * 18


_ROLES: Final = {
    Lane.L0: "L0: KVM",
    Lane.L1: "L1: the guest hypervisor",
    Lane.L2: "L2: the guest of L1",
}


def _diamond(x: int, y: int) -> str:
    return f"M{x} {y - 5}l5 5l-5 5l-5 -5z"
