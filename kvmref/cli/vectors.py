# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref vectors``: the index of the vectors, checks of their files, and the suite as JSON.

What is asked for goes to standard output, what is wrong with files to standard error, one line for
each mistake.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from kvmref.cli.conventions import counted
from kvmref.cli.exit_status import SUCCESS, UNUSABLE
from kvmref.cli.vector_arguments import load_asked
from kvmref.errors import InputError
from kvmref.harness.vectors.export import export
from kvmref.harness.vectors.model import Vector
from kvmref.harness.vectors.suite import select
from kvmref.harness.wording.citations import citations

_DESCRIPTION: Final = """\
What is there to test with. VECTORS are files, folders, ids or globs on ids; without any, all that
come with kvmref."""

_EPILOG: Final = """\
exit status:
  0    done; lint has found nothing
  2    a file isn't a valid vector, or an argument is wrong

examples:
  kvmref vectors list
  kvmref vectors list --select flag:immediate-exit --select level:l1
  kvmref vectors lint my-vectors/
  kvmref vectors export > suite.json
"""


_ACTIONS: Final = {
    "list": "print one line for each vector: id, level, title",
    "lint": "check the files, and report everything that is wrong",
    "export": "print the vectors as one JSON object, expected values included",
}
"""What can be done with vectors."""


def main(arguments: Sequence[str]) -> int:
    """Do what *arguments* ask for, and return the exit status."""
    given = parser().parse_args(arguments)
    asked = load_asked(given.vectors)
    vectors = select(asked.vectors, given.select)
    errors = list(asked.errors)
    match given.action:
        case "list":
            _list(vectors, given.verbose)
        case "lint":
            errors += _unknown_functions(vectors)
            if not errors:
                print(f"{counted(len(vectors), 'vector')}: all valid")
        case "export":
            json.dump(export(vectors), sys.stdout, indent=1)
            print()
    for error in errors:
        print(error, file=sys.stderr)
    return UNUSABLE if errors else SUCCESS


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="kvmref vectors",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = made.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in _ACTIONS.items():
        action = actions.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        action.add_argument(
            "vectors", nargs="*", metavar="VECTORS", help="which of them (default: all)"
        )
        action.add_argument(
            "-s",
            "--select",
            action="append",
            default=[],
            metavar="PATTERN",
            help="only these: a glob on ids, flag:NAME, level:l0 or level:l1; may be repeated",
        )
        if name == "list":
            action.add_argument(
                "-v",
                "--verbose",
                action="store_true",
                help="also why it matters, and what it is about",
            )
    return made


def _list(vectors: Sequence[Vector], verbose: bool) -> None:
    """Print one line for each of *vectors*, and more if *verbose*."""
    width = max((len(vector.id) for vector in vectors), default=0)
    for vector in vectors:
        print(f"{vector.id:{width}}  {vector.level}  {vector.title}")
        if verbose:
            print(f"    why        {vector.why}")
            print(f"    functions  {', '.join(vector.functions)}")
            print(f"    flags      {', '.join(vector.flags)}")


def _unknown_functions(vectors: Iterable[Vector]) -> Iterator[InputError]:
    """Yield an error for each function that a vector is about and that a kernel of it lacks."""
    for vector in vectors:
        for index, function in enumerate(vector.functions):
            for kernel in vector.kernels:
                if not citations(function, kernel):
                    yield InputError(
                        f'unknown C function "{function}"',
                        f"functions of the source map, Linux {kernel}",
                        f"functions[{index}]",
                        vector.id,
                    )
