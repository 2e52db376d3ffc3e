# SPDX-License-Identifier: GPL-2.0-only
"""An implementation under test in a process of its own, at the other end of the wire protocol.

A request goes out, and the one line that comes back must be its answer: with its id, of its kind,
read strictly. Anything else, and silence for too long, is an `ImplementationError`, with the last
messages and the end of standard error as its transcript. After that the process is dead, and so is
this object: whoever wants to go on makes another.
"""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Sequence
from typing import Final, NoReturn, TypeVar

from kvmref.errors import InputError
from kvmref.harness.implementations.child import Child, ChildError
from kvmref.harness.implementations.interface import Answer, Hello, ImplementationError
from kvmref.harness.notation.values import shortened
from kvmref.harness.protocol.lines import LONGEST_LINE, decode, encode
from kvmref.harness.protocol.messages import (
    ANSWERS,
    ByeAnswer,
    ByeRequest,
    ErrorAnswer,
    HelloRequest,
    ObserveAnswer,
    ObserveRequest,
    Reply,
    Request,
    ResetAnswer,
    ResetRequest,
    StepAnswer,
    StepRequest,
    read_answer,
    read_request,
    write_request,
)
from kvmref.kernel.setup import Setup
from kvmref.machine.keys import Value
from kvmref.machine.steps import Step

R = TypeVar("R", bound=Reply)

TIMEOUT: Final = 10.0
"""How many seconds an answer may take, unless told otherwise."""

GRACE: Final = 1.0
"""How many seconds a process has to end, after its last answer and after SIGTERM."""

_REMEMBERED: Final = 20
_LONGEST_SHOWN: Final = 400
_COMPLAINTS_SHOWN: Final = 20


class SubprocessImplementation:
    """An `kvmref.harness.implementations.interface.Implementation` that is another process."""

    def __init__(
        self,
        command: str | Sequence[str],
        timeout: float = TIMEOUT,
        grace: float = GRACE,
        validate: bool = False,
    ) -> None:
        """Start *command*, which has *timeout* seconds for each answer and *grace* to end.

        A string is split as a shell would split it, but no shell is used. With *validate*, requests
        are checked as strictly as answers always are. Raises `InputError` if there is no such
        program.
        """
        try:
            self.command = shlex.split(command) if isinstance(command, str) else list(command)
        except ValueError as error:
            raise InputError(f"command {command!r}: {error}", "as in a shell") from None
        if not self.command:
            raise InputError("the command is empty", "a program and its arguments")
        self.timeout = float(timeout)
        """How many seconds an answer may take."""
        self._grace = float(grace)
        self._validate = validate
        self._id = 0
        self._said: deque[bytes] = deque(maxlen=_REMEMBERED)
        self._broken: ImplementationError | None = None
        self._child = Child(self.command, LONGEST_LINE)

    @property
    def process(self) -> int:
        """The number of the process."""
        return self._child.process

    def hello(self) -> Hello:
        """Return what the implementation says of itself."""
        return self._ask(HelloRequest(), Hello)

    def reset(self, setup: Setup) -> None:
        """Start anew from *setup*."""
        self._ask(ResetRequest(setup), ResetAnswer)

    def step(self, step: Step) -> Answer | None:
        """Do *step*; ``None`` if the implementation does not support it."""
        answer = self._ask(StepRequest(step), StepAnswer)
        return None if answer.unsupported else Answer(answer.ret, answer.log)

    def observe(self, keys: Sequence[str]) -> dict[str, Value]:
        """Return the values of those of *keys* that the implementation can show."""
        asked = dict.fromkeys(keys)
        answer = self._ask(ObserveRequest(tuple(asked)), ObserveAnswer)
        answered = [*answer.values, *answer.unknown]
        if len(answered) != len(asked) or asked.keys() != set(answered):
            extra = [key for key in answered if key not in asked]
            missing = [key for key in asked if key not in answered]
            what = (
                f"answers {extra[0]!r}, which was not asked for"
                if extra
                else (f"says nothing of {missing[0]!r}" if missing else "answers a key twice")
            )
            self._break(f"observe {what}")
        return answer.values

    def bye(self) -> int | None:
        """Say goodbye; return the exit status, ``None`` if it doesn't end by itself in time."""
        self._ask(ByeRequest(), ByeAnswer)
        return self._child.status(self._grace)

    def exchange(self, line: bytes) -> tuple[int | None, Reply]:
        """Write any *line*, which may be no message, and return the message that comes back."""
        return self._exchange(line)

    def close(self) -> None:
        """Say goodbye, and end the process, whatever it answers."""
        if self._broken is not None:
            return
        timeout, self.timeout = self.timeout, min(self.timeout, self._grace)
        try:
            self._ask(ByeRequest(), ByeAnswer)
        except ImplementationError:
            # All that it had to say has been said.
            return
        finally:
            self.timeout = timeout
            self._child.stop(self._grace)
            self._broken = ImplementationError("closed")

    def _ask(self, request: Request, expected: type[R]) -> R:
        self._id += 1
        message = write_request(self._id, request)
        if self._validate:
            read_request(message)
        number, answer = self._exchange(encode(message))
        if isinstance(answer, ErrorAnswer):
            self._break(f"answers with an error: {answer.problem}")
        if number != self._id:
            self._break(f"answers {number} when asked {self._id}: answers out of order")
        if not isinstance(answer, expected):
            names = {form.make: name for name, form in ANSWERS.items()}
            self._break(f"answers {names[type(answer)]} when asked {message['request']}")
        return answer

    def _exchange(self, line: bytes) -> tuple[int | None, Reply]:
        if self._broken is not None:
            raise self._broken
        self._said.append(b"-> " + line)
        try:
            received = self._child.ask(line, self.timeout)
            self._said.append(b"<- " + received)
            return read_answer(decode(received))
        except ChildError as error:
            self._break(str(error))
        except InputError as error:
            self._break(f"not an answer of the protocol: {error}")

    def _break(self, problem: str) -> NoReturn:
        """Kill the process, and raise the error that says why."""
        self._child.kill()
        said = [_shown(line) for line in self._said]
        complaints = self._child.complaint().splitlines()[-_COMPLAINTS_SHOWN:]
        said += [f"stderr: {shortened(line, _LONGEST_SHOWN)}" for line in complaints]
        self._broken = ImplementationError(problem, [*said, problem])
        raise self._broken


def _shown(line: bytes) -> str:
    text = line[: _LONGEST_SHOWN + 1].decode(errors="backslashreplace").rstrip("\n")
    return shortened(text, _LONGEST_SHOWN)
