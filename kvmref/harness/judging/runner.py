# SPDX-License-Identifier: GPL-2.0-only
"""Many vectors on one implementation: in this process, or in several that share the work.

Each process has an implementation of its own. One that breaks is closed, and the next vector gets
a new one; after `MOST_ERRORS` errors in a row nobody tries any more, and what is left of the work
of that process is `Outcome.ERRORED` too. So every vector gets its verdict, whatever happens.

With several processes, number *i* of *n* does every *n*-th vector, and the verdicts are collected
in the order of the vectors. A process that dies, because the implementation took it along, is
replaced by one that goes on after the vector that was being run.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Final

from kvmref.errors import InputError, KvmrefError
from kvmref.harness.implementations.interface import Hello, Implementation, ImplementationError
from kvmref.harness.judging.check import run_vector
from kvmref.harness.judging.verdict import Outcome, Verdict
from kvmref.harness.vectors.model import Vector

MOST_ERRORS: Final = 5
"""How many vectors in a row may error before an implementation is given up."""

NOT_RUN: Final = "not run"
"""How the error of a vector begins that was not even tried."""

Greet = Callable[[Hello], None]
"""Who is told what an implementation says of itself."""

Source = Callable[[], Implementation]
"""What starts an implementation; for several processes it must be possible to pickle it."""


class Examiner:
    """An implementation under test that is started when it is needed, and again when it broke."""

    __slots__ = (
        "_errors",
        "_hello",
        "_implementation",
        "_last_error",
        "greet",
        "kernel",
        "source",
    )

    def __init__(
        self, source: Source, kernel: str | None = None, greet: Greet | None = None
    ) -> None:
        """Test what *source* starts, which must implement *kernel* if one is given.

        *greet* is told what the implementation says of itself, each time that it is started.
        """
        self.source = source
        self.kernel = kernel
        self.greet = greet
        self._implementation: Implementation | None = None
        self._hello: Hello | None = None
        self._errors = 0
        self._last_error = ""

    def test(self, vector: Vector) -> Verdict:
        """Run *vector*.

        Raises `InputError` if there is nothing to start, or if it does not implement the kernel.
        """
        if self._errors >= MOST_ERRORS:
            return errored(
                vector,
                f"{NOT_RUN}: gave up after {self._errors} errors in a row,"
                f" the last one: {self._last_error}",
            )
        verdict = self._try(vector)
        if verdict.outcome is Outcome.ERRORED:
            self._errors += 1
            self._last_error = verdict.error
            self.close()
        else:
            self._errors = 0
        return verdict

    def start(self) -> Hello:
        """Start the implementation unless it runs, and return what it says of itself."""
        if self._implementation is None or self._hello is None:
            self._implementation = self.source()
            self._hello = self._implementation.hello()
            if self.greet is not None:
                self.greet(self._hello)
            if self.kernel is not None and self.kernel not in self._hello.kernels:
                raise InputError(
                    f"{self._hello.name} does not implement kernel {self.kernel}",
                    ", ".join(self._hello.kernels) or None,
                )
        return self._hello

    def close(self) -> None:
        """Say goodbye to the implementation, whatever it answers."""
        implementation, self._implementation = self._implementation, None
        if implementation is None:
            return
        try:
            implementation.close()
        except Exception:
            # It is not needed any more, and all verdicts about it have been given.
            return

    def _try(self, vector: Vector) -> Verdict:
        try:
            hello = self.start()
        except InputError:
            self.close()
            raise
        except ImplementationError as error:
            return errored(vector, error.problem, error.transcript)
        except Exception as error:
            return errored(vector, f"raised {type(error).__name__}: {error}")
        assert self._implementation is not None
        return run_vector(vector, self._implementation, hello)


def errored(vector: Vector, error: str, transcript: Sequence[str] = ()) -> Verdict:
    """Return the verdict on a *vector* that could not be run."""
    return Verdict(vector, Outcome.ERRORED, error=error, transcript=tuple(transcript))


def run_vectors(
    vectors: Sequence[Vector],
    source: Source,
    kernel: str | None = None,
    jobs: int = 1,
    greet: Greet | None = None,
) -> Generator[Verdict, None, None]:
    """Run *vectors* in *jobs* processes, and yield a verdict for each, in their order.

    *greet* is told what the implementation says of itself, each time that it is started. Raises
    `InputError` if there is nothing to start, or if it does not implement *kernel*.
    """
    jobs = min(jobs, len(vectors))
    if jobs > 1:
        yield from _run_in_processes(vectors, source, kernel, jobs, greet)
        return
    examiner = Examiner(source, kernel, greet)
    try:
        for vector in vectors:
            yield examiner.test(vector)
    finally:
        examiner.close()


def _run_in_processes(
    vectors: Sequence[Vector],
    source: Source,
    kernel: str | None,
    jobs: int,
    greet: Greet | None,
) -> Generator[Verdict, None, None]:
    workers = [_Worker(vectors[number::jobs], source, kernel, greet) for number in range(jobs)]
    try:
        for index in range(len(vectors)):
            yield workers[index % jobs].verdict()
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process that runs vectors one after the other, and its successors if it dies."""

    def __init__(
        self,
        vectors: Sequence[Vector],
        source: Source,
        kernel: str | None,
        greet: Greet | None,
    ) -> None:
        self.vectors = vectors
        self.source = source
        self.kernel = kernel
        self.greet = greet
        self.done = 0
        self.deaths = 0
        """How many processes have died since the last verdict."""
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.verdicts, theirs = context.Pipe(duplex=False)
        remaining = self.vectors[self.done :]
        self.process: SpawnProcess = context.Process(
            target=_work, args=(theirs, remaining, self.source, self.kernel), daemon=True
        )
        self.process.start()
        theirs.close()

    def verdict(self) -> Verdict:
        """Return the verdict on the next vector, when there is one."""
        vector = self.vectors[self.done]
        if self.deaths >= MOST_ERRORS:
            self.done += 1
            return errored(vector, f"{NOT_RUN}: {self.deaths} processes died in a row")
        try:
            answer = self._receive()
        except EOFError:
            self.process.join()
            self.deaths += 1
            self.done += 1
            verdict = errored(vector, f"the process died, exit status {self.process.exitcode}")
            if self.done < len(self.vectors) and self.deaths < MOST_ERRORS:
                self.verdicts.close()
                self._start()
            return verdict
        if isinstance(answer, KvmrefError):
            raise answer
        self.done += 1
        self.deaths = 0
        return answer

    def _receive(self) -> Verdict | KvmrefError:
        while True:
            answer: Verdict | KvmrefError | Hello = self.verdicts.recv()
            if not isinstance(answer, Hello):
                return answer
            if self.greet is not None:
                self.greet(answer)

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.verdicts.close()
        if self.done < len(self.vectors):
            self.process.terminate()
        self.process.join()


def _work(
    verdicts: Connection, vectors: Sequence[Vector], source: Source, kernel: str | None
) -> None:
    """Run *vectors* and send the *verdicts*: what a process does."""
    # Ctrl-C is for the first process, which ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    try:
        for verdict in run_vectors(vectors, source, kernel, greet=verdicts.send):
            verdicts.send(verdict)
    except KvmrefError as error:
        verdicts.send(error)
    except BrokenPipeError:
        # Whoever wanted the verdicts has gone.
        return


def _leave(number: int, _: FrameType | None) -> None:
    """Leave the process in an orderly way, so that the implementation is closed."""
    sys.exit(128 + number)
