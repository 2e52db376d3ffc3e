# SPDX-License-Identifier: GPL-2.0-only
"""The port reproduces every recording, and a replay notices the slightest difference."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded import DESTROYED, FILES, IMMEDIATE_EXIT, INDEX, lines_of, stem, write

import kvmref.cli.replay
import kvmref.harness.recordings.replay
from kvmref import __version__
from kvmref.cli.main import main
from kvmref.errors import InputError, KvmrefError
from kvmref.harness.recordings.divergence import Divergence
from kvmref.harness.recordings.recording import Recording, load
from kvmref.harness.recordings.replay import ReplayResult, replay
from kvmref.machine.machine import Machine
from kvmref.machine.steps import Irq, Step, StepResult

ENTER_LINE = 15
"""The line of `IMMEDIATE_EXIT` where L0 defers the exit to L1 and requests IMMEDIATE_EXIT."""

Tamper = Callable[[list[dict[str, Any]]], None]


@pytest.mark.parametrize("file", FILES, ids=stem)
def test_the_port_reproduces(file: Path) -> None:
    result = replay(load(file))
    assert "" == (result.divergence.report(file.name) if result.divergence else "")
    entry = INDEX[file.stem]
    assert (entry["ops"], entry["enters"]) == (result.operations, result.enters)


def divergence_of(folder: Path, file: Path, tamper: Tamper) -> Divergence:
    """Return where the port diverges from a recording that was tampered with."""
    lines = lines_of(file)
    tamper(lines)
    found = replay(load(write(folder / "tampered.jsonl", lines))).divergence
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("path", "value", "key", "expected", "observed"),
    [
        (("changed", "requests"), "0x8800", "requests", '"0x8800"', '"0x8000"'),
        (("changed", "arch.root_valid"), 0, "arch.root_valid", "0", "1"),
        (("changed", "irr"), [80], "irr", "[80]", "[81]"),
        (
            ("changed", "vmcs02.GUEST_CR3"),
            "0x20001",
            "vmcs02.GUEST_CR3",
            '"0x20001"',
            '"0x20000"',
        ),
        (("changed", "cr2"), "0x1", "cr2", '"0x1"', '"0x0"'),
        (("changed", "vmcs12.guest_cr3"), None, "vmcs12.guest_cr3", "absent", '"0x20000"'),
        (("changed", "vmcs12.tsc_offset"), "0x7", "vmcs12.tsc_offset", '"0x7"', "absent"),
        (("ret",), 0, "ret", "0", "1"),
        (("ret",), -12, "ret", "-12", "1"),
        (("n",), 5, "n", "5", "4"),
        (("log", 0), ["invvpid", 1, 2], "log[0]", '["invvpid",1,2]', '["invvpid",1,1]'),
        (("log", 1), "mmu_unload", "log[1]", '"mmu_unload"', '"mmu_load"'),
        (("log", 7), "put_cpu", "log[7]", '"put_cpu"', '"preempt_enable"'),
    ],
)
def test_one_other_value_is_found(
    tmp_path: Path,
    path: tuple[str | int, ...],
    value: object,
    key: str,
    expected: str,
    observed: str,
) -> None:
    def tamper(lines: list[dict[str, Any]]) -> None:
        *way, last = path
        inner: Any = lines[ENTER_LINE - 1]
        for step in way:
            inner = inner[step]
        inner[last] = value

    found = divergence_of(tmp_path, IMMEDIATE_EXIT, tamper)
    assert (ENTER_LINE, key, expected, observed) == (
        found.line,
        found.first.key,
        found.first.expected,
        found.first.observed,
    )


def test_a_key_that_is_missing_from_a_delta_is_found(tmp_path: Path) -> None:
    def tamper(lines: list[dict[str, Any]]) -> None:
        del lines[ENTER_LINE - 1]["changed"]["requests"]

    found = divergence_of(tmp_path, IMMEDIATE_EXIT, tamper)
    assert (ENTER_LINE, "requests") == (found.line, found.first.key)


def test_an_item_that_is_missing_at_the_end_of_the_log_is_found(tmp_path: Path) -> None:
    def tamper(lines: list[dict[str, Any]]) -> None:
        lines[ENTER_LINE - 1]["log"].pop()

    found = divergence_of(tmp_path, IMMEDIATE_EXIT, tamper)
    assert ("log[7]", "absent", '"preempt_enable"') == (
        found.first.key,
        found.first.expected,
        found.first.observed,
    )


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("state", "vmx", "vpid"), 2, "vmx.vpid"),
        (("state", "vmcs01", "TSC_OFFSET"), "0x0", "vmcs01.TSC_OFFSET"),
        (("effective", "ple_gap"), 127, "effective.ple_gap"),
        (("vmcs_config", "cpu"), "0x0", "vmcs_config.cpu"),
        (("ctls", "VMCS12_REVISION"), "0x1", "ctls.VMCS12_REVISION"),
    ],
)
def test_another_initial_value_is_found(
    tmp_path: Path, path: tuple[str, ...], value: object, key: str
) -> None:
    def tamper(lines: list[dict[str, Any]]) -> None:
        *way, last = path
        inner = lines[0]
        for step in way:
            inner = inner[step]
        inner[last] = value

    found = divergence_of(tmp_path, IMMEDIATE_EXIT, tamper)
    assert (1, key) == (found.line, found.first.key)


def test_a_page_that_stays_pinned_is_found(tmp_path: Path) -> None:
    def tamper(lines: list[dict[str, Any]]) -> None:
        lines[-1]["pinned"] = [["0x30000", 1]]

    found = divergence_of(tmp_path, DESTROYED, tamper)
    assert ("pinned", '[["0x30000",1]]', "[]") == (
        found.first.key,
        found.first.expected,
        found.first.observed,
    )


def test_a_dump_is_compared(tmp_path: Path) -> None:
    def tamper(lines: list[dict[str, Any]]) -> None:
        lines[ENTER_LINE:] = [
            {"op": "dump", "changed": {}},
            {"op": "dump", "changed": {"mode": 1}},
        ]

    found = divergence_of(tmp_path, IMMEDIATE_EXIT, tamper)
    assert (ENTER_LINE + 2, "mode") == (found.line, found.first.key)


def test_what_is_equal_is_counted() -> None:
    recording = load(IMMEDIATE_EXIT)
    result = replay(recording)
    assert (len(recording.operations), 9) == (result.operations, result.enters)
    assert result.keys > 9 * len(recording.initial.state)


def test_a_report_shows_both_logs_side_by_side(tmp_path: Path) -> None:
    def tamper(lines: list[dict[str, Any]]) -> None:
        lines[ENTER_LINE - 1]["log"][5] = ["smp_send_reschedule", 0]
        lines[ENTER_LINE - 1]["changed"]["requests"] = "0x0"

    found = divergence_of(tmp_path, IMMEDIATE_EXIT, tamper)
    expected = """\
FILE:15: diverges at log[5]
  op        {"n":4,"op":"enter"}
  key       log[5]
  expected  ["smp_send_reschedule",0]
  observed  "local_irq_disable"
  further   1 more:
    requests: expected "0x0", observed "0x8000"
  log       expected                   observed
        1   "mmu_load"                 "mmu_load"
        2   ["invvpid",1,1]            ["invvpid",1,1]
        3   ["invept",1,"0x700001e"]   ["invept",1,"0x700001e"]
        4   "preempt_disable"          "preempt_disable"
  >     5   ["smp_send_reschedule",0]  "local_irq_disable"
        6   "local_irq_enable"         "local_irq_enable"
        7   "preempt_enable"           "preempt_enable\""""
    assert expected == found.report("FILE")


class Failing(Machine):
    """A machine with a mistake in it."""

    def step(self, step: Step) -> StepResult:
        if isinstance(step, Irq):
            raise ZeroDivisionError("a mistake\nin the port")
        return super().step(step)


def test_a_port_that_raises_has_diverged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvmref.harness.recordings.replay, "Machine", Failing)
    found = replay(load(IMMEDIATE_EXIT)).divergence
    assert found is not None
    assert (ENTER_LINE - 1, '{"op":"irq","vector":81}') == (found.line, found.operation)
    assert ("exception", "absent") == (found.first.key, found.first.expected)
    assert found.first.observed.startswith(
        "ZeroDivisionError: a mistake in the port (in step, line"
    )


@pytest.fixture
def tampered(tmp_path: Path) -> Path:
    """Return a recording that the port doesn't reproduce."""
    lines = lines_of(IMMEDIATE_EXIT)
    lines[ENTER_LINE - 1]["ret"] = 0
    return write(tmp_path / "tampered.jsonl", lines)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Return a file that is no recording."""
    file = tmp_path / "broken.jsonl"
    file.write_text("{")
    return file


def test_equal_recordings_give_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["replay", str(IMMEDIATE_EXIT), str(DESTROYED)])
    output = capsys.readouterr()
    assert re.fullmatch(
        r"2 recordings: 2 equal; [\d,]+ ops, [\d,]+ enters, [\d,]+ keys compared"
        r" in [\d.]+ s \([\d,]+ enters a second\)\n",
        output.out,
    )
    assert "" == output.err


def test_a_divergence_gives_status_1(tampered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == main(["replay", str(tampered), str(IMMEDIATE_EXIT)])
    output = capsys.readouterr().out
    assert output.startswith(f"{tampered}:{ENTER_LINE}: diverges at ret\n")
    assert "2 recordings: 1 equal, 1 diverged;" in output


def test_a_malformed_file_gives_status_2_whatever_else_there_is(
    tampered: Path, broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(["replay", str(tampered), str(broken), str(IMMEDIATE_EXIT)])
    output = capsys.readouterr()
    assert output.err.startswith(f"{broken}:1: invalid JSON")
    assert "3 recordings: 1 equal, 1 diverged, 1 unreadable;" in output.out


def test_several_processes_print_what_one_prints(
    tampered: Path, broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(file) for file in (*FILES[:6], tampered, broken, IMMEDIATE_EXIT)]
    outputs = []
    for jobs in "1", "2":
        assert 2 == main(["replay", "-v", "--jobs", jobs, *files])
        output = capsys.readouterr()
        outputs.append((re.sub(r" in [\d.]+ s \(.*", "", output.out), output.err))
    assert outputs[0] == outputs[1]


def test_verbose_shows_each_recording_in_the_order_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [str(DESTROYED), str(IMMEDIATE_EXIT)]
    assert 0 == main(["replay", "--verbose", *files])
    lines = capsys.readouterr().out.splitlines()
    assert [f"{file}: equal" for file in files] == [
        ": ".join(line.split(": ")[:2]) for line in lines[:-1]
    ]


def test_an_interrupt_keeps_what_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(recording: Recording) -> ReplayResult:
        if recording.file == str(DESTROYED):
            raise KeyboardInterrupt
        return replay(recording)

    monkeypatch.setattr(kvmref.cli.replay, "replay", interrupted)
    assert 130 == main(["replay", str(IMMEDIATE_EXIT), str(DESTROYED)])
    output = capsys.readouterr()
    assert "1 recording: 1 equal;" in output.out
    assert "interrupted after 1 of 2 files\n" == output.err


def run(*arguments: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "kvmref", *arguments]
    return subprocess.run(command, check=False, text=True, env=environment, **streams)


def test_it_is_quiet_in_a_pipe() -> None:
    done = run("replay", str(IMMEDIATE_EXIT), capture_output=True)
    assert (0, "", 1) == (done.returncode, done.stderr, len(done.stdout.splitlines()))


def test_a_terminal_shows_progress() -> None:
    ours, theirs = pty.openpty()
    try:
        done = run("replay", str(IMMEDIATE_EXIT), stdout=subprocess.PIPE, stderr=theirs)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert (0, 1) == (done.returncode, len(done.stdout.splitlines()))
    assert "replaying" in shown


def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run("replay", str(IMMEDIATE_EXIT), stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert (141, "") == (done.returncode, done.stderr)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert (0, f"kvmref {__version__}\n") == (end.value.code, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--help"], "replay recordings of Linux and compare every detail"),
        (["replay", "--help"], "exit status:"),
        (["replay", "--help"], "kvmref replay --jobs 4"),
    ],
)
def test_help_shows_what_there_is(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert 0 == end.value.code
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["replay"], "the following arguments are required: FILE"),
        (["replay", "--jobs", "0", "x"], "found '0' (accepted: an integer from 1 to 1024)"),
        (["replay", "--jobs", "two", "x"], "found 'two' (accepted: an integer from 1 to 1024)"),
    ],
)
def test_a_wrong_command_line_gives_status_2(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert 2 == end.value.code
    assert text in capsys.readouterr().err


def test_an_error_of_the_command_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(recording: Recording) -> ReplayResult:
        raise KvmrefError(f"no machine for {recording.file}")

    monkeypatch.setattr(kvmref.cli.replay, "replay", fail)
    assert 2 == main(["replay", str(IMMEDIATE_EXIT)])
    assert f"kvmref: no machine for {IMMEDIATE_EXIT}\n" == capsys.readouterr().err


def test_an_error_crosses_processes_unchanged() -> None:
    import pickle

    error = InputError("found 1", "2", "a.b", "file", 3)
    assert str(error) == str(pickle.loads(pickle.dumps(error)))
    assert "file:3: a.b: found 1 (accepted: 2)" == str(error)
