# SPDX-License-Identifier: GPL-2.0-only
"""The README keeps its word: its Python prints what it says that it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def block(language: str) -> str:
    """Return the only fenced block of the README in *language*."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.M | re.S)
    assert isinstance(found, str)
    return found


def test_the_example_prints_what_the_readme_says(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block("python"), str(README), "exec"), {})
    assert block("text").rstrip() == capsys.readouterr().out.rstrip()


@pytest.mark.parametrize("command", [r"^python3 -m venv .*$", r"^\.venv/bin/python -m pytest.*$"])
def test_each_command_is_a_single_line(command: str) -> None:
    assert 1 == len(re.findall(command, README.read_text(), re.M))


def test_every_file_that_the_readme_names_exists() -> None:
    named = re.findall(r"\]\(([^)#:]+)\)|^\| `([\w/]+/)`", README.read_text(), re.M)
    assert [] == [
        path for pair in named for path in pair if path and not (README.parent / path).exists()
    ]
