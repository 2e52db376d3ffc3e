# SPDX-License-Identifier: GPL-2.0-only
"""The vectors and starting points that come with kvmref are valid, portable, and what they say."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from json_schema import valid

import vector_schema
from kvmref.cli.main import main
from kvmref.harness.implementations.interface import level_of
from kvmref.harness.notation.operations import read_operation
from kvmref.harness.notation.setups import read_setup
from kvmref.harness.vectors import names
from kvmref.harness.vectors.directories import suite_directory
from kvmref.harness.vectors.export import export
from kvmref.harness.vectors.model import (
    EventPattern,
    Expectation,
    ExpectedValue,
    Vector,
    VectorStep,
)
from kvmref.harness.vectors.starting_points import load_starting_points, make_setup
from kvmref.harness.vectors.suite import Suite, load_suite, vector_files
from kvmref.harness.wording.citations import citations
from kvmref.kernel.setup import Setup
from kvmref.machine.keys import Value
from kvmref.machine.machine import Machine
from kvmref.machine.steps import Enter

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SUITE = suite_directory()
POINTS_FOLDER = SUITE.parent / "starting-points"
FILES = [*vector_files(SUITE), *sorted(POINTS_FOLDER.glob("*.toml"))]
SCHEMA: Any = json.loads(vector_schema.SCHEMA.read_text())


@pytest.fixture(scope="module")
def suite() -> Suite:
    """Return the whole suite."""
    return load_suite()


def test_every_vector_is_valid(suite: Suite) -> None:
    assert [] == [str(error) for error in suite.errors]
    assert suite.files == len(suite.vectors)


def test_there_are_at_least_60_vectors(suite: Suite) -> None:
    assert len(suite.vectors) >= 60


def test_vectors_are_in_the_order_of_their_ids_and_no_id_is_used_twice(suite: Suite) -> None:
    ids = [vector.id for vector in suite.vectors]
    assert sorted(set(ids)) == ids


def test_titles_are_all_different(suite: Suite) -> None:
    titles = Counter(vector.title for vector in suite.vectors)
    assert [] == [title for title, count in titles.items() if count > 1]


def test_every_vector_says_why_it_matters_and_why_its_values_are_right(suite: Suite) -> None:
    assert [] == [vector.id for vector in suite.vectors if not vector.why or not vector.reason]


def test_every_function_that_a_vector_is_about_has_a_port(suite: Suite) -> None:
    assert [] == [
        f"{vector.id}: {function}"
        for vector in suite.vectors
        for function in vector.functions
        if not all(citations(function, kernel) for kernel in vector.kernels)
    ]


def test_vectors_of_level_l1_expect_nothing_that_only_l0_sees(suite: Suite) -> None:
    for vector in suite.vectors:
        if vector.level == "l1":
            for step in vector.steps:
                assert Expectation(values=step.expect.values) == step.expect
                assert {"l1"} >= {level_of(key) for key in step.expect.values}


def integers(value: object) -> Iterator[int]:
    """Yield the integers in *value*, at any depth."""
    if isinstance(value, dict):
        for item in value.values():
            yield from integers(item)
    elif isinstance(value, list):
        for item in value:
            yield from integers(item)
    elif isinstance(value, int):
        yield value


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_toml_parser_reads_every_file(file: Path) -> None:
    given = tomllib.loads(file.read_text(encoding="utf-8"))
    assert [] == [number for number in integers(given) if not -(2**63) <= number < 2**63]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_file_satisfies_the_schema(file: Path) -> None:
    given = tomllib.loads(file.read_text(encoding="utf-8"))
    assert valid(given, SCHEMA, SCHEMA)


@pytest.mark.parametrize(
    "name",
    [
        "step-unknown",
        "key-misspelt",
        "value-request-unknown",
        "level-unknown",
        "event-type-unknown",
    ],
)
def test_the_schema_finds_what_the_loader_finds(name: str) -> None:
    file = Path(__file__).parent / "data" / "vectors" / "invalid" / f"{name}.toml"
    given = tomllib.loads(file.read_text())
    assert not valid(given, SCHEMA, SCHEMA)


def test_the_schema_is_up_to_date() -> None:
    assert vector_schema.rendered() == vector_schema.SCHEMA.read_text(), (
        "run python tools/vector_schema.py"
    )


def test_the_page_about_the_format_lists_every_name() -> None:
    page = vector_schema.PAGE.read_text()
    assert vector_schema.with_names(page) == page, "run python tools/vector_schema.py"
    for name in ("IMMEDIATE_EXIT", "IF", "FAILED_VMENTRY", "GP", "external interrupt"):
        assert f"`{name}`" in page


STATES: dict[str, dict[str, Value]] = {
    "l1": {
        "nested.vmxon": 0,
        "nested.guest_mode": 0,
        "nested.current_vmptr": 2**64 - 1,
        "requests": 1 << names.REQUESTS["TLB_FLUSH"] | 1 << names.REQUESTS["EVENT"],
        "rip": 0x10000,
        "rflags": 0x202,
    },
    "vmxon": {
        "nested.vmxon": 1,
        "nested.guest_mode": 0,
        "nested.current_vmptr": 2**64 - 1,
        "requests": 0,
        "rip": 0x10003,
        "rflags": 0x202,
    },
    "loaded": {
        "nested.vmxon": 1,
        "nested.guest_mode": 0,
        "nested.current_vmptr": 0x30000,
        "vmcs12.launch_state": 0,
        "vmcs12.pin_based_vm_exec_control": 0x1F,
        "vmcs12.vm_entry_intr_info_field": 0,
        "vmcs02.GUEST_RIP": None,
        "requests": 0,
        "rip": 0x10006,
        "rflags": 0x202,
    },
    "launched": {
        "nested.guest_mode": 1,
        "nested.nested_run_pending": 1,
        "loaded": "02",
        "vmcs12.launch_state": 1,
        "vmcs12.vm_exit_reason": 0,
        "vmcs02.VM_ENTRY_INTR_INFO_FIELD": 0,
        "requests": 1 << names.REQUESTS["TLB_FLUSH"],
        "rip": 0x400000,
    },
    "l2": {
        "nested.guest_mode": 1,
        "nested.nested_run_pending": 0,
        "loaded": "02",
        "vmx.exit_reason": names.REASONS["EXTERNAL_INTERRUPT"],
        "vmcs12.vm_exit_reason": 0,
        "requests": 1 << names.REQUESTS["EVENT"],
        "rip": 0x400000,
    },
}
"""What the descriptions of the starting points say."""


@pytest.mark.parametrize("name", STATES)
def test_a_starting_point_leads_where_it_says(name: str) -> None:
    points, errors = load_starting_points(POINTS_FOLDER)
    assert () == errors
    point = points[name]
    machine = Machine(make_setup(point.setup))
    for step in point.preamble(point.members):
        assert (1 if isinstance(step, Enter) else None) == machine.step(step).ret
    assert STATES[name] == machine.observe(STATES[name])
    assert {"exits_queued": 0} == machine.observe(["exits_queued"])


def test_an_event_in_vmcs12_is_injected_on_the_way_to_l2() -> None:
    points, _ = load_starting_points(POINTS_FOLDER)
    members = {**points["l2"].members, "vm_entry_intr_info_field": 0x80000030}
    machine = Machine()
    injected = [
        event[3]
        for step in points["l2"].preamble(members)
        for event in machine.step(step).log
        if event[0] == "vmentry" and event[1] == "02"
    ]
    assert [0x80000030] == injected


def test_every_starting_point_is_described_and_tested() -> None:
    assert sorted(STATES) == sorted(load_starting_points(POINTS_FOLDER)[0])


def test_the_export_has_every_vector_with_its_steps(suite: Suite) -> None:
    exported: Any = json.loads(json.dumps(export(suite.vectors)))
    assert ["suite", "version", "kvmref", "vectors"] == list(exported)
    assert [vector.id for vector in suite.vectors] == [one["id"] for one in exported["vectors"]]
    for vector, one in zip(suite.vectors, exported["vectors"], strict=True):
        assert vector.setup == read_setup(one["setup"])
        assert list(vector.preamble) == [read_operation(step) for step in one["preamble"]]
        assert [step.step for step in vector.steps] == [
            read_operation(step["step"]) for step in one["steps"]
        ]
        assert [number for number in integers(one) if abs(number) >= 2**53] == []


def test_the_export_has_what_is_expected() -> None:
    expect = Expectation(
        ret=-12,
        values={
            "rip": ExpectedValue(2**53),
            "rflags": ExpectedValue(0x200, 0x241),
            "loaded": ExpectedValue("02"),
            "nested.apic_access_page": ExpectedValue(None),
            "pinned": ExpectedValue([[2**63, 1]]),
        },
        log=(EventPattern("mmu_load"), EventPattern("vmexit", {"vmcs": "02", "reason": 10})),
        never=(EventPattern("guest_write", {"bytes": b"\x00\xff"}),),
    )
    steps = (VectorStep(Enter(), "a note", expect), VectorStep(Enter()))
    vector = Vector(
        "a/b", "T", "W", "R", "l0", ("3.3",), ("f",), (), ("irq",), "l1", Setup(), (), steps
    )
    exported: Any = export([vector])
    assert [
        {
            "step": {"op": "enter"},
            "note": "a note",
            "expect": {
                "ret": -12,
                "values": {
                    "rip": {"value": "0x20000000000000"},
                    "rflags": {"value": 0x200, "mask": 0x241},
                    "loaded": {"value": "02"},
                    "nested.apic_access_page": {"value": None},
                    "pinned": {"value": [["0x8000000000000000", 1]]},
                },
                "log": [
                    {"event": "mmu_load", "arguments": {}},
                    {"event": "vmexit", "arguments": {"vmcs": "02", "reason": 10}},
                ],
                "never": [{"event": "guest_write", "arguments": {"bytes": "00ff"}}],
            },
        },
        {"step": {"op": "enter"}, "note": "", "expect": {}},
    ] == exported["vectors"][0]["steps"]


def test_the_command_lists_vectors(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    folder = suite.vectors[0].id.partition("/")[0]
    assert 0 == main(["vectors", "list", str(SUITE / folder)])
    lines = capsys.readouterr().out.splitlines()
    assert [vector.id for vector in suite.vectors if vector.id.startswith(f"{folder}/")] == [
        line.split()[0] for line in lines
    ]
    assert lines[0].endswith(f"{suite.vectors[0].level}  {suite.vectors[0].title}")


def test_the_command_lists_more_if_asked(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    vector = suite.vectors[0]
    assert 0 == main(["vectors", "list", "-v", str(SUITE / f"{vector.id}.toml")])
    assert f"    why        {vector.why}\n" in capsys.readouterr().out


def test_the_command_checks_the_files(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["vectors", "lint"])
    assert f"{len(suite.vectors)} vectors: all valid\n" == capsys.readouterr().out


def test_the_command_reports_every_mistake_in_every_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    invalid = Path(__file__).parent / "data" / "vectors" / "invalid"
    assert 2 == main(["vectors", "lint", str(invalid)])
    captured = capsys.readouterr()
    expected = [
        f"{file.with_suffix('.toml')}{line}"
        for file in sorted(invalid.glob("*.txt"))
        for line in file.read_text().splitlines()
    ]
    assert expected == captured.err.splitlines()
    assert "" == captured.out


def test_the_command_finds_functions_that_do_not_exist(
    tmp_path: Path, suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    vector = suite.vectors[0]
    text = (SUITE / f"{vector.id}.toml").read_text()
    (tmp_path / "name.toml").write_text(text.replace(vector.functions[0], "vcpu_leave_guest"))
    assert 2 == main(["vectors", "lint", str(tmp_path)])
    assert (
        'name: functions[0]: unknown C function "vcpu_leave_guest"'
        " (accepted: functions of the source map, Linux 3.3)\n"
    ) == capsys.readouterr().err


def test_the_command_exports_what_is_selected(
    suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main(["vectors", "export", "--select", "level:l1"])
    exported: Any = json.loads(capsys.readouterr().out)
    assert [vector.id for vector in suite.vectors if vector.level == "l1"] == [
        vector["id"] for vector in exported["vectors"]
    ]


def test_the_command_needs_an_action(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["vectors"])
    assert 2 == stopped.value.code
    assert "ACTION" in capsys.readouterr().err
