# SPDX-License-Identifier: GPL-2.0-only
"""The command ``kvmref``: a table of sub-commands.

A sub-command is a module with a function ``main`` that takes its arguments and returns the exit
status. The module is imported only when the sub-command is given, so that one doesn't pay for the
others. Nothing is printed here but help and errors.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from kvmref import __version__
from kvmref.cli.exit_status import INTERRUPTED, PIPE_CLOSED, UNUSABLE
from kvmref.errors import InputError, KvmrefError


@dataclass(slots=True, frozen=True)
class Command:
    """A sub-command."""

    name: str
    module: str
    summary: str


COMMANDS: Final = (
    Command("check", "kvmref.cli.check", "run vectors on an implementation, and explain failures"),
    Command("replay", "kvmref.cli.replay", "replay recordings of Linux and compare every detail"),
    Command("serve", "kvmref.cli.serve", "answer for the reference on standard input and output"),
    Command("smoke", "kvmref.cli.smoke", "tell whether an adapter speaks the wire protocol"),
    Command("trace", "kvmref.cli.trace", "show what the reference does in a vector, step by step"),
    Command("vectors", "kvmref.cli.vectors", "list the vectors, check files, export all as JSON"),
    Command("explain", "kvmref.cli.explain", "say what a vector is about, and where to read on"),
    Command("completion", "kvmref.cli.completion", "print the completion script for a shell"),
)
"""Every sub-command, in the order in which the help shows them."""

_EPILOG: Final = """\
exit status:
  0    all is as it should be
  1    something differs
  2    the command line or a file is wrong
  3    the implementation under test broke
  130  interrupted
  141  whoever read the output went away

examples:
  kvmref check
  kvmref check --implementation "./my-hypervisor --kvmref" --report report.html
  kvmref replay conformance/recordings/*.jsonl.gz
  kvmref replay --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sub-command that *arguments* name, by default those of the process."""
    if sys.stdout is None:
        # The next file to be opened would be taken for standard output.
        print("kvmref: standard output is closed", file=sys.stderr)
        return UNUSABLE
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            # Here it can still be told that whoever read went away.
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED
    except OSError as error:
        _discard_output()
        print(f"kvmref: can't go on: {error.strerror or error}", file=sys.stderr)
        return UNUSABLE


def _discard_output() -> None:
    """Forget what is still buffered: it has nowhere to go, and would fail again at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str]) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.command is None:
        parser.print_help(sys.stderr)
        return UNUSABLE
    try:
        run: Callable[[Sequence[str]], int] = importlib.import_module(_module(given.command)).main
        return run(given.arguments)
    except KvmrefError as error:
        print(f"kvmref: {error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED


def _module(name: str) -> str:
    """Return the module of the sub-command called *name*; raises `InputError` if there is none."""
    modules = {command.name: command.module for command in COMMANDS}
    if name not in modules:
        # Only whoever mistypes a command pays for this.
        from kvmref.harness.vectors.names import suggestion

        problem = f"unknown command {name!a}{suggestion(name, modules)}"
        raise InputError(problem, ", ".join(modules))
    return modules[name]


def _parser() -> argparse.ArgumentParser:
    summaries = "\n".join(f"  {command.name:12}{command.summary}" for command in COMMANDS)
    parser = argparse.ArgumentParser(
        prog="kvmref",
        description="A reference implementation of KVM's nested-VMX paths, as a test oracle.",
        epilog=f"commands:\n{summaries}\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kvmref {__version__}")
    parser.add_argument("command", nargs="?", metavar="command", help="what to do; see below")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, help="arguments of the command; try --help"
    )
    return parser
