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
from kvmref.errors import KvmrefError


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
)
"""Every sub-command, in the order in which the help shows them."""

_EXAMPLES: Final = """\
examples:
  kvmref check
  kvmref check --implementation "./my-hypervisor --kvmref" --report report.html
  kvmref replay conformance/recordings/*.jsonl.gz
  kvmref replay --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sub-command that *arguments* name, by default those of the process."""
    parser = _parser()
    given = parser.parse_args(arguments)
    command = next(command for command in COMMANDS if command.name == given.command)
    run: Callable[[Sequence[str]], int] = importlib.import_module(command.module).main
    try:
        status = run(given.arguments)
        sys.stdout.flush()
    except KvmrefError as error:
        print(f"kvmref: {error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered has nowhere to go, and would fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return status


def _parser() -> argparse.ArgumentParser:
    summaries = "\n".join(f"  {command.name:10}{command.summary}" for command in COMMANDS)
    parser = argparse.ArgumentParser(
        prog="kvmref",
        description="A reference implementation of KVM's nested-VMX paths, as a test oracle.",
        epilog=f"commands:\n{summaries}\n\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kvmref {__version__}")
    parser.add_argument(
        "command", choices=[command.name for command in COMMANDS], help="what to do; see below"
    )
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, help="arguments of the command; try --help"
    )
    return parser
