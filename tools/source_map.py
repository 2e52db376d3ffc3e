# SPDX-License-Identifier: GPL-2.0-only
"""Writes ``spec/source-map.md``: where each C function is ported, and what reaches it.

Run it as ``python tools/source_map.py`` after moving or adding a function of the port. It joins

- the citations in the docstrings of the port (``Source: arch/x86/kvm/vmx.c:1169-1195``), which are
  parsed, not imported;
- the checklist of C functions in the README of the recordings;
- which functions each recording really calls, found by replaying it.

It refuses to write a map that is not sound: every function of the checklist has a port of its name
that cites its lines, and no two functions cite the same lines.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[1]
PORT: Final = PROJECT / "kvmref" / "kernel" / "linux_3_3"
RECORDINGS: Final = PROJECT / "conformance" / "recordings"
SOURCE_MAP: Final = PROJECT / "spec" / "source-map.md"

NAMED: Final = 5
"""How many of the recordings that reach a function are named."""
RARE: Final = 8
"""If it is not more than that, all are named."""

KINDS: Final = {"E": "essential", "S": "supporting", "I": "initial"}
NOT_LISTED: Final = "not listed"


class SourceMapError(Exception):
    """The port and the checklist do not fit together; the message has a line for each problem."""


@dataclass(frozen=True)
class Listed:
    """A C function of the checklist."""

    file: str
    name: str
    line: int
    kind: str
    recordings: int
    """How many recordings reach it in C."""


@dataclass(frozen=True)
class Ported:
    """A function of the port, with the lines that it cites."""

    module: str
    """Path of its file, from the project's folder."""
    name: str
    file: str
    first: int
    last: int

    @property
    def citation(self) -> str:
        """The lines, as the docstring cites them."""
        return f"{self.file}:{self.first}-{self.last}"


@dataclass(frozen=True)
class Row:
    """A line of the map."""

    ported: Ported
    listed: Listed | None


@dataclass(frozen=True)
class Coverage:
    """The recordings that reach a function here."""

    count: int = 0
    names: tuple[str, ...] = ()
    """The shortest ones of them first; all of them if they are few."""


def read_checklist(readme: str) -> list[Listed]:
    """Return the C functions that *readme* lists, in its order."""
    section = readme.partition("\n## Functions\n")[2].partition("\n## ")[0]
    listed: list[Listed] = []
    file = ""
    for line in section.splitlines():
        if line.startswith("### "):
            file = line.removeprefix("### ").strip()
        elif line.startswith("| `"):
            name, number, kind, _, _, recordings, *_ = (
                cell.strip(" `*") for cell in line.strip("|").split("|")
            )
            listed.append(Listed(file, name, int(number), KINDS[kind], int(recordings)))
    return listed


_SOURCE: Final = re.compile(r"^\s*Source: (\S+?):(\d+)(?:-(\d+))?$", re.MULTILINE)


def read_port(root: Path, project: Path) -> list[Ported]:
    """Return the functions below *root* that cite C; paths are relative to *project*."""
    ported: list[Ported] = []
    for path in sorted(root.rglob("*.py")):
        module = path.relative_to(project).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for file, first, last in _SOURCE.findall(ast.get_docstring(node) or ""):
                    ported.append(Ported(module, node.name, file, int(first), int(last or first)))
    return ported


def join(listed: Sequence[Listed], ported: Sequence[Ported]) -> list[Row]:
    """Return the rows of the map, in the order of the checklist's files and of their lines.

    Raises `SourceMapError` if a function of the checklist has no port, or if the lines that two
    functions cite overlap.
    """
    files = list(dict.fromkeys([function.file for function in listed]))
    files += sorted({function.file for function in ported} - set(files))
    order = sorted(ported, key=lambda function: (files.index(function.file), function.first))
    problems = [
        f"{one.module}: {one.name} and {other.module}: {other.name} cite the same lines: "
        f"{one.citation} and {other.citation}"
        for one, other in pairwise(order)
        if one.file == other.file and other.first <= one.last
    ]
    rows: list[Row] = []
    missing = dict.fromkeys(listed)
    for function in order:
        match = next(
            (
                candidate
                for candidate in missing
                if (candidate.file, candidate.name) == (function.file, function.name)
                and function.first <= candidate.line <= function.last
            ),
            None,
        )
        if match is not None:
            del missing[match]
        rows.append(Row(function, match))
    problems += [
        f"{function.file}:{function.line}: {function.name} has no port that cites it"
        for function in missing
    ]
    if problems:
        raise SourceMapError("\n".join(problems))
    return rows


def render(rows: Sequence[Row], coverage: Mapping[Ported, Coverage]) -> str:
    """Return the text of the map."""
    lines = [
        "# Source map",
        "",
        "Where each function of Linux 3.3.8 is ported. `tools/source_map.py` writes this page from",
        "the docstrings of the port, the checklist of the recordings, and a replay of all of them.",
        "",
        "*Kind*: essential functions are nested virtualisation and event delivery; supporting ones",
        "serve them; initial ones run only while a machine is set up; the others are not on the",
        "checklist. *In C* and *here*: how many recordings reach the function, in C (as stated in",
        f"the checklist) and in the port. Then the {NAMED} shortest of the latter, or all if there",
        f"are no more than {RARE}.",
    ]
    file = ""
    for row in rows:
        function, listed = row.ported, row.listed
        if function.file != file:
            file = function.file
            lines += [
                "",
                f"## {file}",
                "",
                "| C function | lines | port | kind | in C | here | recordings |",
                "|---|---|---|---|---|---|---|",
            ]
        reached = coverage.get(function, Coverage())
        place = function.module.removeprefix("kvmref/kernel/linux_3_3/")
        cells = (
            f"`{function.name}`",
            f"{function.first}-{function.last}",
            f"[{place}](../{function.module})",
            listed.kind if listed else NOT_LISTED,
            str(listed.recordings) if listed else "",
            str(reached.count),
            " ".join(reached.names),
        )
        lines.append(f"| {' | '.join(cells)} |".replace("  |", " |"))
    return "\n".join([*lines, ""])


def stored_coverage(text: str, rows: Sequence[Row]) -> dict[Ported, Coverage]:
    """Return the coverage that the map *text* states, for those of *rows* that it has."""
    stated: dict[tuple[str, str, str], Coverage] = {}
    file = ""
    for line in text.splitlines():
        if line.startswith("## "):
            file = line.removeprefix("## ")
        elif line.startswith("| `"):
            name, lines, _, _, _, count, names = (
                cell.strip(" `") for cell in line.removeprefix("|").removesuffix("|").split("|")
            )
            stated[file, name, lines] = Coverage(int(count), tuple(names.split()))
    found: dict[Ported, Coverage] = {}
    for function in (row.ported for row in rows):
        key = (function.file, function.name, f"{function.first}-{function.last}")
        if key in stated:
            found[function] = stated[key]
    return found


def shortest_first(index: str) -> list[str]:
    """Return the names of the recordings that *index*, a JSON document, lists, by length."""
    entries = [(entry["ops"], entry["file"].partition(".")[0]) for entry in json.loads(index)]
    return [name for _, name in sorted(entries)]


def recording_file(name: str, folder: Path = RECORDINGS) -> Path:
    """Return the file of the recording *name*, compressed or not."""
    return next(folder.glob(f"{name}.jsonl*"))


def reached_by(file: Path, ported: Sequence[Ported]) -> set[Ported]:
    """Return the functions that are called when the recording *file* is replayed."""
    from kvmref.harness.recordings.recording import load
    from kvmref.machine.machine import Machine

    recording = load(file)
    called: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        machine = Machine(recording.setup)
        for operation in recording.operations:
            machine.step(operation.step)
    finally:
        sys.setprofile(before)
    names = {(code.co_filename, code.co_name) for code in called}
    return {f for f in ported if (str(PROJECT / f.module), f.name) in names}


def measure(ported: Sequence[Ported], names: Sequence[str]) -> dict[Ported, Coverage]:
    """Return which of the recordings *names*, which are in order of length, reach each function."""
    reaching: dict[Ported, list[str]] = {function: [] for function in ported}
    for name in names:
        for function in reached_by(recording_file(name), ported):
            reaching[function].append(name)
    return {
        function: Coverage(len(found), tuple(found if len(found) <= RARE else found[:NAMED]))
        for function, found in reaching.items()
    }


def contradictions(
    coverage: Mapping[Ported, Coverage], name: str, order: Sequence[str]
) -> Iterator[str]:
    """Yield where *coverage* does not fit what the recording *name* really reaches.

    *order* are the names of all recordings, the shortest first.
    """
    reached = reached_by(recording_file(name), list(coverage))
    for function, stated in coverage.items():
        complete = stated.count == len(stated.names)
        beyond = not complete and order.index(name) > order.index(stated.names[-1])
        if name in stated.names and function not in reached:
            yield f"{name} does not reach {function.name}"
        elif name not in stated.names and function in reached and not beyond:
            yield f"{name} reaches {function.name}"


def rows_of_project() -> list[Row]:
    """Return the rows of this project's map."""
    readme = (RECORDINGS / "README.md").read_text(encoding="utf-8")
    return join(read_checklist(readme), read_port(PORT, PROJECT))


def main() -> int:
    """Write the map; return 1, with the problems on standard error, if it is not sound."""
    try:
        rows = rows_of_project()
    except SourceMapError as error:
        print(error, file=sys.stderr)
        return 1
    order = shortest_first((RECORDINGS / "index.json").read_text(encoding="utf-8"))
    coverage = measure([row.ported for row in rows], order)
    SOURCE_MAP.write_text(render(rows, coverage), encoding="utf-8")
    print(f"{SOURCE_MAP.relative_to(PROJECT)}: {len(rows)} functions, {len(order)} recordings")
    return 0


if __name__ == "__main__":
    sys.exit(main())
