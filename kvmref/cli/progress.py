# SPDX-License-Identifier: GPL-2.0-only
"""A progress bar for whoever watches, and nothing for whoever doesn't.

The bar is drawn on standard error, and only if that is a terminal; the library that draws it is
not even imported otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def watched() -> bool:
    """Tell whether somebody watches standard error."""
    return sys.stderr.isatty()


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar of *total* steps; what the context gives is called after each of them."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)
