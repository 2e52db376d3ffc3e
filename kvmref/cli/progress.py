# SPDX-License-Identifier: GPL-2.0-only
"""A progress bar on standard error, for whoever watches (`kvmref.cli.terminal`).

The library that draws it is imported only when there is something to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar of *total* steps; what the context gives is called after each of them."""
    with status_bar(title, total) as advance:
        yield lambda: advance(title)


@contextmanager
def status_bar(status: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar of *total* steps with a *status*; after each step the new one is called for."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(status, total=total)
        yield lambda status: progress.update(task, advance=1, description=status)
