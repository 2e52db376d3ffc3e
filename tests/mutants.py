# SPDX-License-Identifier: GPL-2.0-only
"""Implementations with one mistake each, most of them the reference with one statement changed.

Each is a ``module:attribute`` that can be tested. A statement is changed only while the mutant does
a step, so that the reference beside it stays what it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from unittest.mock import patch

from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.implementations.interface import Answer, Hello, ImplementationError
from kvmref.kernel.linux_3_3.include.kvm_host import KVM_REQ_IMMEDIATE_EXIT
from kvmref.kernel.linux_3_3.outside.environment import Environment
from kvmref.kernel.linux_3_3.vmx import nested_exit
from kvmref.kernel.linux_3_3.vmx.structs import vcpu_vmx
from kvmref.kernel.linux_3_3.x86 import enter_guest
from kvmref.kernel.setup import Setup
from kvmref.machine import machine
from kvmref.machine.keys import Value
from kvmref.machine.steps import Enter, Step


class Mutant(MachineImplementation):
    """The reference, with a change while it does a step."""

    __slots__ = ()

    def change(self) -> AbstractContextManager[object]:
        """Return what makes the change, and undoes it."""
        return nullcontext()

    def step(self, step: Step) -> Answer:
        with self.change():
            return super().step(step)


class SkipsTheIpi(Mutant):
    """`vcpu_enter_guest` consumes IMMEDIATE_EXIT, but doesn't interrupt its own CPU."""

    __slots__ = ()

    def change(self) -> AbstractContextManager[object]:
        return patch.object(enter_guest, "smp_send_reschedule", _send_nothing)


class KeepsTheValidBit(Mutant):
    """`prepare_vmcs12` doesn't clear the valid bit of the event that L1 wanted injected."""

    __slots__ = ()

    def change(self) -> AbstractContextManager[object]:
        return patch.object(nested_exit, "INTR_INFO_VALID_MASK", 0)


class ConsumesTheRequestEarly(Mutant):
    """IMMEDIATE_EXIT is consumed before `vcpu_enter_guest` tests for it."""

    __slots__ = ()

    @contextmanager
    def change(self) -> Iterator[object]:
        real = enter_guest.vcpu_enter_guest

        def consuming(vmx: vcpu_vmx) -> int:
            vmx.requests &= ~(1 << KVM_REQ_IMMEDIATE_EXIT)
            return real(vmx)

        with patch.object(machine, "vcpu_enter_guest", consuming) as patched:
            yield patched


class ShowsLittle(Mutant):
    """Shows only what a guest hypervisor sees, and no logs."""

    __slots__ = ()

    def hello(self) -> Hello:
        return Hello("shows-little", "1.0", ("3.3",), levels=("l1",))


class ShowsNothing(Mutant):
    """Shows nothing at all."""

    __slots__ = ()

    def hello(self) -> Hello:
        return Hello("shows-nothing", "1.0", ("3.3",))


class AnotherKernel(Mutant):
    """Implements a kernel that nobody has vectors for."""

    __slots__ = ()

    def hello(self) -> Hello:
        return Hello("another", "1.0", ("2.6",), levels=("l0", "l1"))


class Raises(Mutant):
    """Raises whatever it is told."""

    __slots__ = ()

    def step(self, step: Step) -> Answer:
        raise ValueError("something\nwent wrong")


class RaisesOnEntry(Mutant):
    """Breaks when L0 is to enter a guest."""

    __slots__ = ()

    def step(self, step: Step) -> Answer:
        if isinstance(step, Enter):
            raise ImplementationError("no answer", ["> enter", "< "])
        return super().step(step)


class Dies(Mutant):
    """Takes its process along when L0 is to enter a guest."""

    __slots__ = ()

    def step(self, step: Step) -> Answer:
        if isinstance(step, Enter):
            os._exit(7)
        return super().step(step)


class Interrupted(Mutant):
    """Is interrupted by Ctrl-C at its second reset."""

    __slots__ = ()
    resets = 0

    def reset(self, setup: Setup) -> None:
        Interrupted.resets += 1
        if Interrupted.resets == 2:
            raise KeyboardInterrupt
        super().reset(setup)


class Fake:
    """Answers what it has been told to, and remembers what it has been asked."""

    def __init__(
        self,
        hello: Hello,
        answers: Sequence[Answer | None] = (),
        values: dict[str, Value] | None = None,
    ) -> None:
        """Say *hello*, give *answers* to steps, and show *values*."""
        self._hello = hello
        self._answers = list(answers)
        self._values = values or {}
        self.setups: list[Setup] = []
        self.steps: list[Step] = []
        self.asked: list[list[str]] = []
        self.closed = 0

    def hello(self) -> Hello:
        return self._hello

    def reset(self, setup: Setup) -> None:
        self.setups.append(setup)

    def step(self, step: Step) -> Answer | None:
        self.steps.append(step)
        return self._answers.pop(0) if self._answers else Answer()

    def observe(self, keys: Sequence[str]) -> dict[str, Value]:
        self.asked.append(list(keys))
        return {key: self._values[key] for key in keys if key in self._values}

    def close(self) -> None:
        self.closed += 1


def _send_nothing(env: Environment, cpu: int) -> None:
    """Interrupt nobody, whatever *env* and *cpu* are."""
