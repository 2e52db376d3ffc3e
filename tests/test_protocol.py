# SPDX-License-Identifier: GPL-2.0-only
"""The messages of the wire protocol: read back they are what was written; reading is strict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import protocol_schema
import pytest
from json_schema import valid
from recorded import FILES, IMMEDIATE_EXIT, lines_of, stem

from kvmref.errors import InputError
from kvmref.harness.implementations.interface import Hello
from kvmref.harness.notation.operations import OPERATIONS, read_operation
from kvmref.harness.notation.steps import STEP_NAMES, write_step
from kvmref.harness.protocol.lines import decode, encode
from kvmref.harness.protocol.messages import (
    ANSWERS,
    REQUESTS,
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
    write_answer,
    write_request,
)
from kvmref.harness.protocol.schema import protocol_schema as make_schema
from kvmref.harness.protocol.smoke import ALL_KEYS, EXAMPLES
from kvmref.kernel.setup import Setup
from kvmref.machine.machine import Machine
from kvmref.machine.steps import AllocFail, At, Enter, Events, Exit, Irq, Sched
from kvmref.processor.scripted import Outcome

SCHEMA = make_schema()

RESULTS = {
    "enter": ("n", "ret", "log", "changed"),
    "dump": ("changed",),
    "destroy": ("log", "pinned"),
}

HELLO = Hello("a name", "1.0", ("3.3",), ("l1",), ("requests",), ("enter", "irq"), True, True)

MESSAGES_ASKED: list[Request] = [
    HelloRequest(),
    ResetRequest(Setup(virtual_nmis=False, l1_rip=2**64 - 1)),
    ObserveRequest(("rip", "no.such.key")),
    ByeRequest(),
    *(StepRequest(step) for step in EXAMPLES),
    StepRequest(Exit(Outcome(regs={0: 1}, cr2=5, gpa=0, gla=2**64 - 1, fail=7, force=True, pf=3))),
    StepRequest(At("smp_mb", At("vmentry", Irq(255, True), 2), 65535)),
    StepRequest(Sched(1)),
    StepRequest(Events(2, False)),
    StepRequest(AllocFail("vmcs")),
]

MESSAGES_ANSWERED: list[Reply] = [
    HELLO,
    Hello("a name", "1.0", ("3.3",)),
    ResetAnswer(),
    StepAnswer(),
    StepAnswer(unsupported=True),
    StepAnswer(-12, ["local_irq_disable", ("ack_irq", 81), ("guest_write", 4096, b"\x01\xff")]),
    ObserveAnswer({}, ("no.such.key",)),
    ObserveAnswer(Machine().observe(ALL_KEYS)),
    ByeAnswer(),
    ErrorAnswer("why"),
]


def operations_of(file: Path) -> list[dict[str, Any]]:
    """Return the operations of a recording without their results, each only once."""
    texts = {}
    for line in lines_of(file)[1:]:
        results = RESULTS.get(line["op"], ())
        operation = {key: value for key, value in line.items() if key not in results}
        texts[json.dumps(operation)] = operation
    return list(texts.values())


@pytest.mark.parametrize("file", FILES, ids=stem)
def test_every_recorded_operation_survives_being_read_and_written(file: Path) -> None:
    for operation in operations_of(file):
        step = read_operation(operation)
        assert step == read_operation(write_step(step))


def test_what_is_written_is_what_was_recorded_but_for_defaults() -> None:
    for operation in operations_of(IMMEDIATE_EXIT):
        written = write_step(read_operation(operation))
        assert written == {key: operation[key] for key in written}


def test_every_operation_has_a_step_and_an_example() -> None:
    assert sorted(OPERATIONS) == sorted(STEP_NAMES.values())
    assert sorted(OPERATIONS) == sorted(STEP_NAMES[type(step)] for step in EXAMPLES)


@pytest.mark.parametrize("request_", MESSAGES_ASKED, ids=lambda r: str(type(r).__name__))
def test_a_request_survives_the_wire(request_: Request) -> None:
    message = decode(encode(write_request(7, request_)).rstrip())
    assert (7, request_) == read_request(message)
    assert valid(message, SCHEMA, SCHEMA)


@pytest.mark.parametrize("answer", MESSAGES_ANSWERED, ids=lambda a: str(type(a).__name__))
def test_an_answer_survives_the_wire(answer: Reply) -> None:
    message = decode(encode(write_answer(7, answer)).rstrip())
    assert (7, answer) == read_answer(message)
    assert valid(message, SCHEMA, SCHEMA)


def test_only_an_error_can_answer_nothing_in_particular() -> None:
    assert (None, ErrorAnswer("why")) == read_answer(write_answer(None, ErrorAnswer("why")))
    with pytest.raises(InputError, match="id: found null"):
        read_answer(write_answer(None, ByeAnswer()))


def test_every_kind_of_message_is_among_the_examples() -> None:
    assert {form.make for form in REQUESTS.values()} == {type(r) for r in MESSAGES_ASKED}
    assert {form.make for form in ANSWERS.values()} == {type(a) for a in MESSAGES_ANSWERED}


def test_a_line_is_one_line_of_ascii() -> None:
    line = encode(write_answer(1, ErrorAnswer("two\nlines, and an umlaut: ä")))
    assert line.isascii()
    assert [line] == line.splitlines(keepends=True)


WRONG_REQUESTS: list[tuple[dict[str, object], str]] = [
    ({}, "missing request (accepted: an object with id and request)"),
    ({"request": "bye"}, "missing id (accepted: an object with id and request)"),
    ({"id": 1, "request": "dance"}, 'request: found "dance" (accepted: hello, reset, step,'),
    ({"id": 1, "request": 5}, "request: found 5 (accepted: hello, reset, step, observe, bye)"),
    ({"id": True, "request": "bye"}, "id: found true (accepted: an integer from 0 to"),
    ({"id": -1, "request": "bye"}, "id: found -1"),
    ({"id": 2**53, "request": "bye"}, "id: found 9007199254740992"),
    ({"id": None, "request": "bye"}, "id: found null"),
    ({"id": 1, "request": "hello"}, "hello: missing protocol (accepted: id, request, protocol)"),
    ({"id": 1, "request": "hello", "protocol": 2}, "protocol: found 2 (accepted: 1)"),
    ({"id": 1, "request": "bye", "now": 1}, 'bye: unknown member "now" (accepted: id, request)'),
    ({"id": 1, "request": "observe"}, "observe: missing keys"),
    ({"id": 1, "request": "observe", "keys": [1]}, "keys[0]: found 1 (accepted: a string)"),
    ({"id": 1, "request": "step", "step": {"op": "x"}}, 'step: unknown operation "x"'),
    ({"id": 1, "request": "step", "step": {"op": "irq"}}, "step: irq: missing argument vector"),
    ({"id": 1, "request": "step", "step": {"op": "enter", "ret": 1}}, "step: enter: unknown"),
    ({"id": 1, "request": "reset", "config": {}}, "config: another format version?: missing"),
]


@pytest.mark.parametrize(("message", "problem"), WRONG_REQUESTS)
def test_a_wrong_request_is_refused(message: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        read_request(message)
    assert str(caught.value).startswith(problem)
    assert not valid(message, SCHEMA, SCHEMA)


WRONG_ANSWERS: list[tuple[dict[str, object], str]] = [
    ({"answer": "step"}, "missing id"),
    ({"id": 1, "answer": "step", "ret": 2**31}, "ret: found 2147483648"),
    ({"id": 1, "answer": "step", "ret": "0x1"}, 'ret: found "0x1"'),
    ({"id": 1, "answer": "step", "log": ["vmentry"]}, 'log[0]: found "vmentry"'),
    ({"id": 1, "answer": "step", "log": [["ack_irq", "0x51"]]}, 'log[0].vector: found "0x51"'),
    ({"id": 1, "answer": "step", "unsupported": 1}, "unsupported: found 1 (accepted: true or"),
    ({"id": 1, "answer": "observe", "values": {"rip": 5}}, "values.rip: found 5"),
    ({"id": 1, "answer": "observe", "values": {"rip": "0x05"}}, 'values.rip: found "0x05"'),
    ({"id": 1, "answer": "observe", "values": {"rip": None}}, "values.rip: found null"),
    ({"id": 1, "answer": "observe", "values": {"irr": ["0x1"]}}, 'values.irr[0]: found "0x1"'),
    ({"id": 1, "answer": "observe", "values": {"x": 1}}, 'values: found "x"'),
    ({"id": 1, "answer": "observe"}, "observe: missing values"),
    ({"id": 1, "answer": "error", "problem": None}, "problem: found null"),
]


@pytest.mark.parametrize(("message", "problem"), WRONG_ANSWERS)
def test_a_wrong_answer_is_refused(message: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        read_answer(message)
    assert str(caught.value).startswith(problem)
    assert not valid(message, SCHEMA, SCHEMA)


@pytest.mark.parametrize(
    ("member", "value", "problem"),
    [
        ("levels", ["l2"], 'levels[0]: found "l2" (accepted: "l0", "l1")'),
        ("steps", ["jump"], 'steps[0]: found "jump"'),
        ("log", "yes", 'log: found "yes"'),
        ("kernels", "3.3", 'kernels: found "3.3" (accepted: an array)'),
        ("colour", "red", 'hello: unknown member "colour"'),
    ],
)
def test_a_wrong_hello_is_refused(member: str, value: object, problem: str) -> None:
    message = {**write_answer(1, HELLO), member: value}
    with pytest.raises(InputError) as caught:
        read_answer(message)
    assert str(caught.value).startswith(problem)
    assert not valid(message, SCHEMA, SCHEMA)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"", "invalid JSON: Expecting value at column 1"),
        (b"5", "found 5 (accepted: one object per line)"),
        (b'{"id":1,"id":2}', 'key "id" is given twice'),
        (b'{"id":NaN}', "invalid JSON: NaN"),
        (b'{"id":"\xff"}', "invalid UTF-8"),
        (b'{"id":1}{', "invalid JSON: Extra data"),
        (b"[" * 100_000, "invalid JSON: nested too deeply"),
    ],
)
def test_a_line_that_is_no_message_is_refused(line: bytes, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        decode(line)
    assert str(caught.value).startswith(problem)


def test_recorded_operations_fit_the_schema() -> None:
    step = SCHEMA["$defs"]
    assert isinstance(step, dict)
    for operation in operations_of(IMMEDIATE_EXIT):
        assert valid(operation, step["step"], SCHEMA)


def test_an_enter_has_no_arguments_in_the_schema() -> None:
    message = write_request(1, StepRequest(Enter()))
    assert not valid({**message, "step": {"op": "enter", "vector": 1}}, SCHEMA, SCHEMA)


def test_the_schema_in_the_specification_is_up_to_date() -> None:
    assert protocol_schema.rendered() == protocol_schema.SCHEMA.read_text(encoding="utf-8"), (
        "run python tools/protocol_schema.py"
    )
