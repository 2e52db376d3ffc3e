# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref replay``: replay recordings against the port, and report the first divergence of each.

Reports go to standard output, what is wrong with files to standard error, each in the order in
which the files were given, whatever the number of processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from typing import Final

from kvmref.cli.conventions import counted, jobs
from kvmref.cli.exit_status import FINDING, INTERRUPTED, SUCCESS, UNUSABLE
from kvmref.cli.progress import progress_bar
from kvmref.cli.terminal import watched
from kvmref.errors import InputError, KvmrefError
from kvmref.harness.recordings.recording import load
from kvmref.harness.recordings.replay import ReplayResult, replay

_DESCRIPTION: Final = """\
Do to the port what was done in recordings of Linux 3.3.8, and compare what comes of it: every
return value, every item of the log and every key of the state; nothing is masked. Of a recording
that differs, the first operation that does is reported."""

_EPILOG: Final = """\
exit status:
  0    all recordings are equal
  1    a recording diverges
  2    a file can't be read or isn't a recording (the others are replayed all the same)
  130  interrupted; what was done until then is reported

examples:
  kvmref replay conformance/recordings/*.jsonl.gz
  kvmref replay --jobs 4 -v conformance/recordings/*.jsonl.gz
  kvmref replay conformance/recordings/hand-01-immediate-exit.jsonl.gz
"""

Outcome = ReplayResult | InputError
"""What becomes of a file."""


def main(arguments: Sequence[str]) -> int:
    """Replay the files that *arguments* name, and return the exit status."""
    given = parser().parse_args(arguments)
    files: list[str] = given.files
    outcomes: list[Outcome] = []
    interrupted = False
    bar = watched() and not given.verbose and not given.quiet
    started = time.perf_counter()
    try:
        with progress_bar("replaying", len(files)) if bar else nullcontext(_nothing) as advance:
            for outcome in _outcomes(files, given.jobs):
                outcomes.append(outcome)
                if not bar:
                    _report(outcome, given.verbose, given.quiet)
                advance()
    except KeyboardInterrupt:
        interrupted = True
    seconds = time.perf_counter() - started
    if bar:
        for outcome in outcomes:
            _report(outcome)
    print(_summary(outcomes, seconds))
    if interrupted:
        print(f"interrupted after {len(outcomes)} of {len(files)} files", file=sys.stderr)
        return INTERRUPTED
    return _exit_status(outcomes)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="kvmref replay",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="a recording, *.jsonl or *.jsonl.gz")
    made.add_argument(
        "-j", "--jobs", type=jobs, default=1, metavar="N", help="use N processes (default: 1)"
    )
    loudness = made.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="the last line only")
    loudness.add_argument(
        "-v", "--verbose", action="store_true", help="one line for each recording besides"
    )
    return made


def _nothing() -> None:
    """Show no progress."""


def _replay_file(file: str) -> Outcome:
    try:
        return replay(load(file))
    except InputError as error:
        return error


def _outcomes(files: Sequence[str], jobs: int) -> Iterator[Outcome]:
    """Replay *files* in *jobs* processes, and yield what becomes of each, in their order."""
    jobs = min(jobs, len(files))
    if jobs == 1:
        yield from map(_replay_file, files)
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(jobs, context, initializer=_ignore_interrupts)
    try:
        yield from executor.map(_replay_file, files)
    except BrokenProcessPool as error:
        raise KvmrefError(f"replay: a process died: {error}") from None
    finally:
        executor.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the first process, which tells the others to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _report(outcome: Outcome, verbose: bool = False, quiet: bool = False) -> None:
    if isinstance(outcome, InputError):
        print(outcome, file=sys.stderr)
    elif outcome.divergence is not None:
        if not quiet:
            print(outcome.divergence.report(outcome.file))
    elif verbose:
        print(
            f"{outcome.file}: equal: {outcome.operations} ops, {outcome.enters} enters,"
            f" {outcome.keys} keys"
        )


def _summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    results = [outcome for outcome in outcomes if isinstance(outcome, ReplayResult)]
    diverged = sum(result.divergence is not None for result in results)
    unreadable = len(outcomes) - len(results)
    enters = sum(result.enters for result in results)
    verdicts = [
        f"{len(results) - diverged} equal",
        *([f"{diverged} diverged"] if diverged else []),
        *([f"{unreadable} unreadable"] if unreadable else []),
    ]
    return (
        f"{counted(len(outcomes), 'recording')}: {', '.join(verdicts)};"
        f" {sum(result.operations for result in results):,} ops, {enters:,} enters,"
        f" {sum(result.keys for result in results):,} keys compared"
        f" in {seconds:.1f} s ({enters / seconds:,.0f} enters a second)"
    )


def _exit_status(outcomes: Sequence[Outcome]) -> int:
    if any(isinstance(outcome, InputError) for outcome in outcomes):
        return UNUSABLE
    if any(isinstance(o, ReplayResult) and o.divergence is not None for o in outcomes):
        return FINDING
    return SUCCESS
