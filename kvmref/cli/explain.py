# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref explain``: what a vector is about, and where to read on."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

from kvmref.cli.exit_status import SUCCESS
from kvmref.cli.one_vector import load_one
from kvmref.harness.reports.expected import expectation_in_words
from kvmref.harness.vectors.model import Vector
from kvmref.harness.wording.citations import citations
from kvmref.harness.wording.narration import step_in_words

_DESCRIPTION: Final = """\
Say what a vector shows, what goes wrong in an implementation that fails it, why its expected values
are what they are, what is done and expected step by step, and in which C functions of Linux the
answer is."""

_EPILOG: Final = """\
exit status:
  0    the vector was explained
  2    there is no such vector, or it can't be read

examples:
  kvmref explain immediate-exit/pass-2-request-is-consumed
  kvmref explain conformance/vectors/requests/event.toml
"""

_WIDTH: Final = 88


def main(arguments: Sequence[str]) -> int:
    """Explain the vector that *arguments* name, and return the exit status."""
    vector = load_one(parser().parse_args(arguments).vector)
    print("\n".join(_lines(vector)))
    return SUCCESS


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="kvmref explain",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("vector", metavar="VECTOR", help="the id of a vector, or its file")
    return made


def _lines(vector: Vector) -> Iterator[str]:
    yield vector.id
    yield from wrap(vector.title, _WIDTH)
    yield from _section("Why it matters", [vector.why])
    yield from _section("Why these values", [vector.reason])
    yield ""
    yield "Steps"
    yield from _item(f"start: {vector.start} ({len(vector.preamble)} steps)")
    for number, item in enumerate(vector.steps):
        note = f" ({item.note})" if item.note else ""
        yield from _item(f"{number} {step_in_words(item.step)}{note}")
        for expected in expectation_in_words(item.expect):
            yield from _item(expected, "      ")
    yield from _section("Functions", list(_functions(vector)))
    yield from _section("Commits", vector.commits)
    yield from _section(
        "Selected by",
        [
            f"kernels {', '.join(vector.kernels)}",
            f"level {vector.level}",
            f"flags {', '.join(vector.flags)}",
        ],
    )


def _section(title: str, paragraphs: Sequence[str]) -> Iterator[str]:
    if paragraphs:
        yield ""
        yield title
        for paragraph in paragraphs:
            yield from _item(paragraph)


def _item(text: str, indent: str = "  ") -> list[str]:
    return wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _functions(vector: Vector) -> Iterator[str]:
    for function in vector.functions:
        found = citations(function, vector.kernels[0])
        if not found:
            yield function
        for citation in found:
            yield f"{function}: {citation}, ported in {citation.module}"
