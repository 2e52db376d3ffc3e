# SPDX-License-Identifier: GPL-2.0-only
"""An implementation behind the wire protocol: lines of requests in, lines of answers out.

`Server` does no I/O: it makes the answer of a request. Whatever is asked, the answer is a message;
a request that isn't one, or can't be met, gets an answer that says so in one line. `serve` is the
loop around it.
"""

from __future__ import annotations

from typing import BinaryIO, Final

from kvmref.errors import InputError, KvmrefError
from kvmref.harness.implementations.interface import Implementation
from kvmref.harness.protocol.lines import LONGEST_LINE, decode, encode
from kvmref.harness.protocol.messages import (
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
    id_of,
    read_answer,
    read_request,
    write_answer,
)
from kvmref.machine.steps import Destroy

_TOO_LONG: Final = ErrorAnswer(f"a line of more than {LONGEST_LINE >> 20} MiB")
_RESET_FIRST: Final = ErrorAnswer("there is no machine: reset first")


class Server:
    """What answers for an implementation."""

    def __init__(self, implementation: Implementation, validate: bool = False) -> None:
        """Answer for *implementation*; with *validate*, read every answer before it is given."""
        self._implementation = implementation
        self._validate = validate
        self._ready = False
        self.ended = False
        """The last request has been answered."""

    def answer(self, line: bytes) -> bytes:
        """Return the line that answers the request in *line*."""
        given: dict[str, object] = {}
        try:
            given = decode(line)
            number, request = read_request(given)
        except InputError as error:
            return self._line(id_of(given), ErrorAnswer(str(error)))
        except RecursionError:
            return self._line(id_of(given), ErrorAnswer("nested too deeply"))
        try:
            answer = self._reply(request)
        except KvmrefError as error:
            answer = ErrorAnswer(str(error))
        except Exception as error:
            # A state that can't be: nothing more may be asked of it.
            self._ready = False
            answer = ErrorAnswer(f"the machine broke: {type(error).__name__}: {error}")
        return self._line(number, answer)

    def too_long(self) -> bytes:
        """Return the line that answers a request that is longer than any may be."""
        return self._line(None, _TOO_LONG)

    def _reply(self, request: Request) -> Reply:
        implementation = self._implementation
        match request:
            case StepRequest(step):
                if not self._ready:
                    return _RESET_FIRST
                answer = implementation.step(step)
                self._ready = not isinstance(step, Destroy)
                if answer is None:
                    return StepAnswer(unsupported=True)
                return StepAnswer(answer.ret, answer.log)
            case ObserveRequest(keys):
                if not self._ready:
                    return _RESET_FIRST
                values = implementation.observe(keys)
                return ObserveAnswer(values, tuple(key for key in keys if key not in values))
            case ResetRequest(setup):
                self._ready = False
                implementation.reset(setup)
                self._ready = True
                return ResetAnswer()
            case HelloRequest():
                return implementation.hello()
            case ByeRequest():
                implementation.close()
                self.ended = True
                return ByeAnswer()

    def _line(self, number: int | None, answer: Reply) -> bytes:
        message = write_answer(number, answer)
        if self._validate:
            try:
                read_answer(message)
            except InputError as error:
                message = write_answer(number, ErrorAnswer(f"the answer would be wrong: {error}"))
        return encode(message)


def serve(server: Server, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer *requests* until one says goodbye, or there are no more."""
    while not server.ended and (line := requests.readline(LONGEST_LINE)):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = requests.readline(LONGEST_LINE)
            answer = server.too_long()
        else:
            answer = server.answer(line.rstrip(b"\r\n"))
        answers.write(answer)
        answers.flush()
