# SPDX-License-Identifier: GPL-2.0-only
"""What all sub-commands have in common: help, errors, colours, pipes, loudness."""

from __future__ import annotations

import argparse
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import DESTROYED, IMMEDIATE_EXIT

from kvmref.cli.completion import parsers, whole_parser
from kvmref.cli.main import COMMANDS, main

PROJECT = Path(__file__).parents[1]
VECTOR = "immediate-exit/pass-2-request-is-consumed"
FILE = str(PROJECT / "conformance" / "vectors" / f"{VECTOR}.toml")
HELPS = [
    *([command.name] for command in COMMANDS),
    *(["vectors", action] for action in ("list", "lint", "export")),
]
PRINTING = [
    ["check", "-v", "requests"],
    ["replay", "-v", str(IMMEDIATE_EXIT)],
    ["trace", VECTOR],
    ["trace", "--json", VECTOR],
    ["trace", "--ftrace", VECTOR],
    ["explain", VECTOR],
    ["vectors", "list", "-v"],
    ["vectors", "lint"],
    ["vectors", "export"],
    ["completion", "bash"],
    ["smoke", "-i", f"{sys.executable} -m kvmref serve"],
    ["--help"],
]
"""Command lines that print much, or go on for long."""
DECISIVE = {"NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED"}
"""The variables of whoever runs the tests that could change what is tested."""

COLOUR = re.compile(r"\x1b\[[0-9;]*[1-9][0-9;]*m")


def started(
    arguments: list[str], stdout: int, stderr: int, **environment: str
) -> subprocess.Popen[bytes]:
    """Start the command in a process of its own."""
    surroundings = {name: value for name, value in os.environ.items() if name not in DECISIVE}
    return subprocess.Popen(
        [sys.executable, "-m", "kvmref", *arguments],
        cwd=PROJECT,
        env={**surroundings, "TERM": "xterm", "COLUMNS": "100", **environment},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )


def shown_on_a_terminal(arguments: list[str], **environment: str) -> str:
    """Return what the command shows on a terminal, standard error included."""
    ours, theirs = pty.openpty()
    process = started(arguments, theirs, theirs, **environment)
    os.close(theirs)
    shown = b""
    # Linux reports the end of a terminal as an error.
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:
        pass
    os.close(ours)
    assert 0 == process.wait()
    return shown.decode()


def ends_with(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Return the exit status, and what was printed on both streams."""
    try:
        status = main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


# Help and errors.


@pytest.mark.parametrize("arguments", [[], *HELPS], ids=" ".join)
def test_help_documents_exit_statuses_and_gives_examples(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = ends_with([*arguments, "--help"], capsys)
    assert (0, "") == (status, err)
    statuses, _, examples = out.partition("exit status:\n")[2].partition("\n\nexamples:\n")
    assert {"0", "2"} <= set(re.findall(r"^  (\d+) +\S", statuses, re.MULTILINE))
    assert f"  kvmref {' '.join(arguments)}".rstrip() in examples.replace("| ", "  ")
    assert max(map(len, out.splitlines())) <= 100


def test_every_argument_is_explained() -> None:
    actions = [
        action
        for parser in parsers(whole_parser())
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction)
    ]
    assert len(actions) > 30
    assert [] == [action.dest for action in actions if not action.help]


def test_without_a_command_the_help_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = ends_with([], capsys)
    assert (2, "") == (status, out)
    assert all(f"  {command.name} " in err for command in COMMANDS)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("chek", ', did you mean "check"?'), ("nonsense", ""), ("traces", ', did you mean "trace"?')],
)
def test_an_unknown_command_gives_one_line(
    name: str, nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted = ", ".join(command.name for command in COMMANDS)
    line = f"kvmref: unknown command '{name}'{nearest} (accepted: {accepted})\n"
    assert (2, "", line) == ends_with([name, "--anything"], capsys)


@pytest.mark.parametrize("arguments", [["trace", "no/such"], ["explain", "no/such"]], ids=" ".join)
def test_an_unknown_vector_gives_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = ends_with(arguments, capsys)
    assert (2, "", 1) == (status, out, err.count("\n"))


# Colours and progress.


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_there_are_no_escape_codes_in_a_pipe(arguments: list[str]) -> None:
    process = started(arguments, subprocess.PIPE, subprocess.PIPE, FORCE_COLOR="1")
    out, err = process.communicate()
    assert (0, b"") == (process.returncode, err)
    assert b"\x1b" not in out
    assert out


@pytest.mark.parametrize(
    "arguments", [["check", "nmi"], ["replay", str(IMMEDIATE_EXIT)], ["trace", VECTOR]]
)
def test_a_terminal_gets_colours_or_progress_unless_it_refuses(arguments: list[str]) -> None:
    assert COLOUR.search(shown_on_a_terminal(arguments))
    assert not COLOUR.search(shown_on_a_terminal(arguments, NO_COLOR="1"))
    assert "\x1b" not in shown_on_a_terminal(arguments, TERM="dumb")


def test_a_trace_reads_the_same_with_and_without_colours() -> None:
    plain = shown_on_a_terminal(["trace", VECTOR], NO_COLOR="1")
    assert plain == COLOUR.sub("", shown_on_a_terminal(["trace", VECTOR])).replace("\x1b[0m", "")


@pytest.mark.parametrize(
    "arguments", [["trace", "--help"], ["trace", VECTOR], ["explain", VECTOR]], ids=" ".join
)
def test_what_is_not_ascii_is_no_error_where_only_ascii_can_be_shown(arguments: list[str]) -> None:
    process = started(arguments, subprocess.PIPE, subprocess.PIPE, PYTHONIOENCODING="ascii")
    out, err = process.communicate()
    assert (0, b"") == (process.returncode, err)
    assert out.isascii()


# Pipes.


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_reader_that_goes_away_is_no_error(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = started(arguments, writing, subprocess.PIPE)
    os.close(writing)
    err = process.communicate()[1]
    assert (141, b"") == (process.returncode, err)


# Loudness.


@pytest.mark.parametrize(
    "arguments", [["check", FILE], ["replay", str(IMMEDIATE_EXIT), str(DESTROYED)]]
)
def test_quiet_is_one_line_and_verbose_is_the_longest(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        ends_with([*arguments, *option], capsys)[1].count("\n") for option in (["-q"], [], ["-v"])
    ]
    assert 1 == lines[0]
    assert sorted(lines) == lines
    assert lines[1] < lines[2]


@pytest.mark.parametrize("arguments", [["check"], ["replay", "file"]])
def test_nothing_is_quiet_and_verbose(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = ends_with([*arguments, "-q", "-v"], capsys)
    assert 2 == status
    assert "not allowed with" in err
