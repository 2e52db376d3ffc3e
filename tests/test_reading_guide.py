# SPDX-License-Identifier: GPL-2.0-only
"""The reading guide is right: its stops are where it says, and the recording shows what it says."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from recorded import IMMEDIATE_EXIT, lines_of

PROJECT = Path(__file__).parents[1]
GUIDE = PROJECT / "spec" / "reading-guide.md"
PASSES: list[dict[str, Any]] = [line for line in lines_of(IMMEDIATE_EXIT) if line["op"] == "enter"]


@dataclass
class Stop:
    """A stop of the walk."""

    name: str
    path: Path
    source: str | None = None
    logged: list[tuple[int, list[Any]]] = field(default_factory=list)
    """Numbers of passes, and what their logs have."""
    changed: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Numbers of passes, and what they changed."""


def stops() -> list[Stop]:
    found: list[Stop] = []
    for line in GUIDE.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"### (\d+)\. \[`(\w+)`\]\((.+)\)", line):
            found.append(Stop(heading[2], GUIDE.parent / heading[3]))
            assert len(found) == int(heading[1])
        elif source := re.fullmatch(r"- source: `(.+)`", line):
            found[-1].source = source[1]
        elif log := re.fullmatch(r"- log of pass (\d): (.+)", line):
            events = [json.loads(event) for event in re.findall(r"`(.+?)`", log[2])]
            found[-1].logged.append((int(log[1]), events))
        elif state := re.fullmatch(r"- state after pass (\d): (.+)", line):
            values = dict(re.findall(r"`(\S+)` = `(.+?)`", state[2]))
            found[-1].changed.append(
                (int(state[1]), {key: json.loads(value) for key, value in values.items()})
            )
        else:
            assert not re.match(r"- (source|log|state)|### \d", line), line
    return found


def docstring(stop: Stop) -> str:
    """Return the docstring of the function of *stop*, which has to be the only one of its name."""
    (function,) = (
        node
        for node in ast.walk(ast.parse(stop.path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == stop.name
    )
    return ast.get_docstring(function) or ""


def matches(shown: Any, event: Any) -> bool:
    """Tell whether *event* is the one that is *shown*, perhaps without some of its arguments."""
    if isinstance(shown, dict) and isinstance(event, dict):
        return shown.items() <= event.items()
    if isinstance(shown, list) and isinstance(event, list):
        return len(shown) == len(event) and all(map(matches, shown, event))
    return bool(shown == event)


@pytest.mark.parametrize("stop", stops(), ids=lambda stop: stop.name)
def test_a_stop_is_where_the_guide_says(stop: Stop) -> None:
    cited = re.search(r"^Source: (\S+)$", docstring(stop), re.MULTILINE)
    assert stop.source == (cited and cited[1])


@pytest.mark.parametrize("stop", stops(), ids=lambda stop: stop.name)
def test_the_recording_shows_what_the_guide_says(stop: Stop) -> None:
    for number, shown in stop.logged:
        log = iter(PASSES[number]["log"])
        missing = [event for event in shown if not any(matches(event, item) for item in log)]
        assert [] == missing, f"not in this order in pass {number}"
    for number, values in stop.changed:
        assert values == {key: PASSES[number]["changed"].get(key) for key in values}


def test_every_link_leads_somewhere() -> None:
    pages = [*(PROJECT / "spec").glob("*.md"), *PROJECT.glob("*.md")]
    assert [] == [
        f"{page.name}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)[)#]", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
