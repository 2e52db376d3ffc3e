# SPDX-License-Identifier: GPL-2.0-only
"""Does an adapter speak the wire protocol? A list of checks, before anybody judges what it answers.

Each check asks something whose answer the protocol, not the kernel, decides. A check that finds
something wrong is not the end; an implementation that breaks is, and what is left isn't checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from kvmref.harness.implementations.external import SubprocessImplementation
from kvmref.harness.implementations.interface import Hello, ImplementationError
from kvmref.harness.notation.steps import STEP_NAMES
from kvmref.harness.protocol.lines import encode
from kvmref.harness.protocol.messages import ErrorAnswer
from kvmref.kernel.linux_3_3.vmx.vmcs12 import VMCS12_MEMBERS
from kvmref.kernel.setup import Setup
from kvmref.machine.keys import KEYS
from kvmref.machine.steps import (
    AllocFail,
    At,
    ClearExits,
    ClearHooks,
    ClearRequest,
    Destroy,
    Dump,
    Enter,
    Events,
    Exit,
    HostIrq,
    HostIrqNow,
    Irq,
    Kick,
    Ktime,
    Map,
    Mem,
    MmuFail,
    Nmi,
    PokeVmcs12,
    QueueException,
    Request,
    Resched,
    Sched,
    Set,
    Signal,
    Step,
    TimeFail,
    Tsc,
    Unmap,
    WriteRegisters,
    WriteVmcs,
    WriteVmcs12,
)
from kvmref.processor.scripted import Outcome
from kvmref.processor.vmcs_fields import GUEST_RIP, VMCS_FIELDS

_NO_SUCH_KEY: Final = "kvmref.no_such_key"
_NO_SUCH_REQUEST: Final = "kvmref_no_such_request"
_NO_SUCH_REQUEST_ID: Final = 4_000_000

EXAMPLES: Final[tuple[Step, ...]] = (
    Dump(),
    Exit(Outcome(reason=10, len=2)),
    Enter(),
    ClearExits(),
    Irq(81),
    Nmi(),
    QueueException(13, 0),
    Request(11),
    ClearRequest(11),
    Kick(),
    Signal(False),
    Resched(False),
    HostIrq(),
    HostIrqNow(),
    Sched(),
    Mem(0x8000, 8, 0x30000),
    Unmap(0x9000),
    Map(0x9000),
    WriteVmcs12(0x30000, {"guest_rip": 0x400000}, True),
    PokeVmcs12({"guest_rip": 0x400000}),
    WriteRegisters({"rax": 2**64 - 1}),
    WriteVmcs({GUEST_RIP: 0x10000}),
    Set({"cr8": 0}),
    Events(),
    Tsc(0x200000),
    Ktime(1),
    MmuFail(),
    TimeFail(),
    AllocFail("item"),
    At("vmentry", Kick()),
    ClearHooks(),
    Destroy(),
)
"""One step of each kind, in an order in which all of them can be done, ``destroy`` last."""

ALL_KEYS: Final = (
    *KEYS,
    *(f"{region}.{name}" for region in ("vmcs01", "vmcs02") for name in VMCS_FIELDS),
    *(f"vmcs12.{name}" for name in VMCS12_MEMBERS),
)
"""Every observation key."""


class Grade(Enum):
    """What comes of a check."""

    PASSED = "passed"
    SKIPPED = "skipped"
    """There was nothing to check."""
    FAILED = "failed"
    BROKE = "broke"
    """The implementation broke: there is no answer, or none of the protocol."""


@dataclass(slots=True, frozen=True)
class Check:
    """A check, and what came of it."""

    title: str
    grade: Grade
    remark: str = ""
    transcript: tuple[str, ...] = ()


class _FailedError(Exception):
    """An answer of the protocol, but not the right one."""


class _SkippedError(Exception):
    """There is nothing to check."""


def smoke(implementation: SubprocessImplementation) -> Iterator[Check]:
    """Check *implementation*, and end it."""
    smoker = _Smoker(implementation)
    checks = (
        ("hello: it says what it is and what it can do", smoker.hello),
        ("reset: it starts anew", smoker.reset),
        ("step: it does every step that it declares", smoker.declared_steps),
        ("step: enter gives the log and the value that it declares", smoker.results),
        ("step: it says so when it does not do a step", smoker.other_steps),
        ("observe: it shows every key that it declares", smoker.declared_keys),
        ("observe: it says so when it does not know a key", smoker.unknown_keys),
        ("error: it refuses what is no request, and goes on", smoker.no_request),
        ("bye: it answers, and ends with status 0", smoker.bye),
    )
    try:
        for title, check in checks:
            result = _checked(title, check)
            yield result
            if result.grade is Grade.BROKE:
                return
    finally:
        implementation.close()


def _checked(title: str, check: Callable[[], str]) -> Check:
    try:
        return Check(title, Grade.PASSED, check())
    except _SkippedError as reason:
        return Check(title, Grade.SKIPPED, str(reason))
    except _FailedError as problem:
        return Check(title, Grade.FAILED, str(problem))
    except ImplementationError as error:
        return Check(title, Grade.BROKE, error.problem, error.transcript)


class _Smoker:
    """The checks; each returns a remark on what it has seen."""

    def __init__(self, implementation: SubprocessImplementation) -> None:
        self._implementation = implementation
        self._hello = Hello("", "", ())

    def hello(self) -> str:
        hello = self._hello = self._implementation.hello()
        if not hello.kernels:
            raise _FailedError("it implements no kernel")
        steps = "all" if hello.steps is None else str(len(hello.steps))
        shown = sum(hello.shows(key) for key in ALL_KEYS)
        return f"{hello.name} {hello.version}: {steps} steps, {shown} keys"

    def reset(self) -> str:
        self._implementation.reset(Setup())
        self._implementation.reset(Setup(virtual_nmis=False))
        self._implementation.reset(Setup())
        return ""

    def declared_steps(self) -> str:
        refused = [
            STEP_NAMES[type(step)]
            for step in self._examples(declared=True)
            if self._implementation.step(step) is None
        ]
        self._implementation.reset(Setup())
        if refused:
            raise _FailedError(f"declared, but not done: {', '.join(refused)}")
        return ""

    def results(self) -> str:
        if not self._declares(Enter()):
            raise _SkippedError("it does not declare enter")
        answer = self._implementation.step(Enter())
        if answer is None:
            raise _FailedError("declared, but not done: enter")
        for name, declared, given in (
            ("log", self._hello.log, answer.log is not None),
            ("ret", self._hello.ret, answer.ret is not None),
        ):
            if declared != given:
                said = "declared, but not given" if declared else "given, but not declared"
                raise _FailedError(f"{name} is {said}")
        return ""

    def other_steps(self) -> str:
        others = self._examples(declared=False)
        if not others:
            raise _SkippedError("it does all steps")
        done = [
            STEP_NAMES[type(step)] for step in others if self._implementation.step(step) is not None
        ]
        if done:
            raise _FailedError(f"not declared, but not answered as unsupported: {', '.join(done)}")
        return ""

    def declared_keys(self) -> str:
        declared = [key for key in ALL_KEYS if self._hello.shows(key)]
        if not declared:
            raise _SkippedError("it declares none")
        values = self._implementation.observe(declared)
        missing = [key for key in declared if key not in values]
        if missing:
            raise _FailedError(f"declared, but not shown: {', '.join(missing[:10])}")
        return ""

    def unknown_keys(self) -> str:
        keys = ["rip", _NO_SUCH_KEY, "vmcs12.vm_exit_reason"]
        values = self._implementation.observe(keys)
        for key in keys:
            if self._hello.shows(key) and key != _NO_SUCH_KEY and key not in values:
                raise _FailedError(f"{key} is declared, but not shown beside an unknown key")
        return ""

    def no_request(self) -> str:
        for line in (
            encode({"id": _NO_SUCH_REQUEST_ID, "request": _NO_SUCH_REQUEST}),
            b"this is not JSON\n",
        ):
            _, answer = self._implementation.exchange(line)
            if not isinstance(answer, ErrorAnswer):
                raise _FailedError(f"no error for {line.decode().strip()}")
        self._implementation.reset(Setup())
        return ""

    def bye(self) -> str:
        status = self._implementation.bye()
        if status is None:
            raise _FailedError("it answers, but does not end")
        if status != 0:
            raise _FailedError(f"it ends with status {status}")
        return ""

    def _declares(self, step: Step) -> bool:
        return self._hello.steps is None or STEP_NAMES[type(step)] in self._hello.steps

    def _examples(self, declared: bool) -> list[Step]:
        return [step for step in EXAMPLES if self._declares(step) == declared]
