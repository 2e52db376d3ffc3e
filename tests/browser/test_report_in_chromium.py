# SPDX-License-Identifier: GPL-2.0-only
"""The page in a real browser: what a reader does with it works, without an error on its console.

The page keeps its filters, and the vector that is open, in the fragment of its address, so that a
reader can pass on what is seen. That is also how these tests tell the browser what to show; what it
shows is the document as the browser has it in the end.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from reported import failing, hostile, passing

from kvmref.harness.reports.html import write_html

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOUND: Final = next(filter(None, map(shutil.which, BROWSERS)), "")

if not FOUND:
    # For the whole module at once, so that it is said in one line.
    pytest.skip(
        "Chromium isn't installed (on Debian: apt-get install chromium)", allow_module_level=True
    )

FLAGS: Final = (
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--enable-logging=stderr",
    "--v=0",
    # Time passes as fast as the page lets it, and the document is dumped when nothing is pending.
    "--virtual-time-budget=5000",
    "--dump-dom",
)


class Seen:
    """A page as the browser has it, and what it said on its console."""

    def __init__(self, document: str, messages: str) -> None:
        self.document = document
        self.console = [line for line in messages.splitlines() if ":CONSOLE:" in line]

    @property
    def shown(self) -> list[str]:
        """The ids of the vectors that no filter hides."""
        return [
            match[1]
            for match in re.finditer(
                r'<details class="vector" data-id="([^"]*)"([^>]*)>', self.document
            )
            if "hidden" not in match[2]
        ]

    def vector(self, identifier: str) -> str:
        """Return the element of a vector, with everything up to the next one."""
        return self.document.split(f'data-id="{identifier}"')[1].split('<details class="vector"')[0]

    @property
    def status(self) -> str:
        """What the page says of its filters."""
        match = re.search(r'<p id="shown"[^>]*>([^<]*)<', self.document)
        assert match is not None
        return match[1]


def look(page: Path, state: str = "", folder: Path | None = None) -> Seen:
    """Open *page* with a fragment, and return what is there."""
    profile = (folder or page.parent) / "profile"
    # The sandbox of the browser doesn't work for the administrator, who runs tests in containers.
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    done = subprocess.run(
        [FOUND, *FLAGS, *sandbox, f"--user-data-dir={profile}", f"{page.as_uri()}{state}"],
        capture_output=True,
        check=True,
        encoding="utf-8",
        timeout=120,
    )
    return Seen(done.stdout, done.stderr)


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of a run with every outcome."""
    page = tmp_path_factory.mktemp("report") / "report.html"
    write_html(failing(), page)
    return page


def test_a_passing_report_loads_without_a_word_on_the_console(tmp_path: Path) -> None:
    write_html(passing(), tmp_path / "report.html")
    seen = look(tmp_path / "report.html")
    assert [] == seen.console
    assert "2 of 2 vectors" == seen.status


def test_a_failing_report_loads_without_a_word_on_the_console(failed: Path) -> None:
    seen = look(failed)
    assert [] == seen.console
    assert "4 of 4 vectors" == seen.status


def test_nothing_that_an_implementation_says_is_executed(tmp_path: Path) -> None:
    write_html(hostile(), tmp_path / "report.html")
    seen = look(tmp_path / "report.html", "#open=events/interrupt")
    assert [] == seen.console
    assert "<img" not in seen.document


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("#outcome=failed", ["events/interrupt"]),
        ("#folder=exits", ["exits/broken", "exits/cpuid"]),
        ("#folder=exits&outcome=passed", ["exits/cpuid"]),
        ("#q=INJECTED+mask", ["events/masked"]),
        ("#q=handle_cpuid", ["exits/broken", "events/interrupt", "events/masked", "exits/cpuid"]),
        ("#q=no-such-vector", []),
    ],
)
def test_filters_hide_what_is_not_asked_for(failed: Path, state: str, shown: list[str]) -> None:
    seen = look(failed, state)
    assert shown == seen.shown
    assert f"{len(shown)} of 4 vectors" == seen.status
    assert [] == seen.console


def test_a_failure_can_be_expanded_and_has_both_pictures(failed: Path) -> None:
    seen = look(failed, "#open=events/interrupt")
    vector = seen.vector("events/interrupt")
    assert ' open=""' in vector.split(">")[0]
    assert 2 == vector.count('<svg class="tl"')
    assert [] == seen.console


def test_an_open_vector_is_shown_even_if_the_filters_would_hide_it(failed: Path) -> None:
    seen = look(failed, "#outcome=passed&open=events/interrupt")
    assert ["events/interrupt", "exits/cpuid"] == seen.shown


def test_the_picture_of_a_vector_that_passes_is_drawn_when_it_is_opened(failed: Path) -> None:
    assert "<svg" not in look(failed).vector("exits/cpuid")
    seen = look(failed, "#open=exits/cpuid")
    assert "L1 exits: CPUID" in seen.vector("exits/cpuid")
    assert [] == seen.console


def test_a_word_on_the_console_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p id=shown></p><script>console.error('noticed')</script>")
    assert 1 == len(look(page).console)
