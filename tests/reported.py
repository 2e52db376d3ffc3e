# SPDX-License-Identifier: GPL-2.0-only
"""Runs to report on: of the reference, of one with a fault, and of one with hostile words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.implementations.interface import Answer, Hello
from kvmref.harness.judging.check import run_vector
from kvmref.harness.judging.deviations import Deviation, judge
from kvmref.harness.judging.run import Run
from kvmref.harness.judging.verdict import Difference, Outcome, Verdict
from kvmref.harness.vectors.model import Expectation, ExpectedValue, Vector, VectorStep
from kvmref.kernel.setup import Setup
from kvmref.machine.keys import Value
from kvmref.machine.steps import Enter, Exit, Irq, Step
from kvmref.processor.scripted import Outcome as GuestRun

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00\x1b"
"""What an implementation should never be able to put into a page."""

CPUID = GuestRun(reason=10, len=2)


def vector(identifier: str, *steps: VectorStep, title: str = "A title") -> Vector:
    """Return a vector of L1 alone."""
    return Vector(
        id=identifier,
        title=title,
        why="why it matters",
        reason="the reason",
        level="l0",
        kernels=("3.3",),
        functions=("vcpu_enter_guest", "handle_cpuid"),
        commits=("d6185f20a0ef",),
        flags=("cpuid",),
        start="l1",
        setup=Setup(),
        preamble=(),
        steps=steps,
    )


CPUID_EXIT = vector(
    "exits/cpuid",
    VectorStep(Exit(CPUID)),
    VectorStep(Enter(), "CPUID", Expectation(ret=1, values={"rip": ExpectedValue(0x10002)})),
)
INTERRUPT = vector(
    "events/interrupt",
    VectorStep(Irq(81), "for L1"),
    VectorStep(Enter(), "", Expectation(values={"irr": ExpectedValue([])})),
    title="An interrupt is injected",
)


class Deaf:
    """The reference, except that interrupts never reach it; if it *admits* that, it says so."""

    def __init__(self, *, admits: bool) -> None:
        self.reference = MachineImplementation()
        self.admits = admits

    def hello(self) -> Hello:
        """Say the same as the reference."""
        return self.reference.hello()

    def reset(self, setup: Setup) -> None:
        """Start anew."""
        self.reference.reset(setup)

    def step(self, step: Step) -> Answer | None:
        """Do *step*, unless it is an interrupt."""
        if isinstance(step, Irq):
            return None if self.admits else Answer(log=[])
        return self.reference.step(step)

    def observe(self, keys: Sequence[str]) -> dict[str, Value]:
        """Show everything."""
        return self.reference.observe(keys)

    def close(self) -> None:
        """Do nothing."""


def run_of(verdicts: Sequence[Verdict], deviations: Mapping[str, str] | None = None) -> Run:
    """Return the run of these *verdicts*, with the reasons for *deviations* by vector."""
    listed = {name: Deviation(name, reason) for name, reason in (deviations or {}).items()}
    return Run("tested", "1.2", "3.3", tuple(verdicts), judge(verdicts, listed), listed, 0.25)


def passing() -> Run:
    """Return a run of the reference."""
    reference = MachineImplementation()
    return run_of(
        [run_vector(one, reference, reference.hello()) for one in (CPUID_EXIT, INTERRUPT)]
    )


def failing() -> Run:
    """Return a run with every outcome."""
    seen = replace(
        INTERRUPT,
        steps=(
            INTERRUPT.steps[0],
            VectorStep(Enter(), "", Expectation(values={"stat.irq_injections": ExpectedValue(1)})),
        ),
    )
    silent, honest = Deaf(admits=False), Deaf(admits=True)
    return run_of(
        [
            run_vector(CPUID_EXIT, silent, silent.hello()),
            run_vector(seen, silent, silent.hello()),
            run_vector(replace(INTERRUPT, id="events/masked"), honest, honest.hello()),
            Verdict(
                replace(CPUID_EXIT, id="exits/broken"),
                Outcome.ERRORED,
                error="no answer to step within 5 s",
                transcript=("> step", "< ..."),
            ),
        ]
    )


def hostile() -> Run:
    """Return a run in which everybody says the worst."""
    worst = replace(
        INTERRUPT,
        title=HOSTILE,
        why=HOSTILE,
        reason=HOSTILE,
        functions=(HOSTILE,),
        flags=(HOSTILE,),
        start=HOSTILE,
        steps=(VectorStep(Irq(81), HOSTILE), VectorStep(Enter(), HOSTILE)),
    )
    log = ((HOSTILE, ("vmentry", HOSTILE), ("vmexit", "02", 1), ("vmptrld", HOSTILE)), (HOSTILE,))
    verdicts = [
        Verdict(
            worst,
            Outcome.FAILED,
            differences=(Difference(1, HOSTILE, HOSTILE, HOSTILE),),
            logs=log,
            reference_logs=((), ()),
        ),
        Verdict(
            replace(worst, id="events/errored"),
            Outcome.ERRORED,
            error=HOSTILE,
            transcript=(HOSTILE,),
        ),
    ]
    run = run_of(verdicts, {"events/interrupt": HOSTILE})
    return replace(run, implementation=HOSTILE, version=HOSTILE)
