# SPDX-License-Identifier: GPL-2.0-only
"""What the wire costs: a round trip, and a recorded script through the wire and without it.

The budget is 100 µs a step beyond the work itself: the difference between the last two, divided by
the number of steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import pytest

from kvmref.harness.implementations.external import SubprocessImplementation
from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.implementations.interface import Implementation
from kvmref.harness.recordings.recording import Recording, load
from kvmref.kernel.setup import Setup
from kvmref.machine.steps import Signal

P = ParamSpec("P")
R = TypeVar("R")

PROJECT = Path(__file__).parents[2]
RECORDING = PROJECT / "conformance" / "recordings" / "hand-01-immediate-exit.jsonl.gz"


class Benchmark(Protocol):
    """The fixture of pytest-benchmark, which has no types of its own."""

    def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Measure *function* for a while."""


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[SubprocessImplementation]:
    """Start the reference behind the wire."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    implementation = SubprocessImplementation([sys.executable, "-m", "kvmref", "serve"], timeout=60)
    implementation.reset(Setup())
    yield implementation
    implementation.close()


def script(implementation: Implementation, recording: Recording) -> int:
    """Do what was recorded, and return how many steps that were."""
    implementation.reset(recording.setup)
    for operation in recording.operations:
        implementation.step(operation.step)
    return len(recording.operations)


def test_round_trip(benchmark: Benchmark, wire: SubprocessImplementation) -> None:
    assert benchmark(wire.step, Signal(False)) is not None


def test_observation(benchmark: Benchmark, wire: SubprocessImplementation) -> None:
    assert 3 == len(benchmark(wire.observe, ["rip", "irr", "vmcs12.vm_exit_reason"]))


def test_script_through_the_wire(benchmark: Benchmark, wire: SubprocessImplementation) -> None:
    recording = load(RECORDING)
    assert 19 == benchmark(script, wire, recording)


def test_script_without_the_wire(benchmark: Benchmark) -> None:
    recording = load(RECORDING)
    assert 19 == benchmark(script, MachineImplementation(), recording)
