# SPDX-License-Identifier: GPL-2.0-only
"""An implementation in a process of its own: what it may do wrong, and that none of it hurts."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvmref.errors import InputError
from kvmref.harness.implementations.child import LONGEST_COMPLAINT, Child, ChildError
from kvmref.harness.implementations.external import SubprocessImplementation
from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.implementations.interface import Implementation, ImplementationError
from kvmref.kernel.setup import Setup
from kvmref.machine.steps import Enter, Irq, Nmi

FAULTY = Path(__file__).parent / "adapters" / "faulty.py"
PROJECT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))


@contextmanager
def faulty(fault: str, *arguments: str, grace: float = 1.0) -> Iterator[SubprocessImplementation]:
    """Start the faulty adapter, and end it whatever happens."""
    command = [sys.executable, str(FAULTY), fault, *arguments]
    implementation = SubprocessImplementation(command, timeout=30, grace=grace)
    try:
        yield implementation
    finally:
        implementation.close()


def broken_by(fault: str, timeout: float = 30) -> ImplementationError:
    """Return the error that *fault* ends in; the fourth request is the faulty one."""
    with faulty(fault) as implementation:
        implementation.hello()
        implementation.reset(Setup())
        implementation.step(Irq(81))
        implementation.timeout = timeout
        try:
            for step in (Enter(), Nmi()):
                implementation.step(step)
        except ImplementationError as error:
            return error
    raise AssertionError(f"{fault} does no harm")


def alive(process: int) -> bool:
    """Tell whether there is such a process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("ends", "ended: exit status 3"),
        ("dies-in-the-middle", 'ended in the middle of an answer, after \'{"id":4'),
        ("crashes", "died: SIGKILL"),
        ("garbage", "not an answer of the protocol: invalid JSON"),
        ("not-utf-8", "not an answer of the protocol: invalid UTF-8"),
        ("no-object", "not an answer of the protocol: found [1, 2]"),
        ("out-of-order", "answers 5 when asked 4: answers out of order"),
        ("answers-twice", "answers 4 when asked 5: answers out of order"),
        ("wrong-kind", "answers bye when asked step"),
        ("wrong-type", 'not an answer of the protocol: ret: found "1"'),
        ("unknown-member", 'not an answer of the protocol: step: unknown member "result"'),
        ("unknown-event", "not an answer of the protocol: log[0]: found"),
        ("10-megabytes", "a line of more than 4 MiB"),
        ("closes-output", "closed its standard output"),
        ("error", "answers with an error: out of luck"),
    ],
)
def test_a_fault_is_named(fault: str, problem: str) -> None:
    error = broken_by(fault)
    assert error.problem.startswith(problem)
    assert error.transcript[-1] == error.problem


def test_an_implementation_that_hangs_has_as_long_as_it_is_given() -> None:
    assert "no answer within 0.2 s" == broken_by("hangs", timeout=0.2).problem


def test_complaints_without_end_are_bounded() -> None:
    error = broken_by("endless-stderr", timeout=0.2)
    assert "no answer within 0.2 s" == error.problem
    assert any(line.startswith("stderr: complaint ") for line in error.transcript)
    assert LONGEST_COMPLAINT > sum(map(len, error.transcript))


def test_many_complaints_do_not_keep_an_answer_from_arriving() -> None:
    with faulty("noisy") as implementation:
        implementation.reset(Setup())
        answer = implementation.step(Enter())
        assert answer is not None
        assert 1 == answer.ret


def test_the_transcript_has_what_was_said() -> None:
    transcript = broken_by("crashes").transcript
    assert '-> {"id":3,"request":"step","step":{"op":"irq","vector":81}}' in transcript
    assert '<- {"id":3,"answer":"step","log":[]}' in transcript
    assert ["stderr: about to crash", "died: SIGKILL"] == list(transcript[-2:])


def test_after_an_error_nothing_more_is_asked() -> None:
    with faulty("ends") as implementation:
        implementation.reset(Setup())
        with pytest.raises(ImplementationError):
            implementation.step(Enter())
        with pytest.raises(ImplementationError, match="exit status 3"):
            implementation.reset(Setup())


def test_goodbye_that_is_ignored_ends_the_process_all_the_same() -> None:
    with faulty("ignores-bye", grace=0.1) as implementation:
        implementation.hello()
        implementation.timeout = 0.1
        process = implementation.process
    assert not alive(process)


def test_a_fault_with_a_marker_shows_once(tmp_path: Path) -> None:
    marker = str(tmp_path / "marker")
    with faulty("ends", marker) as implementation:
        implementation.reset(Setup())
        with pytest.raises(ImplementationError):
            implementation.step(Enter())
    with faulty("ends", marker) as implementation:
        implementation.reset(Setup())
        assert implementation.step(Enter()) is not None


def test_a_process_is_gone_after_an_error() -> None:
    with faulty("hangs") as implementation:
        implementation.reset(Setup())
        implementation.timeout = 0.1
        with pytest.raises(ImplementationError):
            implementation.step(Enter())
        assert not alive(implementation.process)


def test_the_reference_behind_the_wire_answers_like_the_reference() -> None:
    keys = ["irr", "rip", "requests", "vmcs12.guest_rip", "nested.apic_access_page", "dr"]
    here: Implementation = MachineImplementation()
    there = SubprocessImplementation([sys.executable, "-m", "kvmref", "serve"], validate=True)
    try:
        assert here.hello() == there.hello()
        for implementation in (here, there):
            implementation.reset(Setup(virtual_nmis=False))
        for step in (Irq(81), Nmi(), Enter(), Enter()):
            assert here.step(step) == there.step(step)
            assert here.observe(keys) == there.observe([*keys, "no.such.key", "rip"])
    finally:
        there.close()


def test_a_command_is_split_as_in_a_shell_but_no_shell_is_used(tmp_path: Path) -> None:
    program = tmp_path / "a program.py"
    program.write_text("import sys; print(sys.argv[1:])")
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(program))} '$HOME' '; exit 5'"
    implementation = SubprocessImplementation(command)
    with pytest.raises(ImplementationError) as caught:
        implementation.hello()
    assert "<- ['$HOME', '; exit 5']" == caught.value.transcript[1]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("no-such-program-anywhere --flag", "no-such-program-anywhere can't be started"),
        ("", "the command is empty"),
        ("'", "No closing quotation"),
        ([], "the command is empty"),
        (["/"], "/ can't be started"),
    ],
)
def test_a_command_that_cannot_be_started(command: str | list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        SubprocessImplementation(command)


def test_a_question_longer_than_a_pipe_holds_is_answered() -> None:
    child = Child(["cat"], longest_line=1 << 20)
    try:
        assert b"x" * 300_000 == child.ask(b"x" * 300_000 + b"\n", 30)
        assert b"y" == child.ask(b"y\n", 30)
    finally:
        child.kill()


def test_a_child_that_does_not_read_is_not_waited_for() -> None:
    child = Child([sys.executable, "-c", "import time; time.sleep(3600)"], longest_line=1 << 20)
    try:
        with pytest.raises(ChildError, match=r"no answer within 0\.1 s"):
            child.ask(b"x" * 300_000 + b"\n", 0.1)
    finally:
        child.kill()


def test_an_observation_has_all_keys_asked_for_and_no_others() -> None:
    answers = (
        ('{"id":1,"answer":"observe","values":{}}', "observe says nothing of 'rip'"),
        (
            '{"id":1,"answer":"observe","values":{"rip":"0x0","rsp":"0x0"}}',
            "observe answers 'rsp', which was not asked for",
        ),
        (
            '{"id":1,"answer":"observe","values":{"rip":"0x0"},"unknown":["rip"]}',
            "observe answers a key twice",
        ),
    )
    for answer, problem in answers:
        script = f"input(); print({answer!r}, flush=True); input()"
        implementation = SubprocessImplementation([sys.executable, "-c", script])
        with pytest.raises(ImplementationError, match=problem):
            implementation.observe(["rip"])
