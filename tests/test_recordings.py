# SPDX-License-Identifier: GPL-2.0-only
"""Recordings are read into typed values, and those that ship are the ones that were made."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from recorded import DESTROYED, FILES, IMMEDIATE_EXIT, INDEX, lines_of, stem, write

from kvmref.harness.notation.operations import OPERATIONS, read_operation
from kvmref.harness.notation.states import Delta, State, read_delta, write_value
from kvmref.harness.notation.values import Shape, read_event, reader_of, spelled, write_event
from kvmref.harness.recordings.recording import Destroyed, Dumped, Entered, load
from kvmref.kernel.setup import Setup
from kvmref.machine.steps import (
    AllocFail,
    At,
    ClearExits,
    ClearHooks,
    ClearRequest,
    Destroy,
    Dump,
    Enter,
    Events,
    Exit,
    HostIrq,
    HostIrqNow,
    Irq,
    Kick,
    Ktime,
    Map,
    Mem,
    MmuFail,
    Nmi,
    PokeVmcs12,
    QueueException,
    Request,
    Resched,
    Sched,
    Set,
    Signal,
    Step,
    TimeFail,
    Tsc,
    Unmap,
    WriteRegisters,
    WriteVmcs,
    WriteVmcs12,
)
from kvmref.processor.scripted import Outcome
from kvmref.processor.vmcs_fields import GUEST_CR0, GUEST_RIP
from kvmref.trace import Event, Kind


def test_the_index_lists_the_files() -> None:
    assert sorted(INDEX) == sorted(file.stem for file in FILES)


@pytest.mark.parametrize("file", FILES, ids=stem)
def test_a_recording_is_the_one_that_was_made(file: Path) -> None:
    contents = gzip.decompress(file.read_bytes())
    assert INDEX[file.stem]["sha256"] == hashlib.sha256(contents).hexdigest()


def test_a_compressed_recording_is_read_like_a_plain_one(tmp_path: Path) -> None:
    plain = load(write(tmp_path / "plain.jsonl", lines_of(IMMEDIATE_EXIT)))
    compressed = load(IMMEDIATE_EXIT)
    assert (compressed.setup, compressed.initial, compressed.operations) == (
        plain.setup,
        plain.initial,
        plain.operations,
    )


def test_the_default_configuration_is_the_default_setup() -> None:
    assert Setup() == load(IMMEDIATE_EXIT).setup


def test_the_state_is_flat_and_its_bit_patterns_are_integers() -> None:
    state = load(IMMEDIATE_EXIT).initial.state
    expected = {
        "requests": 0x801,
        "loaded": "01",
        "nested.apic_access_page": None,
        "nested.vmxon": 0,
        "dr": [0, 0, 0, 0, 0xFFFF0FF0, 0x400],
        "run.debug": [0, 0, 0, 0],
        "vmcs01": {},
        "vmcs01.GUEST_CR0": 0x80050033,
        "vmcs02": None,
        "vmcs12": None,
    }
    assert expected == {key: state[key] for key in expected}


def test_the_results_of_an_enter_are_typed() -> None:
    operation = load(IMMEDIATE_EXIT).operations[13]
    expected = Entered(
        n=4,
        ret=1,
        log=[
            ("invvpid", 1, 1),
            "mmu_load",
            ("invvpid", 1, 1),
            ("invept", 1, 0x700001E),
            "preempt_disable",
            "local_irq_disable",
            "local_irq_enable",
            "preempt_enable",
        ],
        changed=Delta(
            cleared=(),
            removed=(),
            stored={
                "arch.root_valid": 1,
                "irr": [81],
                "requests": 0x8000,
                "vmcs02.EPT_POINTER": 0x700001E,
                "vmcs02.GUEST_CR3": 0x20000,
                "vmcs02.HOST_FS_BASE": 0x7F0000001000,
                "vmcs02.HOST_GS_BASE": 0xFFFF88003FC00000,
                "vmx.host_loaded": 1,
            },
        ),
    )
    assert (15, Enter(), expected) == (operation.line, operation.step, operation.results)


def test_the_results_of_a_destroy_are_typed() -> None:
    operation = load(DESTROYED).operations[-1]
    assert (Destroy(), True) == (operation.step, isinstance(operation.results, Destroyed))


def test_a_dump_has_a_delta(tmp_path: Path) -> None:
    dump = {"op": "dump", "changed": {"requests": "0x1"}}
    file = write(tmp_path / "dump.jsonl", [lines_of(IMMEDIATE_EXIT)[0], dump])
    assert Dumped(Delta((), (), {"requests": 1})) == load(file).operations[0].results


STEPS: list[tuple[dict[str, Any], Step]] = [
    ({"op": "alloc_fail", "what": "vmcs"}, AllocFail("vmcs")),
    (
        {"op": "at", "event": "smp_mb", "count": 2, "do": {"op": "irq", "vector": 33}},
        At("smp_mb", Irq(33), 2),
    ),
    ({"op": "clear_exits"}, ClearExits()),
    ({"op": "clear_hooks"}, ClearHooks()),
    ({"op": "clear_request", "bit": 11}, ClearRequest(11)),
    ({"op": "destroy"}, Destroy()),
    ({"op": "dump"}, Dump()),
    ({"op": "enter"}, Enter()),
    ({"op": "events"}, Events()),
    ({"op": "events", "shadow": 2, "nmi_masked": 1}, Events(shadow=2, nmi_masked=True)),
    ({"op": "exception", "vector": 3}, QueueException(3)),
    (
        {"op": "exception", "vector": 14, "err": "0x2", "reinject": 1},
        QueueException(14, err=2, reinject=True),
    ),
    ({"op": "exit"}, Exit(Outcome())),
    (
        {
            "op": "exit",
            "reason": "0x80000021",
            "qual": "0xffffffffffffffff",
            "intr_info": "0x80000306",
            "intr_err": "0x1",
            "idt_info": "0x80000030",
            "idt_err": "0x2",
            "len": "0x3",
            "info": "0x4",
            "gpa": "0x5000",
            "gla": "0x6000",
            "fields": {"GUEST_RIP": "0x400000"},
            "regs": {"rax": "0x1", "r15": "0x2", "cr2": "0x3"},
            "fail": 7,
            "force": 1,
            "emul": 2,
            "pf": 3,
            "pferr": "0xf",
        },
        Exit(
            Outcome(
                reason=0x80000021,
                qual=0xFFFFFFFFFFFFFFFF,
                intr_info=0x80000306,
                intr_err=1,
                idt_info=0x80000030,
                idt_err=2,
                len=3,
                info=4,
                gpa=0x5000,
                gla=0x6000,
                fields={GUEST_RIP: 0x400000},
                regs={0: 1, 15: 2},
                cr2=3,
                fail=7,
                force=True,
                emul=2,
                pf=3,
                pferr=15,
            )
        ),
    ),
    ({"op": "host_irq"}, HostIrq()),
    ({"op": "host_irq_now"}, HostIrqNow()),
    ({"op": "irq", "vector": 81, "noreq": 1}, Irq(81, noreq=True)),
    ({"op": "kick"}, Kick()),
    ({"op": "ktime", "ns": -1}, Ktime(-1)),
    ({"op": "map", "gva": "0xa000"}, Map(0xA000)),
    ({"op": "mem", "gpa": "0x8000", "size": 4, "value": "0x1"}, Mem(0x8000, 4, 1)),
    ({"op": "mmu_fail"}, MmuFail()),
    ({"op": "nmi"}, Nmi()),
    ({"op": "poke12", "fields": {"launch_state": "0x2"}}, PokeVmcs12({"launch_state": 2})),
    ({"op": "reg", "regs": {"rsp": "0x1", "cr2": "0x2"}}, WriteRegisters({"rsp": 1, "cr2": 2})),
    ({"op": "request", "bit": 17}, Request(17)),
    ({"op": "resched", "value": 1}, Resched(True)),
    ({"op": "sched"}, Sched()),
    ({"op": "sched", "cpu": 1}, Sched(1)),
    ({"op": "set", "values": {"cr8": "0xf", "riw": 1}}, Set({"cr8": 15, "riw": 1})),
    ({"op": "signal", "value": 0}, Signal(False)),
    ({"op": "time_fail"}, TimeFail()),
    ({"op": "tsc", "value": "0xffd5232dff"}, Tsc(0xFFD5232DFF)),
    ({"op": "unmap", "gva": "0xa000"}, Unmap(0xA000)),
    ({"op": "vmcs", "fields": {"GUEST_CR0": "0x21"}}, WriteVmcs({GUEST_CR0: 0x21})),
    (
        {"op": "vmcs12", "gpa": "0x30000", "zero": True, "fields": {"revision_id": "0x1"}},
        WriteVmcs12(0x30000, {"revision_id": 1}, zero=True),
    ),
]


@pytest.mark.parametrize(("operation", "step"), STEPS, ids=[given["op"] for given, _ in STEPS])
def test_an_operation_stands_for_a_step(operation: dict[str, Any], step: Step) -> None:
    assert step == read_operation(operation)


def test_every_operation_is_tried() -> None:
    assert set(OPERATIONS) == {operation["op"] for operation, _ in STEPS}


EVENTS: list[tuple[object, Event]] = [
    ("mmu_load", "mmu_load"),
    (["vmexit", "02", "0x80000021"], ("vmexit", "02", 0x80000021)),
    (["guest_write", "0x80c8", "0a00"], ("guest_write", 0x80C8, b"\x0a\x00")),
    (
        [
            "vmentry",
            {
                "vmcs": "01",
                "launched": 0,
                "intr_info": "0x51",
                "err": "0x0",
                "len": "0x0",
                "rip": "0x1",
                "rsp": "0x2",
            },
        ],
        ("vmentry", "01", 0, 0x51, 0, 0, 1, 2),
    ),
]


@pytest.mark.parametrize(("written", "event"), EVENTS)
def test_an_event_is_read_and_written_alike(written: object, event: Event) -> None:
    assert (event, written) == (read_event(written), json.loads(write_event(event)))


@pytest.mark.parametrize(
    ("key", "value", "written"),
    [
        ("requests", 0x801, '"0x801"'),
        ("stat.exits", 12, "12"),
        ("loaded", "02", '"02"'),
        ("nested.apic_access_page", None, "null"),
        ("pinned", [[0x30000, 1]], '[["0x30000",1]]'),
        (
            "nested.pool",
            [{"vmptr": 0x30000, "launched": 1, "cpu": 0}],
            '[{"vmptr":"0x30000","launched":1,"cpu":0}]',
        ),
        ("run.ex", [14, 2], '[14,"0x2"]'),
        ("vmcs02.GUEST_RIP", 0x400000, '"0x400000"'),
        ("vmcs02", {}, "{}"),
    ],
)
def test_a_value_is_written_as_recordings_write_it(key: str, value: Any, written: str) -> None:
    assert written == write_value(key, value)


def test_a_value_of_the_wrong_shape_can_be_shown_too() -> None:
    assert [1, 2] == spelled((Kind.BITS,), [1, 2])
    assert '["vmexit",1]' == write_event(("vmexit", 1))


def test_what_is_read_by_its_shape_is_written_by_its_shape() -> None:
    written = [{"vmptr": "0x1", "launched": 0, "cpu": 1}]
    shape: Shape = [{"vmptr": Kind.BITS, "launched": Kind.NUMBER, "cpu": Kind.NUMBER}]
    assert written == spelled(shape, reader_of(shape)(written))


def after(state: State, changed: dict[str, object]) -> State:
    """Return *state* after the difference *changed*."""
    later = dict(state)
    read_delta(changed).apply(later)
    return later


def test_null_removes_a_field() -> None:
    assert {"vmcs01": {}} == after(
        {"vmcs01": {}, "vmcs01.GUEST_CR3": 1}, {"vmcs01.GUEST_CR3": None}
    )


def test_null_removes_a_vmcs_with_all_its_fields() -> None:
    before: State = {"vmcs12": {}, "vmcs12.guest_cr3": 1, "vmcs12.guest_cr4": 2}
    assert {"vmcs12": None} == after(before, {"vmcs12": None})


def test_a_vmcs_comes_back_with_its_fields() -> None:
    changed: dict[str, object] = {"vmcs12": {}, "vmcs12.guest_cr3": "0x1"}
    assert {"vmcs12": {}, "vmcs12.guest_cr3": 1} == after({"vmcs12": None}, changed)


def test_null_is_a_value_elsewhere() -> None:
    key = "nested.apic_access_page"
    assert {key: None} == after({key: 0x61000}, {key: None})
