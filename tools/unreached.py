# SPDX-License-Identifier: GPL-2.0-only
"""Lists what a coverage run did not reach, by function: ``python tools/unreached.py FILE``.

FILE is what ``coverage json`` writes. Each line names a module, a function, and its lines and
branches that were not reached. Nothing is judged: the exit status is 0 whatever the list holds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict


class Region(TypedDict):
    """What was measured of a function."""

    missing_lines: list[int]
    missing_branches: list[list[int]]


class File(TypedDict):
    """What was measured of a file, by function; code outside of functions has no name."""

    functions: dict[str, Region]


class Report(TypedDict):
    """What ``coverage json`` writes, as far as it matters here."""

    files: dict[str, File]


def _ranges(lines: list[int]) -> str:
    """Return *lines* with neighbours joined, such as ``3-5, 9``."""
    joined: list[list[int]] = []
    for line in lines:
        if joined and joined[-1][1] == line - 1:
            joined[-1][1] = line
        else:
            joined.append([line, line])
    return ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in joined)


def unreached(report: Report) -> Iterator[str]:
    """Yield a line for each function that was not reached as a whole."""
    for file, measured in sorted(report["files"].items()):
        for function, region in measured["functions"].items():
            missing = set(region["missing_lines"])
            branches = [
                f"{source} to {'exit' if target < 0 else target}"
                for source, target in region["missing_branches"]
                if source not in missing and target not in missing
            ]
            parts: list[str] = []
            if missing:
                parts.append(f"lines {_ranges(sorted(missing))}")
            if branches:
                parts.append(f"branches {', '.join(branches)}")
            if parts:
                yield f"{file}: {function or 'module level'}: {'; '.join(parts)}"


def main(arguments: list[str]) -> None:
    """Print the list."""
    report: Report = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    lines = list(unreached(report))
    print("Not reached:" if lines else "Everything is reached.")
    print(*(f"  {line}" for line in lines), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
