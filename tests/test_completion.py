# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref completion`` prints scripts that shells accept and that know every option."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kvmref.cli.completion import SHELLS, parsers, whole_parser
from kvmref.cli.main import COMMANDS, main

PROJECT = Path(__file__).parents[1]

ASK_BASH = """\
kvmref() { "$PYTHON" -m kvmref "$@"; }
source "$0"
COMP_WORDS=(kvmref "$@")
COMP_CWORD=$#
_shtab_kvmref 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""Asks bash how it would complete the last of its arguments."""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Return the name of each shell in turn."""
    return str(request.param)


def script_for(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert 0 == main(["completion", shell])
    return capsys.readouterr().out


def installed(shell: str) -> str:
    """Return the path of *shell*; skips the test if it is not installed."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


def in_fish(option: str) -> str:
    return f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"


def test_every_command_is_in_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = script_for(shell, capsys)
    names = {command.name for command in COMMANDS} | {"list", "lint", "export"}
    assert set() == {name for name in names if name not in script}


def test_every_option_is_in_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = script_for(shell, capsys)
    options = {
        in_fish(option) if shell == "fish" else option
        for parser in parsers(whole_parser())
        for action in parser._actions
        for option in action.option_strings
    }
    assert len(options) > 20
    assert set() == {option for option in options if option not in script}


def test_the_ids_of_vectors_are_asked_for_when_they_are_needed(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = script_for(shell, capsys)
    assert "kvmref vectors list" in script
    assert "requests/event" not in script


def test_the_shell_can_read_the_script(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "script"
    file.write_text(script_for(shell, capsys), encoding="utf-8")
    read = subprocess.run([installed(shell), "-n", str(file)], capture_output=True, check=False)
    assert (0, b"", b"") == (read.returncode, read.stdout, read.stderr)


def test_bash_knows_how_to_complete_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "script"
    file.write_text(script_for("bash", capsys), encoding="utf-8")
    command = [installed("bash"), "-c", 'source "$0"; complete -p kvmref', str(file)]
    known = subprocess.run(command, capture_output=True, text=True, check=True)
    assert known.stdout.startswith("complete ")
    assert known.stdout.endswith(" kvmref\n")


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        (["ch"], ["check"]),
        (["vectors", ""], ["list", "lint", "export"]),
        (["completion", ""], sorted(SHELLS)),
        (["check", "--kernel", ""], ["3.3"]),
        (["check", "--rep"], ["--report"]),
        (["check", "--report", ""], ["a.html", "b.json", "c.xml"]),
        (["replay", "-v", "d"], ["d.txt"]),
        (
            ["trace", "requests/immediate"],
            [
                "requests/immediate-exit",
                "requests/immediate-exit-requested-after-its-test",
            ],
        ),
        (["check", "-q", "requests/event", "requests/kic"], ["requests/kick"]),
        (["explain", "d"], ["d.txt"]),
    ],
    ids=" ".join,
)
def test_bash_completes(
    words: list[str], completions: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "script"
    file.write_text(script_for("bash", capsys), encoding="utf-8")
    here = tmp_path / "here"
    here.mkdir()
    for name in "a.html", "b.json", "c.xml", "d.txt":
        (here / name).touch()
    asked = subprocess.run(
        [installed("bash"), "-c", ASK_BASH, str(file), *words],
        cwd=here,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(completions) == set(asked.stdout.split())


def test_without_shtab_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert 2 == main(["completion", "bash"])
    assert (
        "kvmref: completion: shtab isn't installed (try: pip install 'kvmref[completion]')\n"
        == capsys.readouterr().err
    )
