# SPDX-License-Identifier: GPL-2.0-only
"""What an implementation under test is, to whoever tests it.

The Protocol is the step API without the reference's types for state. An implementation says in its
`Hello` what it can do and show; what it cannot is masked. Whether it runs in this process or in one
of its own is not seen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from kvmref.errors import KvmrefError
from kvmref.kernel.setup import Setup
from kvmref.machine.keys import KEYS, Value
from kvmref.machine.steps import Step
from kvmref.trace import Event

PROTOCOL_VERSION: Final = 1
"""Version of the wire protocol, spec/protocol.md."""


def level_of(key: str) -> str:
    """Return the level of an observation key: ``l1`` or ``l0``."""
    known = KEYS.get(key)
    if known is not None:
        return known.level
    return "l1" if key.startswith("vmcs12.") else "l0"


@dataclass(slots=True, frozen=True)
class Hello:
    """What an implementation says of itself."""

    name: str
    version: str
    kernels: tuple[str, ...]
    """Kernels that it implements, such as ``3.3``."""
    levels: tuple[str, ...] = ()
    """Levels of which it can show every key."""
    keys: tuple[str, ...] = ()
    """Single keys that it can show besides."""
    steps: tuple[str, ...] | None = None
    """Names of the operations that it can do; ``None`` for all of them."""
    log: bool = False
    """It returns logs."""
    ret: bool = False
    """It returns what ``vcpu_enter_guest`` returns."""

    def shows(self, key: str) -> bool:
        """Tell whether the implementation can show *key*."""
        return key in self.keys or level_of(key) in self.levels


@dataclass(slots=True, frozen=True)
class Answer:
    """What an implementation says of a step that it has done."""

    ret: int | None = None
    log: list[Event] | None = None


class ImplementationError(KvmrefError):
    """An implementation broke: it does not answer, or not as the protocol says.

    That says nothing about what it implements. *transcript* ends with what went wrong.
    """

    def __init__(self, problem: str, transcript: Sequence[str] = ()) -> None:
        """Say what the *problem* was, and what had been said before."""
        super().__init__(problem)
        self.problem = problem
        self.transcript = tuple(transcript)


class Implementation(Protocol):
    """An implementation under test. Every method may raise `ImplementationError`."""

    def hello(self) -> Hello:
        """Return what the implementation says of itself."""

    def reset(self, setup: Setup) -> None:
        """Start anew from *setup*."""

    def step(self, step: Step) -> Answer | None:
        """Do *step*; ``None`` if the implementation does not support it."""

    def observe(self, keys: Sequence[str]) -> dict[str, Value]:
        """Return the values of those of *keys* that the implementation can show."""

    def close(self) -> None:
        """Say goodbye; the implementation is not used again."""
