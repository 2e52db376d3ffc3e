# SPDX-License-Identifier: GPL-2.0-only
"""Replay: do to a machine what was done in a recording, and compare what comes of it.

Equal means equal in everything that the recording shows: after every operation with results its
results, the whole log and every key of the complete state; nothing is masked. The replay of a
recording ends at the first operation where that doesn't hold, because whatever follows would follow
from it. A machine that raises an exception has diverged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kvmref.harness.notation.states import State
from kvmref.harness.recordings.divergence import Divergence, Observation, diverge, raised
from kvmref.harness.recordings.recording import (
    Dumped,
    Entered,
    Initial,
    Recording,
    Results,
)
from kvmref.machine.machine import Machine
from kvmref.machine.steps import StepResult


@dataclass(slots=True, frozen=True)
class ReplayResult:
    """What the replay of one recording came to."""

    file: str
    operations: int
    """How many were performed with equal results, without the init record."""
    enters: int
    """How many of them were ``enter``."""
    keys: int
    """How many values of keys were compared and equal."""
    divergence: Divergence | None
    """The first divergence, or ``None``: everything is equal."""


def replay(recording: Recording) -> ReplayResult:
    """Replay *recording* on a machine of its own, up to the first divergence."""
    progress = _Replay(recording)
    divergence: Divergence | None
    try:
        divergence = progress.run()
    except Exception as error:
        # Whatever a port raises is a finding about that port; the other recordings go on.
        divergence = raised(progress.line, progress.text, error)
    return ReplayResult(
        recording.file,
        progress.operations,
        progress.enters,
        progress.keys,
        divergence,
    )


class _Replay:
    """A replay in progress: how far it has come."""

    __slots__ = ("enters", "keys", "line", "operations", "recording", "state", "text")

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.line = 1
        self.text = recording.text
        self.operations = 0
        self.enters = 0
        self.keys = 0
        self.state = dict(recording.initial.state)
        """What the recording expects, after the last operation that shows the state."""

    def run(self) -> Divergence | None:
        """Perform the operations up to the first divergence, and return that one."""
        recording = self.recording
        machine = Machine(recording.setup)
        divergence = self._compare(
            Observation(_initial_values(recording.initial)), Observation(_values(machine))
        )
        if divergence is not None:
            return divergence
        for operation in recording.operations:
            self.line, self.text = operation.line, operation.text
            result = machine.step(operation.step)
            if operation.results is not None:
                divergence = self._compare_results(machine, operation.results, result)
                if divergence is not None:
                    return divergence
            self.operations += 1
        return None

    def _compare_results(
        self, machine: Machine, results: Results, result: StepResult
    ) -> Divergence | None:
        if isinstance(results, Entered):
            results.changed.apply(self.state)
            expected = {"n": results.n, "ret": results.ret, **self.state}
            observed = {"n": self.enters, "ret": result.ret, **machine.state()}
            divergence = self._compare(
                Observation(expected, results.log), Observation(observed, result.log)
            )
            if divergence is None:
                self.enters += 1
            return divergence
        if isinstance(results, Dumped):
            results.changed.apply(self.state)
            return self._compare(Observation(self.state), Observation(machine.state()))
        pinned = [list(page) for page in machine.pinned()]
        return self._compare(
            Observation({"pinned": results.pinned}, results.log),
            Observation({"pinned": pinned}, result.log),
        )

    def _compare(self, expected: Observation, observed: Observation) -> Divergence | None:
        if expected == observed:
            self.keys += len(expected.values)
            return None
        return diverge(self.line, self.text, expected, observed)


def _initial_values(initial: Initial) -> State:
    return _merged(initial.effective, initial.vmcs_config, initial.ctls, initial.state)


def _values(machine: Machine) -> State:
    return _merged(machine.effective(), machine.vmcs_config(), machine.ctls(), machine.state())


def _merged(
    effective: dict[str, int],
    vmcs_config: dict[str, int],
    ctls: dict[str, int],
    state: Mapping[str, object],
) -> State:
    return {
        **{f"effective.{name}": value for name, value in effective.items()},
        **{f"vmcs_config.{name}": value for name, value in vmcs_config.items()},
        **{f"ctls.{name}": value for name, value in ctls.items()},
        **state,
    }
