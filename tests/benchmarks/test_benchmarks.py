# SPDX-License-Identifier: GPL-2.0-only
"""How long the things take that a user does often.

``nox -s benchmarks`` prints a table; types must not be checked then, so KVMREF_TYPECHECK is 0. In
the ordinary test run each benchmark is executed once, without being measured.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import pytest

from kvmref.harness.recordings.recording import load
from kvmref.kernel.setup import Setup
from kvmref.machine.machine import Machine
from kvmref.machine.steps import Enter, Exit, Irq, PokeVmcs12, Step
from kvmref.processor.scripted import Outcome
from kvmref.trace import Event

P = ParamSpec("P")
R = TypeVar("R")

RECORDINGS = Path(__file__).parents[2] / "conformance" / "recordings"
ROUNDS = 1000

VMLAUNCH = Exit(Outcome(reason=20, len=3))
CPUID = Exit(Outcome(reason=10, len=2))


class Benchmark(Protocol):
    """The fixture of pytest-benchmark, which has no types of its own."""

    enabled: bool

    def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Measure *function* for a while."""

    def pedantic(
        self,
        function: Callable[..., R],
        *,
        setup: Callable[[], tuple[tuple[object, ...], dict[str, object]]] = lambda: ((), {}),
        rounds: int,
    ) -> R:
        """Measure *function*, called with what *setup* returns, so many times."""


def perform(machine: Machine, steps: list[Step]) -> list[Event]:
    """Perform *steps*, and return the log of the last one."""
    log: list[Event] = []
    for step in steps:
        log = machine.step(step).log
    return log


def entered(log: list[Event]) -> str:
    """Return the name of the VMCS whose guest was entered last according to *log*."""
    names = [event[1] for event in log if isinstance(event, tuple) and event[0] == "vmentry"]
    assert isinstance(names[-1], str)
    return names[-1]


def before_the_interrupt() -> tuple[Machine, list[Step]]:
    """Return a machine on which L1 has launched L2, and what `hand-01-immediate-exit` does next."""
    immediate_exit = load(RECORDINGS / "hand-01-immediate-exit.jsonl.gz")
    steps = [operation.step for operation in immediate_exit.operations]
    interrupt = next(index for index, step in enumerate(steps) if isinstance(step, Irq))
    machine = Machine(immediate_exit.setup)
    perform(machine, steps[:interrupt])
    return machine, steps[interrupt:]


def passes() -> Iterator[tuple[Machine, list[Step]]]:
    """Yield what leads to each ``enter`` of each recording, the ``enter`` included, in order."""
    for file in sorted(RECORDINGS.glob("*.jsonl.gz")):
        recorded = load(file)
        machine = Machine(recorded.setup)
        steps: list[Step] = []
        for operation in recorded.operations:
            steps.append(operation.step)
            if isinstance(operation.step, Enter):
                yield machine, steps
                steps = []


def test_replayed_enter(benchmark: Benchmark) -> None:
    """A pass through vcpu_enter_guest with the steps before it, mean over all recordings."""
    remaining = passes()
    rounds = sum(1 for _ in passes()) if benchmark.enabled else 1
    benchmark.pedantic(perform, setup=lambda: (next(remaining), {}), rounds=rounds)


def test_nested_round_trip(benchmark: Benchmark) -> None:
    """VMLAUNCH by L1, entry of L2, CPUID in L2, back to L1: two passes."""
    machine, _ = before_the_interrupt()
    perform(machine, [CPUID, Enter()])

    def launchable() -> tuple[tuple[object, ...], dict[str, object]]:
        machine.step(PokeVmcs12({"launch_state": 0}))
        return (machine, [VMLAUNCH, Enter(), CPUID, Enter()]), {}

    log = benchmark.pedantic(perform, setup=launchable, rounds=ROUNDS)
    assert "02" == entered(log)


def test_immediate_exit(benchmark: Benchmark) -> None:
    """The interrupt that arrives before L2 has run, until L1 has got it: five passes."""
    machine, steps = before_the_interrupt()
    log = benchmark.pedantic(perform, setup=lambda: ((machine.fork(), steps), {}), rounds=ROUNDS)
    assert "01" == entered(log)


def test_reset(benchmark: Benchmark) -> None:
    """A machine starts again."""
    setup = Setup()
    benchmark(Machine(setup).reset, setup)


def test_copy(benchmark: Benchmark) -> None:
    """A machine in the middle of the immediate exit is copied."""
    machine, _ = before_the_interrupt()
    benchmark(machine.fork)


@pytest.mark.parametrize("statement", ["import kvmref", "from kvmref import Machine, Setup, steps"])
def test_import(benchmark: Benchmark, statement: str) -> None:
    """A new interpreter imports the package, without and with the names that it offers."""
    command = [sys.executable, "-c", statement]
    benchmark.pedantic(lambda: subprocess.run(command, check=True), rounds=20)
