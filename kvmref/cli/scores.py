# SPDX-License-Identifier: GPL-2.0-only
"""The table of scores: drawn with lines and colours on a terminal, aligned text anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from kvmref.cli.terminal import decorated
from kvmref.harness.judging.scores import Score, percent, score, scores
from kvmref.harness.judging.verdict import Verdict

_TOTAL: Final = "all"
_COLUMNS: Final = (
    "folder",
    "vectors",
    "passed",
    "masked",
    "failed",
    "errored",
    "strict",
    "masked score",
)


def print_scores(verdicts: Sequence[Verdict]) -> None:
    """Print the scores of each folder, and of all of them, on standard output."""
    rows = [_row(one.folder, one) for one in scores(verdicts)]
    total = _row(_TOTAL, score(verdicts))
    if decorated():
        _draw(rows, total)
    else:
        print("\n".join(aligned([_COLUMNS, *rows, total])))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return *rows* as lines with columns: the first flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(map(str.rjust, row[1:], widths[1:]))]).rstrip()
        for row in rows
    ]


def _row(name: str, one: Score) -> tuple[str, ...]:
    counts = (one.total, one.passed, one.masked, one.failed, one.errored)
    return (name, *map(str, counts), percent(one.strict), percent(one.forgiving))


def _draw(rows: Sequence[Sequence[str]], total: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_footer=True, box=box.SIMPLE, padding=(0, 0, 0, 1))
    for index, (name, footer) in enumerate(zip(_COLUMNS, total, strict=True)):
        justify: Literal["left", "right"] = "right" if index else "left"
        table.add_column(name.replace(" ", "\n"), footer=footer, justify=justify, no_wrap=True)
    bad = {_COLUMNS.index("failed"), _COLUMNS.index("errored")}
    for row in rows:
        table.add_row(
            *(
                Text(cell, style="bold red" if index in bad and cell != "0" else "")
                for index, cell in enumerate(row)
            )
        )
    Console().print(table)
