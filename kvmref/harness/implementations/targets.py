# SPDX-License-Identifier: GPL-2.0-only
"""What is to be tested: the reference, an object in this process, or a command.

``module:attribute`` names an object with the step API, in this process; anything else is a command
line, which speaks the wire protocol. Nothing is started before a `Target` is called, and each call
starts another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from kvmref.harness.implementations.external import TIMEOUT, SubprocessImplementation
from kvmref.harness.implementations.in_process import MachineImplementation, load_implementation
from kvmref.harness.implementations.interface import Implementation

_IN_PROCESS: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(slots=True, frozen=True)
class Target:
    """An implementation under test, not started yet."""

    named: str | None = None
    """``module:attribute`` or a command line; ``None`` for the reference."""
    timeout: float = TIMEOUT
    """How long a command may take for one answer, in seconds."""

    def __call__(self) -> Implementation:
        """Start it.

        Raises `kvmref.errors.InputError` if there is no such thing, and
        `kvmref.harness.implementations.interface.ImplementationError` if it breaks at once.
        """
        if self.named is None:
            return MachineImplementation()
        if _IN_PROCESS.fullmatch(self.named):
            return load_implementation(self.named)
        return SubprocessImplementation(self.named, self.timeout)
