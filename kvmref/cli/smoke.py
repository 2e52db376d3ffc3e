# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref smoke``: tell whether an adapter speaks the wire protocol."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Final

from kvmref.cli.exit_status import BROKEN, FINDING, SUCCESS
from kvmref.harness.implementations.external import TIMEOUT, SubprocessImplementation
from kvmref.harness.protocol.smoke import Check, Grade, smoke

_DESCRIPTION: Final = """\
Start an adapter and check whether it speaks the wire protocol (spec/protocol.md). What it answers
is not judged: that is for `kvmref check`."""

_EPILOG: Final = """\
exit status:
  0    it speaks the protocol
  1    some answer is not what the protocol wants
  2    an argument is wrong, or the command can't be started
  3    it broke: it doesn't answer, or its answer is no message of the protocol

examples:
  kvmref smoke --implementation ./adapter
  kvmref smoke --implementation "python3 adapter.py --fast" --timeout 2
"""

_MARKS: Final = {
    Grade.PASSED: "ok",
    Grade.SKIPPED: "-",
    Grade.FAILED: "FAILED",
    Grade.BROKE: "BROKE",
}


def main(arguments: Sequence[str]) -> int:
    """Check the adapter that *arguments* name, and return the exit status."""
    given = parser().parse_args(arguments)
    implementation = SubprocessImplementation(given.implementation, given.timeout, validate=True)
    grades = set()
    for check in smoke(implementation):
        grades.add(check.grade)
        _report(check)
    if Grade.BROKE in grades:
        print("It broke; what is left was not checked.")
        return BROKEN
    if Grade.FAILED in grades:
        print("It does not speak the protocol yet.")
        return FINDING
    print("It speaks the protocol.")
    return SUCCESS


def _report(check: Check) -> None:
    remark = f" ({check.remark})" if check.remark else ""
    print(f"{_MARKS[check.grade]:8}{check.title}{remark}", flush=True)
    for line in check.transcript:
        print(f"        | {line}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="kvmref smoke",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "-i",
        "--implementation",
        required=True,
        metavar="CMD",
        help="the adapter and its arguments",
    )
    made.add_argument(
        "--timeout",
        type=_seconds,
        default=TIMEOUT,
        metavar="S",
        help="seconds for each answer (default: %(default)g)",
    )
    return made


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if 0 < seconds <= 86400:
        return seconds
    raise argparse.ArgumentTypeError(f"found {text!r} (accepted: seconds, more than 0)")
