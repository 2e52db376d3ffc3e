# SPDX-License-Identifier: GPL-2.0-only
"""The formats of reports: which suffix of a file stands for which, and who writes it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kvmref.errors import InputError
from kvmref.harness.judging.run import Run

FORMATS: Final = {
    ".html": ("kvmref.harness.reports.html", "write_html"),
    ".json": ("kvmref.harness.reports.json", "write_json"),
    ".xml": ("kvmref.harness.reports.junit", "write_junit"),
}
"""By suffix, the module and the function that writes a run to a file."""


def check_report(path: Path) -> Path:
    """Return *path*; raises `InputError` if its suffix stands for no format."""
    if path.suffix not in FORMATS:
        raise InputError(f"the report {str(path)!a}", f"a file named {', '.join(FORMATS)}")
    return path


def write_report(run: Run, path: Path) -> None:
    """Write a report of *run* to *path*, in the format that its suffix stands for.

    Raises `InputError` if that isn't possible.
    """
    module, function = FORMATS[check_report(path).suffix]
    write: Callable[[Run, Path], None] = getattr(importlib.import_module(module), function)
    try:
        write(run, path)
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror or error}", file=str(path)) from None
