# SPDX-License-Identifier: GPL-2.0-only
"""The reference behind the wire protocol: every request gets an answer, whatever it is."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.implementations.interface import Answer, Hello
from kvmref.harness.protocol.lines import LONGEST_LINE, encode
from kvmref.harness.protocol.messages import ResetRequest, write_request
from kvmref.harness.protocol.server import Server, serve
from kvmref.kernel.setup import Setup
from kvmref.machine.keys import Value
from kvmref.machine.steps import Step

PROJECT = Path(__file__).parents[1]

RESET = write_request(1, ResetRequest(Setup()))


def asked(server: Server, message: object) -> dict[str, Any]:
    """Return what *server* answers to *message*."""
    line = message if isinstance(message, bytes) else json.dumps(message).encode()
    answer: dict[str, Any] = json.loads(server.answer(line))
    return answer


@pytest.fixture
def server() -> Server:
    """Return a server of the reference that has been reset."""
    server = Server(MachineImplementation(), validate=True)
    assert {"id": 1, "answer": "reset"} == asked(server, RESET)
    return server


def step(**operation: object) -> dict[str, object]:
    return {"id": 9, "request": "step", "step": operation}


def test_hello_says_that_the_reference_does_and_shows_everything(server: Server) -> None:
    hello = asked(server, {"id": 5, "request": "hello", "protocol": 1})
    assert 5 == hello["id"]
    assert ["l0", "l1"] == hello["levels"]
    assert "steps" not in hello


def test_a_step_is_answered_with_its_log(server: Server) -> None:
    assert {"id": 9, "answer": "step", "log": []} == asked(server, step(op="irq", vector=81))
    entered = asked(server, step(op="enter"))
    assert 1 == entered["ret"]
    assert ["ack_irq", 81] in entered["log"]


def test_unknown_keys_are_named_and_the_others_shown(server: Server) -> None:
    answer = asked(server, {"id": 2, "request": "observe", "keys": ["rip", "vmcs12.x", "irr"]})
    expected = {"values": {"rip": "0x10000", "irr": []}, "unknown": ["vmcs12.x"]}
    assert {"id": 2, "answer": "observe", **expected} == answer


def test_nothing_can_be_done_before_the_first_reset_or_after_destroy(server: Server) -> None:
    before = Server(MachineImplementation())
    for request in (step(op="enter"), {"id": 9, "request": "observe", "keys": []}):
        assert "there is no machine: reset first" == asked(before, request)["problem"]
    asked(server, step(op="destroy"))
    assert "there is no machine: reset first" == asked(server, step(op="enter"))["problem"]
    assert "reset" == asked(server, RESET)["answer"]


@pytest.mark.parametrize(
    ("line", "number", "problem"),
    [
        (b"", None, "invalid JSON"),
        (b"null", None, "found null"),
        (b"\xff", None, "invalid UTF-8"),
        (b'{"id":7}', 7, "missing request"),
        (b'{"id":"7","request":"bye"}', None, "id: found"),
        (b'{"id":7,"request":"dance"}', 7, "request: found"),
        (b'{"id":7,"request":"hello","protocol":99}', 7, "protocol: found 99"),
        (b'{"id":7,"request":"step","step":{"op":"irq","vector":256}}', 7, "step.vector: found"),
        (b"[" * 100_000, None, "invalid JSON: nested too deeply"),
        (
            b'{"id":7,"request":"step","step":'
            + b'{"op":"at","event":"vmentry","do":' * 400
            + b'{"op":"kick"}'
            + b"}" * 401,
            7,
            "",
        ),
    ],
)
def test_what_is_no_request_gets_an_error_and_the_next_one_its_answer(
    server: Server, line: bytes, number: int | None, problem: str
) -> None:
    answer = asked(server, line)
    assert number == answer["id"]
    if problem:
        assert "error" == answer["answer"]
        assert answer["problem"].startswith(problem)
    assert "step" == asked(server, step(op="enter"))["answer"]


def test_a_setup_on_which_kvm_does_not_load_is_an_error(server: Server) -> None:
    config = {**default_config(), "vmx_basic": "0x0"}
    answer = asked(server, {"id": 3, "request": "reset", "config": config})
    assert "error" == answer["answer"]
    assert "there is no machine: reset first" == asked(server, step(op="enter"))["problem"]


def default_config() -> dict[str, object]:
    config = RESET["config"]
    assert isinstance(config, dict)
    return config


class Wrong:
    """An implementation that makes mistakes."""

    def hello(self) -> Hello:
        return Hello("wrong", "0", ("3.3",))

    def reset(self, setup: Setup) -> None:
        """Do nothing."""

    def step(self, step: Step) -> Answer | None:
        return Answer(1, ["no_such_event"])

    def observe(self, keys: Sequence[str]) -> dict[str, Value]:
        raise KeyError(keys[0])

    def close(self) -> None:
        """Do nothing."""


def test_a_mistake_of_the_implementation_is_an_error_not_a_traceback() -> None:
    server = Server(Wrong())
    asked(server, RESET)
    answer = asked(server, {"id": 2, "request": "observe", "keys": ["rip"]})
    assert "the machine broke: KeyError: 'rip'" == answer["problem"]


def test_with_validation_an_answer_that_would_be_wrong_is_not_given() -> None:
    careless, careful = Server(Wrong()), Server(Wrong(), validate=True)
    for server in (careless, careful):
        asked(server, RESET)
    assert ["no_such_event"] == asked(careless, step(op="enter"))["log"]
    answer = asked(careful, step(op="enter"))
    assert answer["problem"].startswith("the answer would be wrong: log[0]: found")


def test_serving_ends_with_goodbye() -> None:
    requests = io.BytesIO(b'{"id":1,"request":"bye"}\n{"id":2,"request":"bye"}\n')
    answers = io.BytesIO()
    serve(Server(MachineImplementation()), requests, answers)
    assert b'{"id":1,"answer":"bye"}\n' == answers.getvalue()


def test_serving_ends_with_the_requests() -> None:
    answers = io.BytesIO()
    serve(Server(MachineImplementation()), io.BytesIO(b'{"id":1,"request":"dance"}'), answers)
    assert 1 == answers.getvalue().count(b"\n")


def test_a_line_that_is_too_long_is_refused_and_the_next_is_read() -> None:
    requests = io.BytesIO(b"x" * (2 * LONGEST_LINE + 5) + b"\n" + b'{"id":2,"request":"bye"}\n')
    answers = io.BytesIO()
    serve(Server(MachineImplementation()), requests, answers)
    first, second = (json.loads(line) for line in answers.getvalue().splitlines())
    assert "a line of more than 4 MiB" == first["problem"]
    assert {"id": 2, "answer": "bye"} == second


@pytest.mark.parametrize("option", [[], ["--validate"]])
def test_the_command_answers_on_standard_output(option: list[str]) -> None:
    requests = b"".join(
        encode(message) for message in (RESET, step(op="enter"), {"id": 2, "request": "bye"})
    )
    done = subprocess.run(
        [sys.executable, "-m", "kvmref", "serve", *option],
        input=requests,
        capture_output=True,
        cwd=PROJECT,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert ["reset", "step", "bye"] == [answer["answer"] for answer in answers]
    assert b"" == done.stderr
