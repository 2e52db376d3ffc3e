# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref smoke`` tells whether an adapter speaks the protocol, and if not, what is wrong."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from kvmref.cli import smoke as command
from kvmref.cli.exit_status import BROKEN, FINDING, SUCCESS
from kvmref.errors import InputError

FAULTY = Path(__file__).parent / "adapters" / "faulty.py"
PROJECT = Path(__file__).parents[1]

SCRIPTED = """
import json, sys
replies = {replies!r}
for line in sys.stdin:
    try:
        request = json.loads(line)
    except ValueError:
        request = {{"id": None, "request": "error"}}
    kind = request["request"]
    members = dict(replies.get(kind, {{"problem": "unknown request"}}))
    if kind == "step":
        members = replies["steps"].get(request["step"]["op"], {{"unsupported": True}})
    if kind == "observe":
        shown = {{k: v for k, v in replies["shown"].items() if k in request["keys"]}}
        members = {{"values": shown, "unknown": [k for k in request["keys"] if k not in shown]}}
    if kind not in ("hello", "reset", "step", "observe", "bye"):
        kind = replies.get("other", "error")
    print(json.dumps({{"id": request["id"], "answer": kind, **members}}), flush=True)
    if kind == "bye":
        break
sys.exit(replies["status"])
"""

HELLO = {"protocol": 1, "name": "scripted", "version": "1", "kernels": ["3.3"]}


def smoke(capsys: pytest.CaptureFixture[str], *arguments: str, timeout: str = "30") -> str:
    """Run the command on an adapter in Python; return the exit status and what it prints."""
    line = shlex.join([sys.executable, *arguments])
    status = command.main(["--implementation", line, "--timeout", timeout])
    return f"{status}\n{capsys.readouterr().out}"


def scripted(capsys: pytest.CaptureFixture[str], **changes: object) -> str:
    """Run the command on an adapter that gives fixed answers, some of them changed."""
    replies: dict[str, object] = {
        "hello": greeting(),
        "reset": {},
        "bye": {},
        "steps": {"enter": {}},
        "shown": {"rip": "0x0"},
        "status": 0,
        **changes,
    }
    return smoke(capsys, "-c", SCRIPTED.format(replies=replies))


def greeting(**changes: object) -> dict[str, object]:
    """Return a hello with *changes*."""
    return {**HELLO, "steps": ["enter"], "keys": ["rip"], **changes}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))


def test_the_reference_speaks_the_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    output = smoke(capsys, "-m", "kvmref", "serve", "--validate")
    assert output.startswith(f"{SUCCESS}\n")
    assert output.endswith("It speaks the protocol.\n")


def test_an_adapter_that_can_do_little_speaks_the_protocol(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = scripted(capsys)
    assert output.startswith(f"{SUCCESS}\n")
    assert "scripted 1: 1 steps, 1 keys" in output


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"hello": greeting(kernels=[])}, "it implements no kernel"),
        ({"hello": greeting(steps=["enter", "irq"])}, "declared, but not done: irq"),
        ({"hello": greeting(steps=[])}, "not declared, but not answered as unsupported: enter"),
        ({"hello": greeting(ret=True)}, "ret is declared, but not given"),
        ({"steps": {"enter": {"log": []}}}, "log is given, but not declared"),
        ({"shown": {}}, "declared, but not shown: rip"),
        ({"status": 4}, "it ends with status 4"),
    ],
)
def test_a_wrong_answer_is_a_finding(
    capsys: pytest.CaptureFixture[str], changes: dict[str, object], problem: str
) -> None:
    output = scripted(capsys, **changes)
    assert output.startswith(f"{FINDING}\n")
    assert problem in output
    assert output.endswith("It does not speak the protocol yet.\n")


@pytest.mark.parametrize("fault", ["garbage", "ends", "out-of-order", "10-megabytes"])
def test_a_fault_is_shown_with_what_was_said(
    capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    output = smoke(capsys, str(FAULTY), fault)
    assert output.startswith(f"{BROKEN}\n")
    assert '| -> {"id":' in output
    assert output.endswith("It broke; what is left was not checked.\n")


def test_an_adapter_that_hangs_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    output = smoke(capsys, "-c", "import time; time.sleep(3600)", timeout="0.1")
    assert output.startswith(f"{BROKEN}\nBROKE")
    assert "no answer within 0.1 s" in output


def test_a_command_that_cannot_be_started_is_an_error_of_whoever_gave_it() -> None:
    with pytest.raises(InputError, match="can't be started"):
        command.main(["--implementation", "no-such-program-anywhere"])


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_timeout_is_a_number_of_seconds(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit):
        command.main(["--implementation", "true", f"--timeout={seconds}"])
    assert "accepted: seconds, more than 0" in capsys.readouterr().err
