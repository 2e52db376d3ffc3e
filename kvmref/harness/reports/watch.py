# SPDX-License-Identifier: GPL-2.0-only
"""The reference, watched while it does steps: what a log doesn't say, at the time of its events.

A `Watcher` takes the place of the machine's log. It changes nothing of the execution: hooks run as
before, and what it looks at is only read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kvmref.harness.vectors.model import Vector
from kvmref.kernel.setup import Setup
from kvmref.machine.keys import Value
from kvmref.machine.log import Log
from kvmref.machine.machine import Machine
from kvmref.machine.steps import Step
from kvmref.trace import Event


@dataclass(slots=True, frozen=True)
class Sample:
    """What is true at some moment."""

    cpu: int
    """CPU of the virtual CPU."""
    requests: int
    exception: int | None
    """Vector of the exception that is queued."""
    error_code: int | None
    """Its error code, if it has one."""
    interrupt: int
    """Vector of the interrupt that was queued last."""
    irq_injections: int
    """How many interrupts L0 has injected."""


@dataclass(slots=True, frozen=True)
class ExitState:
    """What the VMCS says after a guest run."""

    reason: int
    rip: int
    qualification: int
    intr_info: int


@dataclass(slots=True, frozen=True)
class Watched:
    """A step that the reference has done."""

    step: Step
    note: str
    preamble: bool
    """It belongs to the starting point, not to the vector itself."""
    ret: int | None
    log: tuple[Event, ...]
    samples: tuple[Sample, ...]
    """Before the step, at every event of the log, after the step."""
    exits: dict[int, ExitState]
    """What the VMCS says, by index of the ``vmexit`` or ``vmfail`` in the log."""
    irqchip: bool
    interrupt_window: bool
    """User space waited for an interrupt window before the step."""


class Watcher(Log):
    """A log that also remembers what is true at each event."""

    __slots__ = ("exits", "machine", "samples")

    def __init__(self, machine: Machine) -> None:
        """Watch *machine*, in place of the log that it has."""
        super().__init__()
        self.machine = machine
        self.samples: list[Sample] = []
        self.exits: dict[int, ExitState] = {}
        self.hooks = machine.log.hooks
        machine.log = self
        machine.env.trace = self
        machine.processor.trace = self

    def event(self, event: Event) -> None:
        """Look at the machine, then do what a log does."""
        self.samples.append(self.sample())
        if not isinstance(event, str) and event[0] in ("vmexit", "vmfail"):
            self.exits[len(self.events)] = self._exit_state(f"vmcs{event[1]!s}")
        super().event(event)

    def sample(self) -> Sample:
        """Return what is true now."""
        vmx = self.machine.vmx
        exception = vmx.arch.exception
        return Sample(
            vmx.cpu,
            vmx.requests,
            exception.nr if exception.pending else None,
            exception.error_code if exception.has_error_code else None,
            vmx.arch.interrupt.nr,
            vmx.stat.irq_injections,
        )

    def _exit_state(self, vmcs: str) -> ExitState:
        names = ("VM_EXIT_REASON", "GUEST_RIP", "EXIT_QUALIFICATION", "VM_EXIT_INTR_INFO")
        keys = [f"{vmcs}.{name}" for name in names]
        observed = self.machine.observe(keys)
        return ExitState(*(_number(observed[key]) for key in keys))


def _number(value: Value) -> int:
    return value if isinstance(value, int) else 0


def watch(vector: Vector) -> list[Watched]:
    """Let the reference do *vector*, from its starting point on."""
    steps = [
        *((step, "", True) for step in vector.preamble),
        *((item.step, item.note, False) for item in vector.steps),
    ]
    return watch_steps(vector.setup, steps)


def watch_steps(setup: Setup, steps: Iterable[tuple[Step, str, bool]]) -> list[Watched]:
    """Let the reference do *steps*: each with its note, and whether it is of a starting point."""
    machine = Machine(setup)
    watcher = Watcher(machine)
    done = []
    for step, note, preamble in steps:
        before = watcher.sample()
        watcher.samples = []
        watcher.exits = {}
        waiting = machine.vmx.run.request_interrupt_window != 0
        result = machine.step(step)
        log = tuple(result.log)
        # Some steps empty the log on the way, so that what was seen before that is not in it.
        seen = watcher.samples[len(watcher.samples) - len(log) :]
        done.append(
            Watched(
                step,
                note,
                preamble,
                result.ret,
                log,
                (before, *seen, watcher.sample()),
                watcher.exits,
                setup.irqchip,
                waiting,
            )
        )
    return done
