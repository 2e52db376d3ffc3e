# SPDX-License-Identifier: GPL-2.0-only
"""What a vector is, once it has been read: plain values, checked, with nothing left to look up.

`kvmref.harness.vectors.loader` makes them from TOML. Whoever runs a vector sends the steps to an
implementation and keeps the expectations to itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kvmref.kernel.setup import Setup
from kvmref.machine.keys import Value
from kvmref.machine.steps import Step


@dataclass(slots=True, frozen=True)
class ExpectedValue:
    """What a key must show: *value*, in the bits of *mask* if there is one."""

    value: Value
    mask: int | None = None

    def matches(self, observed: Value) -> bool:
        """Tell whether *observed* is what was expected."""
        if self.mask is None or not isinstance(observed, int) or not isinstance(self.value, int):
            return self.value == observed
        return (self.value ^ observed) & self.mask == 0


@dataclass(slots=True, frozen=True)
class EventPattern:
    """An event of a log: its name, and those of its arguments that matter, by name."""

    name: str
    arguments: dict[str, int | str | bytes] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Expectation:
    """What must be true after a step."""

    ret: int | None = None
    """What ``enter`` returns; ``None`` if that does not matter."""
    values: dict[str, ExpectedValue] = field(default_factory=dict)
    """What keys must show."""
    log: tuple[EventPattern, ...] = ()
    """Events that the log of the step must contain, in this order, others in between or not."""
    never: tuple[EventPattern, ...] = ()
    """Events that the log of the step must not contain."""


@dataclass(slots=True, frozen=True)
class VectorStep:
    """A step of a vector, and what must be true after it."""

    step: Step
    note: str = ""
    """What the step is for, in a few words."""
    expect: Expectation = Expectation()


@dataclass(slots=True, frozen=True)
class Vector:
    """One scenario."""

    id: str
    """Its path below the folder of vectors, without the suffix; it never changes."""
    title: str
    why: str
    """What goes wrong in an implementation that fails it."""
    reason: str
    """Why the expected values are what they are."""
    level: str
    """``l1`` if only what a guest hypervisor sees is expected, ``l0`` otherwise."""
    kernels: tuple[str, ...]
    """Kernels that it holds for, such as ``3.3``."""
    functions: tuple[str, ...]
    """C functions that it is about."""
    commits: tuple[str, ...]
    """Commits that it is about."""
    flags: tuple[str, ...]
    """Words to select it by."""
    start: str
    """Name of its starting point."""
    setup: Setup
    preamble: tuple[Step, ...]
    """The steps of the starting point, with the vector's changes."""
    steps: tuple[VectorStep, ...]
