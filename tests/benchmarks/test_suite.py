# SPDX-License-Identifier: GPL-2.0-only
"""How long the suite takes: to load, to run on the reference, and to start the command.

In the ordinary test run, in which types are checked, a few vectors stand for all of them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import pytest
from scenarios import write_suite

from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.implementations.targets import Target
from kvmref.harness.judging.runner import Source, run_vectors
from kvmref.harness.judging.verdict import Outcome, Verdict
from kvmref.harness.vectors.directories import suite_directory
from kvmref.harness.vectors.model import Vector
from kvmref.harness.vectors.suite import load_suite

P = ParamSpec("P")
R = TypeVar("R")

SERVED = f"{sys.executable} -m kvmref serve"
START_UP_GOAL = 0.150
"""How many seconds ``kvmref --version`` may take."""


class Benchmark(Protocol):
    """The fixture of pytest-benchmark, which has no types of its own."""

    enabled: bool
    extra_info: dict[str, object]

    def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Measure *function* for a while."""

    def pedantic(self, function: Callable[[], R], *, rounds: int) -> R:
        """Measure *function* so many times."""


@pytest.fixture
def directory(benchmark: Benchmark, tmp_path: Path) -> Path:
    """Return the folder of the suite to measure."""
    return suite_directory() if benchmark.enabled else write_suite(tmp_path)


@pytest.fixture
def vectors(directory: Path) -> Sequence[Vector]:
    """Return the vectors to measure."""
    return load_suite(directory).vectors


def run(vectors: Sequence[Vector], source: Source) -> list[Verdict]:
    """Run *vectors* on what *source* starts, one after the other."""
    return list(run_vectors(vectors, source))


def test_load(benchmark: Benchmark, directory: Path) -> None:
    """The whole suite is read and checked."""
    assert () == benchmark(load_suite, directory).errors


def test_in_process(benchmark: Benchmark, vectors: Sequence[Vector]) -> None:
    """The whole suite is run on the reference, in this process."""
    benchmark.extra_info["vectors"] = len(vectors)
    verdicts = benchmark(run, vectors, MachineImplementation)
    assert {Outcome.PASSED} == {verdict.outcome for verdict in verdicts}


def test_through_the_wire(benchmark: Benchmark, vectors: Sequence[Vector]) -> None:
    """The whole suite is run on the reference behind the protocol, its start included."""
    benchmark.extra_info["vectors"] = len(vectors)
    verdicts = benchmark.pedantic(lambda: run(vectors, Target(SERVED)), rounds=5)
    assert {Outcome.PASSED} == {verdict.outcome for verdict in verdicts}


def test_start_up(benchmark: Benchmark) -> None:
    """A new process says its version."""
    command = [sys.executable, "-m", "kvmref", "--version"]
    taken: list[float] = []

    def start() -> None:
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - started)

    benchmark.pedantic(start, rounds=20)
    if benchmark.enabled:
        assert START_UP_GOAL > min(taken)
