# SPDX-License-Identifier: GPL-2.0-only
"""The picture of a timeline is XML, complete in itself, and shows every lane."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from recorded import FILES, IMMEDIATE_EXIT, stem
from reported import HOSTILE

from kvmref.harness.recordings.recording import load
from kvmref.harness.reports.svg import WIDTH, legend, svg
from kvmref.harness.reports.timeline import Record, Timeline, of_reference, timeline
from kvmref.harness.reports.watch import watch_steps
from kvmref.machine.steps import Enter, Irq

NAMESPACE = "{http://www.w3.org/2000/svg}"


def recorded(file: object) -> Timeline:
    recording = load(str(file))
    steps = [(one.step, "", False) for one in recording.operations]
    return of_reference("recorded", watch_steps(recording.setup, steps))


def texts(picture: str) -> list[str]:
    root = ElementTree.fromstring(picture)
    return ["".join(one.itertext()) for one in root.iter() if one.tag.endswith("text")]


@pytest.mark.parametrize("file", FILES[::16], ids=stem)
def test_pictures_are_well_formed(file: object) -> None:
    root = ElementTree.fromstring(svg(recorded(file)))
    assert f"{NAMESPACE}svg" == root.tag


def test_every_lane_and_every_step_is_there() -> None:
    shown = recorded(IMMEDIATE_EXIT)
    picture = svg(shown)
    for lane in ("L0", "L1", "L2"):
        assert any(text.endswith(lane) for text in texts(picture))
        assert f'class="r {lane}"' in picture
    for step in shown.steps:
        assert any(text.startswith(f"{step.number} · ") for text in texts(picture))


def test_a_picture_says_what_happened() -> None:
    picture = texts(svg(recorded(IMMEDIATE_EXIT)))
    assert "VM entry to L2" in picture
    assert "L2 receives external interrupt 48 (0x30)" in picture
    assert "L0 sends an IPI to CPU 0" in picture


def test_what_the_log_says_is_a_tooltip() -> None:
    root = ElementTree.fromstring(svg(recorded(IMMEDIATE_EXIT)))
    titles = [one.text or "" for one in root.iter(f"{NAMESPACE}title")]
    assert any(title.startswith("vmentry vmcs=02 launched=0") for title in titles)


def test_everything_is_inside_the_picture() -> None:
    picture = svg(recorded(IMMEDIATE_EXIT))
    root = ElementTree.fromstring(picture)
    _, _, width, height = map(int, root.attrib["viewBox"].split())
    assert WIDTH == width
    for element in root.iter():
        for name, limit in (("x", width), ("y", height), ("cx", width), ("cy", height)):
            assert 0 <= float(element.attrib.get(name, 0)) <= limit


def test_a_standalone_picture_has_a_style_and_a_legend_and_others_do_not() -> None:
    shown = recorded(IMMEDIATE_EXIT)
    alone, embedded = svg(shown), svg(shown, standalone=False)
    assert "<style>" in alone
    assert "prefers-color-scheme:dark" in alone
    assert "a request is taken" in alone
    assert "<style>" not in embedded
    assert "a request is taken" not in embedded
    assert "a request is taken" in legend()


def test_a_picture_needs_no_other_file() -> None:
    picture = svg(recorded(IMMEDIATE_EXIT))
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"https?://[^\"']*", picture)
    assert "url(" not in picture
    assert "href" not in picture


def test_a_step_that_failed_stands_out() -> None:
    records = [Record(Irq(81), log=()), Record(Enter(), log=())]
    picture = texts(svg(timeline("t", records), failed={1}))
    assert "0 · interrupt 81 (0x51) arrives for L1" in picture
    assert "✗ 1 · L0 calls vcpu_enter_guest" in picture


def test_hostile_words_are_only_words() -> None:
    log = (HOSTILE, ("vmentry", HOSTILE), ("vmexit", "02", 1))
    records = [Record(Enter(), HOSTILE, log=log)]
    picture = svg(timeline(HOSTILE, records))
    root = ElementTree.fromstring(picture)
    assert {"svg", "style", "text", "title", "path", "rect", "circle", "g"} >= {
        element.tag.removeprefix(NAMESPACE) for element in root.iter()
    }
    assert "<script" not in picture
    assert "<img" not in picture


def test_long_words_are_wrapped_and_cut() -> None:
    picture = texts(svg(timeline("t", [Record(Enter(), "word " * 200, log=())])))
    assert all(len(text) <= 70 for text in picture)
    assert any(text.endswith("…") for text in picture)


def test_an_empty_timeline_is_a_picture() -> None:
    ElementTree.fromstring(svg(timeline("nothing", [])))


def test_a_picture_is_always_the_same() -> None:
    assert svg(recorded(IMMEDIATE_EXIT)) == svg(recorded(IMMEDIATE_EXIT))
