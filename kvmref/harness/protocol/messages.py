# SPDX-License-Identifier: GPL-2.0-only
"""The messages of the wire protocol, and how each of them is written as a JSON object.

A request has an ``id`` and the name of its kind under ``request``; the answer repeats the id and
has the name under ``answer``. Every other member is in one of two tables, `REQUESTS` and `ANSWERS`,
with its reader, its writer and its schema. Reading is strict: a member that isn't in the table, is
missing, or isn't what the table says, is an `InputError` with one line.

Nothing here reads or writes files, and nothing knows who asks and who answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from kvmref.errors import InputError
from kvmref.harness.implementations.interface import PROTOCOL_VERSION, Hello
from kvmref.harness.notation.operations import OPERATIONS, read_operation
from kvmref.harness.notation.setups import read_setup, write_setup
from kvmref.harness.notation.states import shape_of, value_reader
from kvmref.harness.notation.steps import write_step
from kvmref.harness.notation.values import (
    Reader,
    array,
    mismatch,
    number,
    number_between,
    obj,
    one_of,
    read_at,
    read_log,
    shown,
    spelled,
    spelled_event,
)
from kvmref.harness.protocol.schemas import (
    KEY_NAMES,
    LOG,
    NUMBER_32,
    REFERENCE_TO_SETUP,
    REFERENCE_TO_STEP,
    REFERENCE_TO_VALUES,
    Schema,
    enumerated,
    list_of,
    text,
)
from kvmref.integers import Width
from kvmref.kernel.setup import Setup
from kvmref.machine.keys import Value
from kvmref.machine.steps import Step
from kvmref.trace import Event

T = TypeVar("T")

LARGEST_ID: Final = 2**53 - 1
"""The largest id of a request: what every JSON parser keeps exactly."""


@dataclass(slots=True, frozen=True)
class HelloRequest:
    """Say who you are, if you speak this version of the protocol."""


@dataclass(slots=True, frozen=True)
class ResetRequest:
    """Start anew from this setup."""

    config: Setup


@dataclass(slots=True, frozen=True)
class StepRequest:
    """Do this step."""

    step: Step


@dataclass(slots=True, frozen=True)
class ObserveRequest:
    """Say what these keys show."""

    keys: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class ByeRequest:
    """That was all: answer, and end."""


Request = HelloRequest | ResetRequest | StepRequest | ObserveRequest | ByeRequest
"""What can be asked."""


@dataclass(slots=True, frozen=True)
class ResetAnswer:
    """The implementation has started anew."""


@dataclass(slots=True, frozen=True)
class StepAnswer:
    """What came of a step."""

    ret: int | None = None
    log: list[Event] | None = None
    unsupported: bool = False
    """The step has not been done, because the implementation doesn't have such steps."""


@dataclass(slots=True, frozen=True)
class ObserveAnswer:
    """The values of those keys that the implementation can show, and the other keys."""

    values: dict[str, Value]
    unknown: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class ByeAnswer:
    """Goodbye."""


@dataclass(slots=True, frozen=True)
class ErrorAnswer:
    """The request was not understood, or can't be met; nothing has been done."""

    problem: str


Reply = Hello | ResetAnswer | StepAnswer | ObserveAnswer | ByeAnswer | ErrorAnswer
"""What can be answered."""


@dataclass(slots=True, frozen=True)
class Member:
    """One member of a message."""

    read: Reader[object]
    write: Callable[..., object]
    schema: Schema
    doc: str
    required: bool = True
    default: object = None
    """What is meant, and is not written, if the member is missing."""


@dataclass(slots=True, frozen=True)
class Form:
    """How one kind of message is written."""

    make: Callable[..., Request | Reply]
    doc: str
    members: dict[str, Member] = field(default_factory=dict)
    greeting: bool = False
    """It has the version of the protocol as a member."""


def _as_it_is(value: object) -> object:
    return value


def _string(value: object) -> str:
    if isinstance(value, str):
        return value
    raise mismatch(value, "a string")


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise mismatch(value, "true or false")


def _tuple_of(item: Reader[T]) -> Reader[tuple[T, ...]]:
    def read(value: object) -> tuple[T, ...]:
        return tuple(read_at(index, item, each) for index, each in enumerate(array(value)))

    return read


def _step(value: object) -> Step:
    return read_operation(obj(value))


def _values(value: object) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for key, observed in obj(value).items():
        reader = value_reader(key)
        if reader is None:
            raise mismatch(key, "observation keys; others belong in unknown")
        values[key] = read_at(key, reader, observed)
    return values


def _written_values(values: Mapping[str, Value]) -> dict[str, object]:
    return {key: spelled(shape_of(key), value) for key, value in values.items()}


def _written_log(log: list[Event]) -> list[object]:
    return [event if isinstance(event, str) else spelled_event(event) for event in log]


_NAME: Final = (_string, _as_it_is, text())
_NAMES: Final = (_tuple_of(_string), list, list_of(text()))
_FLAG: Final = (_boolean, bool, Schema({"type": "boolean"}))
_LEVELS: Final = ("l0", "l1")

REQUESTS: Final[dict[str, Form]] = {
    "hello": Form(HelloRequest, "the first request", greeting=True),
    "reset": Form(
        ResetRequest,
        "start anew; required before the first step",
        {"config": Member(read_setup, write_setup, REFERENCE_TO_SETUP, "the whole setup")},
    ),
    "step": Form(
        StepRequest,
        "do one step",
        {"step": Member(_step, write_step, REFERENCE_TO_STEP, "an operation of recordings")},
    ),
    "observe": Form(
        ObserveRequest,
        "look at the state, and change nothing",
        {"keys": Member(*_NAMES, "observation keys")},
    ),
    "bye": Form(ByeRequest, "the last request; answer it, and end"),
}
"""Every request, by its name on the wire."""

ANSWERS: Final[dict[str, Form]] = {
    "hello": Form(
        Hello,
        "what the implementation is and what it can do",
        {
            "name": Member(*_NAME, "name of the implementation"),
            "version": Member(*_NAME, "its version"),
            "kernels": Member(*_NAMES, 'kernels that it implements, such as "3.3"'),
            "levels": Member(
                _tuple_of(one_of(*_LEVELS)),
                list,
                list_of(enumerated(_LEVELS)),
                "levels of which it shows every key",
                False,
                (),
            ),
            "keys": Member(
                _tuple_of(_string),
                list,
                list_of(KEY_NAMES),
                "keys that it shows besides",
                False,
                (),
            ),
            "steps": Member(
                _tuple_of(one_of(*OPERATIONS)),
                list,
                list_of(enumerated(OPERATIONS)),
                "operations that it does; all if missing",
                False,
            ),
            "log": Member(*_FLAG, "it gives the log of a step", False, False),
            "ret": Member(*_FLAG, "it gives what enter returns", False, False),
        },
        greeting=True,
    ),
    "reset": Form(ResetAnswer, "it has been done"),
    "step": Form(
        StepAnswer,
        "what came of it",
        {
            "ret": Member(
                number(Width(32, signed=True)), int, NUMBER_32, "what enter returned", False
            ),
            "log": Member(read_log, _written_log, LOG, "what happened, in order", False),
            "unsupported": Member(*_FLAG, "true: not done, it doesn't do such steps", False, False),
        },
    ),
    "observe": Form(
        ObserveAnswer,
        "what the keys show",
        {
            "values": Member(
                _values, _written_values, REFERENCE_TO_VALUES, "by key, those that it can show"
            ),
            "unknown": Member(*_NAMES, "the other keys", False, ()),
        },
    ),
    "bye": Form(ByeAnswer, "it ends now"),
    "error": Form(
        ErrorAnswer,
        "the request was not understood, or can't be met",
        {"problem": Member(*_NAME, "why, in one line")},
    ),
}
"""Every answer, by its name on the wire."""

_REQUEST_NAMES: Final = {form.make: name for name, form in REQUESTS.items()}
_ANSWER_NAMES: Final = {form.make: name for name, form in ANSWERS.items()}

_read_id: Final = number_between(0, LARGEST_ID)
_read_version: Final = one_of(PROTOCOL_VERSION)


def write_request(number: int, request: Request) -> dict[str, object]:
    """Return the object of *request*, whose id is *number*."""
    name = _REQUEST_NAMES[type(request)]
    return _written({"id": number, "request": name}, REQUESTS[name], request)


def write_answer(number: int | None, answer: Reply) -> dict[str, object]:
    """Return the object of *answer* to the request *number*; ``None`` if that couldn't be read."""
    name = _ANSWER_NAMES[type(answer)]
    return _written({"id": number, "answer": name}, ANSWERS[name], answer)


def read_request(given: Mapping[str, object]) -> tuple[int, Request]:
    """Return the id and the request that *given* is."""
    form = _form(given, "request", REQUESTS)
    number = read_at("id", _read_id, given["id"])
    request = form.make(**_members(given, "request", form))
    assert isinstance(request, Request)
    return number, request


def read_answer(given: Mapping[str, object]) -> tuple[int | None, Reply]:
    """Return the id and the answer that *given* is; an error can have none."""
    form = _form(given, "answer", ANSWERS)
    number = given["id"]
    if number is not None or form.make is not ErrorAnswer:
        number = read_at("id", _read_id, number)
    answer = form.make(**_members(given, "answer", form))
    assert isinstance(answer, Reply)
    return number, answer


def id_of(given: Mapping[str, object]) -> int | None:
    """Return the id of what may be no valid request, or ``None`` if it has none."""
    number = given.get("id")
    return number if type(number) is int and 0 <= number <= LARGEST_ID else None


def _written(message: dict[str, object], form: Form, source: Request | Reply) -> dict[str, object]:
    if form.greeting:
        message["protocol"] = PROTOCOL_VERSION
    for name, member in form.members.items():
        value = getattr(source, name)
        if member.required or value != member.default:
            message[name] = member.write(value)
    return message


def _form(given: Mapping[str, object], which: str, forms: Mapping[str, Form]) -> Form:
    """Return the form of the message *given*, whose name is under the key *which*."""
    for key in (which, "id"):
        if key not in given:
            raise InputError(f"missing {key}", f"an object with id and {which}")
    name = given[which]
    form = forms.get(name) if isinstance(name, str) else None
    if form is None:
        raise InputError(f"{which}: found {shown(name)}", ", ".join(forms))
    return form


def _members(given: Mapping[str, object], which: str, form: Form) -> dict[str, object]:
    """Return the members of the message *given*, read and checked."""
    name = given[which]
    known = form.members
    members: dict[str, object] = {}
    for key, value in given.items():
        member = known.get(key)
        if member is not None:
            members[key] = read_at(key, member.read, value)
        elif form.greeting and key == "protocol":
            read_at(key, _read_version, value)
        elif key not in ("id", which):
            raise InputError(f"{name}: unknown member {shown(key)}", _accepted(which, form))
    if form.greeting and "protocol" not in given:
        raise InputError(f"{name}: missing protocol", _accepted(which, form))
    for key, member in known.items():
        if member.required and key not in members:
            raise InputError(f"{name}: missing {key}", _accepted(which, form))
    return members


def _accepted(which: str, form: Form) -> str:
    return ", ".join(["id", which, *(["protocol"] if form.greeting else []), *form.members])
