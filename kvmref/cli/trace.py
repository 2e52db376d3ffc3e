# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref trace``: what the reference does in one vector, in order, lane by lane.

By default for people, with colours if standard output is a terminal that wants them (``NO_COLOR``);
for tools as JSON, or as the trace events of a Linux host.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from kvmref.cli.exit_status import SUCCESS
from kvmref.cli.one_vector import load_one
from kvmref.cli.terminal import decorated
from kvmref.errors import InputError
from kvmref.harness.reports.ftrace import trace
from kvmref.harness.reports.svg import svg
from kvmref.harness.reports.text import Line, lines
from kvmref.harness.reports.timeline import Timeline, What, of_reference
from kvmref.harness.reports.watch import watch
from kvmref.harness.vectors.model import Vector

_DESCRIPTION: Final = """\
Let the reference do what a vector says, and show what happens in the lanes L0, L1 and L2: guest
runs, injected events, requests made and taken, interrupts off, IPIs, and switches between L1 and
L2. Steps are numbered from 0; those of the starting point, with --all, have negative numbers."""

_EPILOG: Final = """\
lanes:
  ░ interrupts are off     ◆ request made      ● IPI sent      ▶ event delivered
  ■ switch of VMCS         ◇ request taken     ○ IPI, or interrupt, taken

exit status:
  0    the vector was traced
  2    there is no such vector, it can't be read, or the picture can't be written

examples:
  kvmref trace immediate-exit/pass-2-request-is-consumed
  kvmref trace --svg timeline.svg conformance/vectors/requests/event.toml
  kvmref trace --ftrace --all requests/event
"""

_STYLES: Final = {
    What.ENTRY: "cyan",
    What.ATTEMPT: "cyan",
    What.EXIT: "cyan",
    What.DELIVERY: "yellow",
    What.ACKNOWLEDGED: "yellow",
    What.ENTRY_FAILED: "red",
    What.IPI_SENT: "red",
    What.IPI_TAKEN: "red",
    What.REQUEST_MADE: "green",
    What.REQUEST_CONSUMED: "green",
    What.TO_L1: "magenta",
    What.TO_L2: "magenta",
    What.OTHER: "dim",
}


_LANES: Final = "\n  L0  L1  L2"

Part = tuple[str, str]
"""A text and its style."""


def main(arguments: Sequence[str]) -> int:
    """Show the vector that *arguments* name, and return the exit status."""
    given = parser().parse_args(arguments)
    vector = load_one(given.vector)
    watched = watch(vector)
    picture: str | None = given.svg
    timeline = of_reference(vector.title, watched, preamble=given.all)
    if picture is not None:
        _write(Path(picture), svg(timeline) + "\n")
    if given.json:
        print(json.dumps({"vector": vector.id, **timeline.as_json()}, indent=1))
    elif given.ftrace:
        for line in trace(item for item in watched if given.all or not item.preamble):
            print(line)
    elif picture is None:
        _show(vector, timeline)
    return SUCCESS


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="kvmref trace",
        description=_DESCRIPTION,
        epilog=_encodable(_EPILOG, sys.stdout.encoding or "ascii"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("vector", metavar="VECTOR", help="the id of a vector, or its file")
    made.add_argument("--all", action="store_true", help="show the starting point as well")
    made.add_argument("--svg", metavar="FILE", help="write the timeline as a picture")
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print it as JSON, spec/reports.md")
    form.add_argument(
        "--ftrace", action="store_true", help="print it as trace events of Linux 3.3's KVM"
    )
    return made


def _write(path: Path, contents: str) -> None:
    try:
        path.write_text(contents, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"can't be written: {reason}", file=str(path)) from None


def _show(vector: Vector, timeline: Timeline) -> None:
    encoding = sys.stdout.encoding or "ascii"
    unicode = encoding.lower().replace("-", "").startswith("utf")
    write = _printer()
    write([(_encodable(vector.id, encoding), "bold")])
    write([(_encodable(vector.title, encoding), "")])
    write([(_LANES, "bold")])
    for line in lines(timeline, unicode=unicode):
        write(_styled(line, _encodable(line.text, encoding)))


def _printer() -> Callable[[Sequence[Part]], None]:
    """Return what prints a line, with colours for those who want them."""
    if not decorated():
        return lambda parts: print("".join(text for text, _ in parts))
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    return lambda parts: console.print(Text.assemble(*parts))


def _styled(line: Line, text: str) -> Sequence[Part]:
    if line.what is None:
        return [(line.gutter + text, "bold")]
    style = _STYLES.get(line.what, "")
    return [(line.gutter, style if line.what is not What.OTHER else ""), (text, style)]


def _encodable(text: str, encoding: str) -> str:
    """Return *text* with a question mark for what standard output can't show."""
    return text.encode(encoding, "replace").decode(encoding)
