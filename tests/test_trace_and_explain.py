# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref trace`` and ``kvmref explain`` show one vector to whoever asks for it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from recorded import FILES, stem

from kvmref.cli.main import main
from kvmref.harness.recordings.recording import load
from kvmref.harness.reports.ftrace import trace
from kvmref.harness.reports.text import lines
from kvmref.harness.reports.timeline import of_reference
from kvmref.harness.reports.watch import watch_steps
from kvmref.harness.vectors.directories import suite_directory

VECTOR = "immediate-exit/pass-2-request-is-consumed"

EVENT = re.compile(
    r" {8}qemu-kvm-1     \[00[01]\] (\.\.\.\.|d\.\.1) +\d+\.\d{6}: "
    r"(kvm_entry: vcpu 0"
    r"|kvm_exit: reason [A-Zx0-9a-f_]+ rip 0x[0-9a-f]+ info [0-9a-f]+ [0-9a-f]+"
    r"|kvm_inj_virq: irq \d+"
    r"|kvm_inj_exception: (#[A-Z]{2}|0x[0-9a-f]+) \(0x[0-9a-f]+\))"
)


def traced(name: str) -> list[str]:
    recording = load(str(next(file for file in FILES if stem(file) == name)))
    steps = [(one.step, "", False) for one in recording.operations]
    return list(trace(watch_steps(recording.setup, steps)))


def events(name: str) -> list[str]:
    return [line.split(": ", 1)[1] for line in traced(name)[2:]]


def test_a_trace_shows_the_lanes(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["trace", VECTOR])
    shown = capsys.readouterr().out
    assert shown.startswith(f"{VECTOR}\nPass 2: ")
    assert "░ ┣━━━━━━━▶  VM entry to L2\n" in shown
    assert "  ○          L0 takes the IPI\n" in shown
    assert "\x1b" not in shown


def test_a_trace_can_show_the_starting_point(capsys: pytest.CaptureFixture[str]) -> None:
    main(["trace", VECTOR])
    short = capsys.readouterr().out
    main(["trace", "--all", VECTOR])
    assert short.count("\n") < capsys.readouterr().out.count("\n")


def test_a_trace_has_ascii_lanes_too() -> None:
    recording = load(str(FILES[0]))
    steps = [(one.step, "", False) for one in recording.operations]
    shown = of_reference("t", watch_steps(recording.setup, steps))
    for line in lines(shown, unicode=False):
        assert (line.gutter + line.text).isascii()
        assert len(line.gutter) in (0, 13)


def test_a_trace_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["trace", "--json", VECTOR])
    assert VECTOR == json.loads(capsys.readouterr().out)["vector"]


def test_a_trace_as_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["trace", VECTOR, "--svg", str(tmp_path / "picture.svg")])
    ElementTree.parse(tmp_path / "picture.svg")
    assert "" == capsys.readouterr().out


def test_a_picture_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(["trace", VECTOR, "--svg", str(tmp_path / "no" / "picture.svg")])
    assert "picture.svg: can't be written: No such file or directory" in capsys.readouterr().err


def test_a_trace_in_the_form_of_linux(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["trace", "--ftrace", VECTOR])
    assert [
        "# tracer: nop",
        "#",
        "        qemu-kvm-1     [000] d..1     0.000001: kvm_entry: vcpu 0",
        "        qemu-kvm-1     [000] d..1     0.000002: kvm_exit:"
        " reason EXTERNAL_INTERRUPT rip 0x400000 info 0 0",
    ] == capsys.readouterr().out.splitlines()


def test_every_trace_event_has_the_form_of_linux() -> None:
    for file in FILES[::16]:
        for line in traced(stem(file))[2:]:
            assert EVENT.fullmatch(line), line


def test_interrupts_that_l0_injects_are_traced_and_those_of_l1_are_not() -> None:
    assert ["kvm_inj_virq: irq 81", "kvm_entry: vcpu 0"] == events("hand-01-immediate-exit")[-3:-1]
    assert 1 == sum("inj" in event for event in events("hand-01-immediate-exit"))


def test_an_exception_that_l0_injects_is_traced_each_time_until_it_is_delivered() -> None:
    assert any(
        event.startswith("kvm_inj_exception: #") for event in events("hand-12-l2-exception-sticky")
    )


def test_reasons_that_linux_has_no_name_for_are_numbers() -> None:
    assert any("reason 0x80000021 " in event for event in events("hand-09-hw-entry-failure"))


def test_an_explanation_says_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["explain", VECTOR])
    shown = capsys.readouterr().out
    for words in (
        "Why it matters",
        "Why these values",
        "start: launched",
        "0 interrupt 81 (0x51) arrives for L1",
        "requests is 0x800 (EVENT)",
        "vcpu_enter_guest: arch/x86/kvm/x86.c:5135-5298",
        "d6185f20a0ef",
    ):
        assert words in shown
    assert all(len(line) <= 100 for line in shown.splitlines())


@pytest.mark.parametrize("command", ["trace", "explain"])
def test_a_vector_can_be_named_by_its_file(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main([command, str(suite_directory() / f"{VECTOR}.toml")])
    assert capsys.readouterr().out.startswith(f"{VECTOR}\n")


@pytest.mark.parametrize("command", ["trace", "explain"])
def test_an_unknown_vector_is_one_line_with_the_nearest_one(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main([command, VECTOR.replace("consumed", "consumd")])
    [line] = capsys.readouterr().err.splitlines()
    assert f'did you mean "{VECTOR}"?' in line


@pytest.mark.parametrize("command", ["trace", "explain"])
def test_a_folder_is_not_one_vector(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main([command, "immediate-exit"])
    assert "(accepted: the id or the file of one)" in capsys.readouterr().err
