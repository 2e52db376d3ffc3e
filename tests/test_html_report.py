# SPDX-License-Identifier: GPL-2.0-only
"""The page says everything, needs nothing, and believes nobody."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reported import CPUID_EXIT, HOSTILE, failing, hostile, passing, run_of

from kvmref.harness.judging.deviations import Deviation
from kvmref.harness.judging.run import Run
from kvmref.harness.judging.verdict import Difference, Outcome, Verdict
from kvmref.harness.reports.html import page, write_html

VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """A page, taken apart; fails on elements that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def vectors(parsed: Page) -> list[dict[str, str | None]]:
    return [one for one in parsed.all("details") if one.get("class") == "vector"]


@pytest.fixture(scope="module")
def failed() -> str:
    """Return the page of a run with every outcome."""
    return page(failing())


def test_all_elements_are_closed(failed: str) -> None:
    assert [] == Page(failed).open


def test_every_vector_is_there_with_its_outcome_the_worst_first(failed: str) -> None:
    shown = [(one["data-outcome"], one["data-id"]) for one in vectors(Page(failed))]
    assert [
        ("errored", "exits/broken"),
        ("failed", "events/interrupt"),
        ("masked", "events/masked"),
        ("passed", "exits/cpuid"),
    ] == shown


def test_a_vector_says_what_it_is_about(failed: str) -> None:
    text = Page(failed).text
    for words in (
        "An interrupt is injected",
        "why it matters",
        "the reason",
        "vcpu_enter_guest, arch/x86/kvm/x86.c:5135-5298",
        "commit d6185f20a0ef",
        "kvmref explain events/interrupt",
    ):
        assert words in text


def test_a_failure_says_what_was_expected_and_what_was_observed(failed: str) -> None:
    text = Page(failed).text
    assert "After step 1" in text
    assert "stat.irq_injections 1 0" in text


def test_a_failure_has_both_timelines(failed: str) -> None:
    parsed = Page(failed)
    labels = [one["aria-label"] or "" for one in parsed.all("svg")]
    assert "Timeline: An interrupt is injected (implementation)" in labels
    assert "Timeline: An interrupt is injected (reference)" in labels
    assert "L1 receives external interrupt 81 (0x51)" in parsed.text


def test_logs_stand_side_by_side_and_differences_stand_out(failed: str) -> None:
    classes = [one.get("class") for one in Page(failed).all("tr")]
    assert "differs" in classes


def test_an_error_comes_with_its_transcript(failed: str) -> None:
    text = Page(failed).text
    assert "no answer to step within 5 s" in text
    assert "> step < ..." in text


def test_scores_are_strict_and_masked_by_folder_and_in_all(failed: str) -> None:
    text = Page(failed).text
    assert "events 0 % 0 % 2 0 1 1 0" in text
    assert "exits 50 % 50 % 2 1 0 0 1" in text
    assert "all 25 % 33 % 4 1 1 1 1" in text


def test_pictures_of_other_vectors_are_in_the_page_packed(failed: str) -> None:
    packed = re.search(r'id="pictures">([^<]*)</script>', failed)
    assert packed is not None
    pictures = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    assert {"events/masked", "exits/broken", "exits/cpuid"} == pictures.keys()
    assert all(picture.startswith("<svg ") for picture in pictures.values())


@pytest.mark.parametrize("run", [passing(), failing(), hostile()], ids=["pass", "fail", "hostile"])
def test_the_page_needs_nothing_from_the_network(run: Run) -> None:
    text = page(run)
    parsed = Page(text)
    assert re.search("https?:", text) is None
    assert "@import" not in text
    assert "url(" not in text
    for _, attributes in parsed.elements:
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    policy = next(one["content"] or "" for one in parsed.all("meta") if "http-equiv" in one)
    assert policy.startswith("default-src 'none'")


def test_hostile_words_are_only_words() -> None:
    text = page(hostile())
    parsed = Page(text)
    assert [] == parsed.open
    assert 2 == len(parsed.all("script"))
    assert [] == parsed.all("img")
    assert not any(
        name.startswith("on") for _, attributes in parsed.elements for name in attributes
    )
    assert HOSTILE.replace("\x00", "\ufffd").split("\x1b")[0] in parsed.text.replace(
        "\x00", "\ufffd"
    )


def test_a_page_of_passing_vectors_has_no_pictures_but_the_legend() -> None:
    assert ["Legend"] == [one["aria-label"] for one in Page(page(passing())).all("svg")]


def test_deviations_are_told_with_their_reason_and_their_link() -> None:
    verdict = Verdict(CPUID_EXIT, Outcome.FAILED, (Difference(1, "ret", "1", "0"),), (None, None))
    run = run_of([verdict], {"exits/cpuid": "not ported"})
    assert "known deviation" in page(run)
    assert "not ported" in page(run)
    assert "data-unexpected" not in page(run).split("<script>")[0]


@pytest.mark.parametrize(
    ("url", "linked"), [("https://example.org/1", True), ("javascript:alert(1)", False)]
)
def test_only_links_to_pages_are_links(url: str, linked: bool) -> None:
    verdict = Verdict(CPUID_EXIT, Outcome.FAILED, (Difference(1, "ret", "1", "0"),), (None, None))
    run = Run(
        "tested",
        "",
        "3.3",
        (verdict,),
        run_of([verdict]).judgement,
        {"exits/cpuid": Deviation("exits/cpuid", "known", url)},
        0.1,
        interrupted=True,
    )
    text = page(run)
    assert linked == (url in [one.get("href") for one in Page(text).all("a")])
    assert "The run was interrupted" in text


def test_an_implementation_without_logs_is_compared_with_the_reference_alone() -> None:
    verdict = Verdict(
        CPUID_EXIT, Outcome.FAILED, (Difference(1, "rip", "1", "2"),), (None, None), ((), ("x",))
    )
    text = page(run_of([verdict]))
    assert "of the reference only" in text
    assert "(implementation)" not in text
    assert "Timeline: A title (reference)" in text


def test_a_run_without_vectors_is_a_page() -> None:
    assert "0 vectors" in Page(page(run_of([]))).text


def test_everything_can_be_reached_from_the_keyboard(failed: str) -> None:
    parsed = Page(failed)
    assert len(parsed.all("summary")) == len(parsed.all("details"))
    assert "label" in [name for name, _ in parsed.elements]
    assert any(one.get("role") == "status" for one in parsed.all("p"))


def test_a_report_is_always_the_same(tmp_path: Path) -> None:
    run = failing()
    for name in ("one.html", "two.html"):
        write_html(run, tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_a_report_fits_into_a_mail(tmp_path: Path) -> None:
    write_html(passing(), tmp_path / "report.html")
    assert 40_000 > (tmp_path / "report.html").stat().st_size
