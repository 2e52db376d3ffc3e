# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref check``: run vectors on an implementation, and say what is wrong and why it matters.

What was found goes to standard output, in the order of the vectors, whatever the number of
processes; what is wrong with files goes to standard error.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kvmref.cli.conventions import jobs
from kvmref.cli.exit_status import BROKEN, FINDING, INTERRUPTED, SUCCESS, UNUSABLE
from kvmref.cli.progress import status_bar
from kvmref.cli.scores import print_scores
from kvmref.cli.terminal import watched
from kvmref.cli.vector_arguments import Asked, load_asked
from kvmref.errors import InputError
from kvmref.harness.implementations.external import TIMEOUT
from kvmref.harness.implementations.interface import Hello
from kvmref.harness.implementations.targets import Target
from kvmref.harness.judging.deviations import (
    Deviation,
    judge,
    load_deviations,
    unknown_in_words,
    write_deviations,
)
from kvmref.harness.judging.run import Run
from kvmref.harness.judging.runner import NOT_RUN, Source, run_vectors
from kvmref.harness.judging.scores import percent, score
from kvmref.harness.judging.verdict import Outcome, Verdict
from kvmref.harness.reports.explanation import explain, headline
from kvmref.harness.reports.formats import FORMATS, check_report, write_report
from kvmref.harness.vectors.model import Vector
from kvmref.harness.vectors.names import KERNELS
from kvmref.harness.vectors.suite import select

_DESCRIPTION: Final = """\
Run vectors on an implementation of nested VMX, by default on the reference itself, and compare what
can be seen after each step with what must be true. What an implementation cannot show is masked:
neither right nor wrong. For each failure: what differs, why that matters, the steps that led to it,
the log beside that of the reference, and the C functions to read."""

_EPILOG: Final = """\
vectors:
  a file, a folder, or an id or a glob on ids of the vectors that come with kvmref;
  without any, all of those

implementations:
  module:attribute   an object with the step API, in this process
  anything else      a command that speaks the wire protocol; no shell is involved

scores:
  strict             the vectors of which everything expected was observed
  masked             those of which nothing observed was wrong, among the ones of which anything
                     could be observed

exit status:
  0    every vector passes, or fails as the deviations say
  1    a vector fails that is not listed as a deviation, or one is listed and doesn't fail
  2    the command line, a vector or another file is wrong (readable vectors are run all the same)
  3    the implementation broke: it didn't start, hung, died, or spoke nonsense
  130  interrupted; what was done until then is reported

examples:
  kvmref check
  kvmref check --implementation "./my-hypervisor --kvmref" --report report.html --report junit.xml
  kvmref check --implementation mypackage.nested:Adapter --select 'injection/*' --select flag:nmi
  kvmref check --implementation ./adapter --write-deviations deviations.toml
  kvmref check --implementation ./adapter --deviations deviations.toml --jobs 4
"""


def main(arguments: Sequence[str]) -> int:
    """Run the vectors that *arguments* name, and return the exit status."""
    given = parser().parse_args(arguments)
    reports = [check_report(Path(report)) for report in given.report]
    deviations = {} if given.deviations is None else load_deviations(Path(given.deviations))
    asked = load_asked(given.vectors)
    for error in asked.errors:
        print(error, file=sys.stderr)
    vectors = _choose(asked, given.kernel, given.select)
    target = Target(given.implementation, given.timeout)
    run = _run(vectors, target, given, deviations, asked)
    try:
        if not given.quiet:
            _report(run)
        _judge(run, asked)
        print(_summary(run), flush=True)
    finally:
        # Whoever reads the output may have seen enough of it, but still wants the files.
        if run.interrupted:
            done = f"{len(run.verdicts)} of {len(vectors)} vectors"
            print(f"interrupted after {done}", file=sys.stderr)
        for report in reports:
            write_report(run, report)
        if given.write_deviations is not None:
            path = Path(given.write_deviations)
            count = write_deviations(path, run.verdicts, deviations)
            print(_drafted(path, count), file=sys.stderr)
    return _exit_status(run, asked)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="kvmref check",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("vectors", nargs="*", metavar="VECTORS", help="what to run; see below")
    add(
        "-i",
        "--implementation",
        metavar="CMD|module:attribute",
        help="what to test (default: the reference); see below",
    )
    add("--kernel", choices=KERNELS, default=KERNELS[0], help="run the vectors for this kernel")
    add(
        "-s",
        "--select",
        action="append",
        default=[],
        metavar="PATTERN",
        help="run only these: a glob on ids, flag:NAME, level:l0 or level:l1; may be repeated",
    )
    add("--deviations", metavar="FILE", help="the vectors that are known to fail, and why: TOML")
    add("--write-deviations", metavar="FILE", help="draft such a file from what fails")
    add("-j", "--jobs", type=jobs, default=1, metavar="N", help="use N processes (default: 1)")
    add(
        "--report",
        action="append",
        default=[],
        metavar="FILE",
        help=f"write a report, named {', '.join(FORMATS)}; may be repeated",
    )
    add(
        "--timeout",
        type=_seconds,
        default=TIMEOUT,
        metavar="S",
        help=f"seconds that a command has for one answer (default: {TIMEOUT:g})",
    )
    loudness = made.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="the last line only")
    loudness.add_argument(
        "-v", "--verbose", action="store_true", help="one line for each vector besides"
    )
    return made


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if 0.0 < seconds <= 3600.0:
        return seconds
    raise argparse.ArgumentTypeError(f"found {text!r} (accepted: seconds, more than 0, to 3600)")


def _choose(asked: Asked, kernel: str, patterns: Sequence[str]) -> tuple[Vector, ...]:
    """Return the vectors to run; raises `InputError` if there are none."""
    vectors = [vector for vector in asked.vectors if kernel in vector.kernels]
    if not vectors and not asked.errors:
        raise InputError(f"no vectors for kernel {kernel}")
    return select(vectors, patterns)


def _printed(line: str) -> bool:
    """Print *line*, and tell whether somebody still reads the output."""
    try:
        print(line)
    except BrokenPipeError:
        return False
    return True


def _run(
    vectors: Sequence[Vector],
    source: Source,
    given: argparse.Namespace,
    deviations: dict[str, Deviation],
    asked: Asked,
) -> Run:
    """Run *vectors*, and return what came of those that were run before Ctrl-C."""
    verdicts: list[Verdict] = []
    said: list[Hello] = []
    interrupted = False
    verbose: bool = given.verbose
    started = time.perf_counter()
    try:
        with _progress(vectors, given.quiet or given.verbose) as show:
            for verdict in run_vectors(vectors, source, given.kernel, given.jobs, said.append):
                verdicts.append(verdict)
                verbose = verbose and _printed(_line(verdict, deviations))
                show(verdicts)
    except KeyboardInterrupt:
        interrupted = True
    known = {vector.id for vector in asked.vectors} if asked.complete and not asked.errors else None
    return Run(
        said[-1].name if said else given.implementation or "the reference",
        said[-1].version if said else "",
        given.kernel,
        tuple(verdicts),
        judge(verdicts, deviations, known),
        deviations,
        time.perf_counter() - started,
        interrupted,
    )


@contextmanager
def _progress(
    vectors: Sequence[Vector], hidden: bool
) -> Iterator[Callable[[Sequence[Verdict]], None]]:
    """Show how far a run has come, to whoever watches, unless that is to be *hidden*."""
    if hidden or not watched() or not vectors:
        yield _show_nothing
        return
    with status_bar(vectors[0].id, len(vectors)) as advance:
        yield lambda verdicts: advance(_status(vectors, verdicts))


def _show_nothing(verdicts: Sequence[Verdict]) -> None:
    """Show no progress, however many *verdicts* there are."""


def _status(vectors: Sequence[Vector], verdicts: Sequence[Verdict]) -> str:
    """Return the running counts, and the vector that is being run now."""
    current = vectors[len(verdicts)].id if len(verdicts) < len(vectors) else ""
    return f"{_counts(verdicts)}  {current}"


def _counts(verdicts: Sequence[Verdict]) -> str:
    counted = Counter(verdict.outcome for verdict in verdicts)
    found = [f"{counted[outcome]} {outcome.value}" for outcome in Outcome if counted[outcome]]
    return ", ".join(found) or "none run"


def _line(verdict: Verdict, deviations: dict[str, Deviation]) -> str:
    """Return the line for a vector."""
    vector = verdict.vector
    listed = deviations.get(vector.id)
    note = "" if verdict.masked_pass else f": {headline(verdict)}"
    known = f" (known deviation: {listed.reason})" if listed is not None else ""
    return f"{vector.id}: {verdict.outcome.value}{note}{known}"


def _report(run: Run) -> None:
    """Print what was not expected, then the scores."""
    skipped = 0
    for verdict in (*run.judgement.failures, *run.judgement.errors):
        if verdict.error.startswith(NOT_RUN):
            skipped += 1
        else:
            print(explain(verdict))
            print()
    if skipped:
        print(f"{skipped} vectors {run.judgement.errors[-1].error}")
        print()
    if run.verdicts:
        print_scores(run.verdicts)
        print()


def _judge(run: Run, asked: Asked) -> None:
    """Print what the deviations say that isn't so."""
    for verdict in run.judgement.stale:
        print(f"{verdict.vector.id}: {verdict.outcome.value}, but is listed as a deviation")
    for deviation in run.judgement.unknown:
        print(unknown_in_words(deviation, [vector.id for vector in asked.vectors]))


def _summary(run: Run) -> str:
    """Return the line that ends a run."""
    total = score(run.verdicts)
    known = len(run.judgement.expected)
    details = [
        f"{_counts(run.verdicts)}{f' ({known} as listed)' if known else ''}",
        f"strict {percent(total.strict)}, masked {percent(total.forgiving)}",
        f"{total.checked:,} expected values compared, {total.hidden:,} masked",
    ]
    count = f"{total.total} vector{'' if total.total == 1 else 's'}"
    version = f" {run.version}" if run.version else ""
    return f"{run.implementation}{version}: {count}: {'; '.join(details)} in {run.seconds:.2f} s"


def _drafted(path: Path, count: int) -> str:
    """Return the line about a file of deviations."""
    if not count:
        return f"{path}: no deviations"
    return f"{path}: {count} deviation{'' if count == 1 else 's'}; say why, before you rely on them"


def _exit_status(run: Run, asked: Asked) -> int:
    if run.interrupted:
        return INTERRUPTED
    if asked.errors:
        return UNUSABLE
    if run.judgement.errors:
        return BROKEN
    return SUCCESS if run.judgement.as_expected else FINDING
