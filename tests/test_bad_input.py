# SPDX-License-Identifier: GPL-2.0-only
"""Whatever isn't a recording is one line that says where, what was wrong, and what is accepted."""

from __future__ import annotations

import builtins
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded import DESTROYED, IMMEDIATE_EXIT, lines_of, write

from kvmref.cli.main import main
from kvmref.errors import InputError
from kvmref.harness.recordings.recording import load

INIT, *OPERATIONS = lines_of(IMMEDIATE_EXIT)
ENTER: dict[str, Any] = OPERATIONS[2]

IN_STATE = "(accepted: the keys that the README of the recordings lists)"


def message(file: Path) -> str:
    """Return the line that says why *file* can't be loaded."""
    with pytest.raises(InputError) as caught:
        load(file)
    text = str(caught.value)
    assert "\n" not in text
    return text


def changed(original: dict[str, Any], *path: str, to: Any = None) -> dict[str, Any]:
    """Return a copy of *original* with another value at *path*, or without it for ``...``."""
    copy: dict[str, Any] = json.loads(json.dumps(original))
    *way, last = path
    inner = copy
    for key in way:
        inner = inner[key]
    if to is ...:
        del inner[last]
    else:
        inner[last] = to
    return copy


BYTES: dict[str, tuple[str, bytes, str]] = {
    "truncated gzip": (
        "cut.jsonl.gz",
        IMMEDIATE_EXIT.read_bytes()[:-100],
        ": compressed data that ends too early (accepted: a whole file)",
    ),
    "not gzip": (
        "plain.jsonl.gz",
        b'{"op":"init"}\n',
        ": not compressed with gzip, or damaged: Not a gzipped file (b'{\"')"
        " (accepted: gzip, as the name says)",
    ),
    "damaged gzip": (
        "damaged.jsonl.gz",
        gzip.compress(b"{}", mtime=0)[:10] + b"\xff" * 20,
        ": not compressed with gzip, or damaged: Error -3 while decompressing data: invalid block"
        " type (accepted: gzip, as the name says)",
    ),
    "empty file": (
        "empty.jsonl",
        b"",
        ": the file is empty (accepted: an init record and operations)",
    ),
    "empty file, compressed": (
        "empty.jsonl.gz",
        gzip.compress(b""),
        ": the file is empty (accepted: an init record and operations)",
    ),
    "invalid UTF-8": (
        "latin1.jsonl",
        b'{"op":"\xe9"}\n',
        ":1: invalid UTF-8: byte 8 of the line is 0xe9 (accepted: UTF-8)",
    ),
    "invalid JSON": (
        "broken.jsonl",
        b'{"op":"init"\n',
        ":1: invalid JSON: Expecting ',' delimiter at column 13 (accepted: one object per line)",
    ),
    "no number of JSON": (
        "nan.jsonl",
        b'{"op":NaN}\n',
        ":1: invalid JSON: NaN (accepted: numbers that JSON has)",
    ),
    "huge integer": (
        "huge.jsonl",
        b'{"op":' + b"9" * 5000 + b"}\n",
        ":1: invalid JSON: an integer of thousands of digits (accepted: one object per line)",
    ),
    "nested too deeply": (
        "deep.jsonl",
        b"[" * 200000 + b"\n",
        ":1: invalid JSON: nested too deeply (accepted: one object per line)",
    ),
    "no object": (
        "array.jsonl",
        b"[1]\n",
        ":1: found [1] (accepted: one object per line)",
    ),
    "empty line": (
        "blank.jsonl",
        b"\n",
        ":1: invalid JSON: Expecting value at column 1 (accepted: one object per line)",
    ),
    "key given twice": (
        "twice.jsonl",
        b'{"op":"init","op":"init"}\n',
        ':1: key "op" is given twice (accepted: each key once)',
    ),
    "no init record": (
        "headless.jsonl",
        b'{"op":"nmi"}\n',
        ':1: found op "nmi" (accepted: an init record on the first line)',
    ),
}


@pytest.mark.parametrize(("name", "contents", "expected"), BYTES.values(), ids=BYTES)
def test_a_file_that_is_no_recording(
    tmp_path: Path, name: str, contents: bytes, expected: str
) -> None:
    file = tmp_path / name
    file.write_bytes(contents)
    assert f"{file}{expected}" == message(file)


def test_a_directory(tmp_path: Path) -> None:
    expected = f"this is a directory (accepted: the files in it, such as {tmp_path}/*.jsonl.gz)"
    assert f"{tmp_path}: {expected}" == message(tmp_path)


def test_a_missing_file(tmp_path: Path) -> None:
    file = tmp_path / "missing.jsonl"
    expected = f"{file}: can't be read: No such file or directory (accepted: a readable file)"
    assert expected == message(file)


def test_a_file_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, mode: str) -> None:
        raise PermissionError(13, "Permission denied", name, mode)

    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(InputError) as caught:
        load("secret.jsonl")
    expected = "secret.jsonl: can't be read: Permission denied (accepted: a readable file)"
    assert expected == str(caught.value)


INITS: dict[str, tuple[dict[str, Any], str]] = {
    "missing part": (
        changed(INIT, "ctls", to=...),
        'init: another format version?: missing "ctls" (accepted: exactly op, config, effective,'
        " vmcs_config, ctls, state)",
    ),
    "unknown part": (
        changed(INIT, "version", to=2),
        'init: another format version?: unknown "version" (accepted: exactly op, config, effective,'
        " vmcs_config, ctls, state)",
    ),
    "unknown control word": (
        changed(INIT, "vmcs_config", "cpu3", to="0x0"),
        'vmcs_config: another format version?: unknown "cpu3" (accepted: exactly pin, cpu, cpu2,'
        " vmexit, vmentry)",
    ),
    "configuration out of range": (
        changed(INIT, "config", "pin_lo", to="0x100000000"),
        'config.pin_lo: found "0x100000000" (accepted: a string "0x…" in lower case, "0x0" to'
        ' "0xffffffff")',
    ),
    "flag of the configuration out of range": (
        changed(INIT, "config", "nested", to="0x2"),
        'config.nested: found "0x2" (accepted: a string "0x…" in lower case, "0x0" to "0x1")',
    ),
    "unknown key of the state": (
        changed(INIT, "state", "nested", "evmcs", to=0),
        'state.nested.evmcs: unknown key "nested.evmcs" of the state: a recording of another format'
        f" version? {IN_STATE}",
    ),
    "missing key of the state": (
        changed(INIT, "state", "nested", "vmxon", to=...),
        'state: missing key "nested.vmxon" of the state: a recording of another format version?'
        f" {IN_STATE}",
    ),
    "unknown field of a VMCS in the state": (
        changed(INIT, "state", "vmcs01", "GUEST_SSP", to="0x1"),
        'state.vmcs01.GUEST_SSP: unknown key "vmcs01.GUEST_SSP" of the state: a recording of'
        f" another format version? {IN_STATE}",
    ),
    "wrong type in the state": (
        changed(INIT, "state", "vmx", "vpid", to="0x1"),
        'state.vmx.vpid: found "0x1" (accepted: an integer from -9223372036854775808 to'
        " 9223372036854775807)",
    ),
    "wrong length of a list in the state": (
        changed(INIT, "state", "run", "ex", to=[1]),
        "state.run.ex: found [1] (accepted: an array of 2 elements)",
    ),
    "wrong element of a list in the state": (
        changed(INIT, "state", "run", "ex", to=[0, 0]),
        'state.run.ex[1]: found 0 (accepted: a string "0x…" in lower case, "0x0" to'
        ' "0xffffffffffffffff")',
    ),
    "vmcs01 is null": (
        changed(INIT, "state", "vmcs01", to=None),
        "state.vmcs01: found null (accepted: an object)",
    ),
}


@pytest.mark.parametrize(("init", "expected"), INITS.values(), ids=INITS)
def test_an_init_record_of_another_format(
    tmp_path: Path, init: dict[str, Any], expected: str
) -> None:
    file = write(tmp_path / "init.jsonl", [init, *OPERATIONS])
    assert f"{file}:1: {expected}" == message(file)


NUMBER = "an integer from -9223372036854775808 to 9223372036854775807"
PATTERN = 'a string "0x…" in lower case, "0x0" to "0xffffffffffffffff"'

LINES: dict[str, tuple[dict[str, Any], str]] = {
    "missing op": (
        {"vector": 1},
        "missing op (accepted: alloc_fail, at, clear_exits, clear_hooks, clear_request, destroy,"
        " dump, enter, events, exception, exit, host_irq, host_irq_now, irq, kick, ktime, map, mem,"
        " mmu_fail, nmi, poke12, reg, request, resched, sched, set, signal, time_fail, tsc, unmap,"
        " vmcs, vmcs12)",
    ),
    "unknown op": (
        {"op": "smi"},
        'unknown operation "smi" (accepted: alloc_fail, at, clear_exits, clear_hooks,'
        " clear_request, destroy, dump, enter, events, exception, exit, host_irq, host_irq_now,"
        " irq, kick, ktime, map, mem, mmu_fail, nmi, poke12, reg, request, resched, sched, set,"
        " signal, time_fail, tsc, unmap, vmcs, vmcs12)",
    ),
    "missing argument": (
        {"op": "irq"},
        "irq: missing argument vector (accepted: vector, noreq)",
    ),
    "unknown argument": (
        {"op": "nmi", "vector": 2},
        'nmi: unknown argument "vector" (accepted: no arguments)',
    ),
    "number out of range": (
        {"op": "irq", "vector": 256},
        "vector: found 256 (accepted: an integer from 0 to 255)",
    ),
    "truth value for a number": (
        {"op": "irq", "vector": True},
        "vector: found true (accepted: an integer from 0 to 255)",
    ),
    "fraction for a number": (
        {"op": "irq", "vector": 1.5},
        "vector: found 1.5 (accepted: an integer from 0 to 255)",
    ),
    "flag out of range": (
        {"op": "signal", "value": 2},
        "value: found 2 (accepted: 0 or 1)",
    ),
    "no such CPU": (
        {"op": "sched", "cpu": 2},
        "cpu: found 2 (accepted: an integer from 0 to 1)",
    ),
    "no such size": (
        {"op": "mem", "gpa": "0x0", "size": 2, "value": "0x0"},
        "size: found 2 (accepted: 1, 4, 8)",
    ),
    "nothing that can fail": (
        {"op": "alloc_fail", "what": "page"},
        'what: found "page" (accepted: "vmcs", "item")',
    ),
    "bit pattern as a number": (
        {"op": "tsc", "value": 1},
        f"value: found 1 (accepted: {PATTERN})",
    ),
    "bit pattern in upper case": (
        {"op": "tsc", "value": "0xFF"},
        f'value: found "0xFF" (accepted: {PATTERN})',
    ),
    "bit pattern with leading zeroes": (
        {"op": "tsc", "value": "0x01"},
        f'value: found "0x01" (accepted: {PATTERN})',
    ),
    "negative bit pattern": (
        {"op": "tsc", "value": "-0x1"},
        f'value: found "-0x1" (accepted: {PATTERN})',
    ),
    "bit pattern that is none": (
        {"op": "tsc", "value": "later"},
        f'value: found "later" (accepted: {PATTERN})',
    ),
    "bit pattern of 65 bits": (
        {"op": "tsc", "value": "0x10000000000000000"},
        f'value: found "0x10000000000000000" (accepted: {PATTERN})',
    ),
    "a long wrong value is cut": (
        {"op": "tsc", "value": "9" * 100},
        f'value: found "{"9" * 58}… (accepted: {PATTERN})',
    ),
    "bit pattern of 33 bits for 32": (
        {"op": "exit", "reason": "0x100000000"},
        'reason: found "0x100000000" (accepted: a string "0x…" in lower case, "0x0" to'
        ' "0xffffffff")',
    ),
    "unknown VMCS field": (
        {"op": "exit", "fields": {"GUEST_SSP": "0x0"}},
        'fields: found "GUEST_SSP" (accepted: the name of a VMCS field, such as GUEST_RIP, without'
        " *_HIGH)",
    ),
    "value of a VMCS field": (
        {"op": "exit", "fields": {"GUEST_RIP": 0}},
        f"fields.GUEST_RIP: found 0 (accepted: {PATTERN})",
    ),
    "fields that are no object": (
        {"op": "exit", "fields": []},
        "fields: found [] (accepted: an object)",
    ),
    "padding of vmcs12": (
        {"op": "poke12", "fields": {"padding64": "0x0"}},
        'fields: found "padding64" (accepted: a member of struct vmcs12 that is no padding, such as'
        " guest_rip)",
    ),
    "register that the guest can't leave": (
        {"op": "exit", "regs": {"rsp": "0x0"}},
        'regs: found "rsp" (accepted: rax to r15 without rsp, or cr2)',
    ),
    "unknown register": (
        {"op": "reg", "regs": {"eax": "0x0"}},
        'regs: found "eax" (accepted: rax to r15, rip, rflags or cr2)',
    ),
    "unknown variable": (
        {"op": "set", "values": {"jiffies": 1}},
        'values: found "jiffies" (accepted: apf_halted, cr8, dr7, guest_debug, mp_state,'
        " nmi_pending, riw, run_exit_reason, switch_db_regs, xcr0)",
    ),
    "variable out of range": (
        {"op": "set", "values": {"apf_halted": 2}},
        "values.apf_halted: found 2 (accepted: an integer from 0 to 1)",
    ),
    "hook at nothing": (
        {"op": "at", "event": "reboot", "count": 1, "do": {"op": "nmi"}},
        'event: found "reboot" (accepted: the name of an event of the log, or one of smp_mb,'
        " need_resched, signal_pending, smp_wmb, reload_ds_es)",
    ),
    "hook with a wrong operation": (
        {"op": "at", "event": "vmentry", "count": 1, "do": {"op": "irq", "vector": -1}},
        "do.vector: found -1 (accepted: an integer from 0 to 255)",
    ),
    "hook with results": (
        {"op": "at", "event": "vmentry", "count": 1, "do": {"op": "enter"}},
        "do: an operation with results in a hook (accepted: any operation without results)",
    ),
    "missing result": (
        changed(ENTER, "ret", to=...),
        "enter: missing result ret (accepted: changed, log, n, ret)",
    ),
    "unknown result": (
        changed(ENTER, "cycles", to=1),
        'enter: unknown argument "cycles" (accepted: changed, log, n, ret)',
    ),
    "results of an operation that has none": (
        {"op": "nmi", "ret": 1},
        'nmi: unknown argument "ret" (accepted: no arguments)',
    ),
    "log that is none": (
        changed(ENTER, "log", to="mmu_load"),
        'log: found "mmu_load" (accepted: an array)',
    ),
    "unknown event": (
        changed(ENTER, "log", to=["mmu_load", "coffee"]),
        'log[1]: found "coffee" (accepted: the name of an event, with its arguments in an array if'
        " it has some)",
    ),
    "unknown event with arguments": (
        changed(ENTER, "log", to=[["mmu_load", 1]]),
        'log[0]: found ["mmu_load", 1] (accepted: the name of an event that has arguments, at the'
        " start of an array)",
    ),
    "event without a name": (
        changed(ENTER, "log", to=[[]]),
        "log[0]: found [] (accepted: a string, or an array that starts with a string)",
    ),
    "event with too few arguments": (
        changed(ENTER, "log", to=[["invvpid", 1]]),
        'log[0]: found ["invvpid", 1] (accepted: invvpid with type, vpid)',
    ),
    "event with a wrong argument": (
        changed(ENTER, "log", to=[["invept", 1, 2]]),
        f"log[0].eptp: found 2 (accepted: {PATTERN})",
    ),
    "event with an unknown VMCS": (
        changed(ENTER, "log", to=[["vmptrld", "03"]]),
        'log[0].vmcs: found "03" (accepted: "01", "02")',
    ),
    "event with odd bytes": (
        changed(ENTER, "log", to=[["guest_write", "0x0", "0"]]),
        'log[0].bytes: found "0" (accepted: a string of 1 to 16 bytes in lower-case hexadecimal)',
    ),
    "VM entry without its object": (
        changed(ENTER, "log", to=[["vmentry"]]),
        'log[0]: found ["vmentry"] (accepted: vmentry with one object)',
    ),
    "VM entry without arguments": (
        changed(ENTER, "log", to=[["vmentry", {"vmcs": "01"}]]),
        'log[0]: vmentry: missing "launched", "intr_info", "err", "len", "rip", "rsp" (accepted:'
        " exactly vmcs, launched, intr_info, err, len, rip, rsp)",
    ),
    "unknown key of a delta": (
        changed(ENTER, "changed", to={"nested.evmcs": 1}),
        'changed.nested.evmcs: unknown key "nested.evmcs" of the state: a recording of another'
        f" format version? {IN_STATE}",
    ),
    "wrong value in a delta": (
        changed(ENTER, "changed", to={"requests": 1}),
        f"changed.requests: found 1 (accepted: {PATTERN})",
    ),
    "null for a number in a delta": (
        changed(ENTER, "changed", to={"mode": None}),
        f"changed.mode: found null (accepted: {NUMBER})",
    ),
    "fields of a VMCS as an object in a delta": (
        changed(ENTER, "changed", to={"vmcs02": {"GUEST_RIP": "0x1"}}),
        'changed.vmcs02: found {"GUEST_RIP": "0x1"} (accepted: null or {})',
    ),
    "entry of the pool without a key": (
        changed(ENTER, "changed", to={"nested.pool": [{"vmptr": "0x0", "cpu": 0}]}),
        'changed.nested.pool[0]: an object of the array: missing "launched" (accepted: exactly'
        " vmptr, launched, cpu)",
    ),
    "a second init record": (
        INIT,
        'unknown operation "init" (accepted: alloc_fail, at, clear_exits, clear_hooks,'
        " clear_request, destroy, dump, enter, events, exception, exit, host_irq, host_irq_now,"
        " irq, kick, ktime, map, mem, mmu_fail, nmi, poke12, reg, request, resched, sched, set,"
        " signal, time_fail, tsc, unmap, vmcs, vmcs12)",
    ),
}


@pytest.mark.parametrize(("line", "expected"), LINES.values(), ids=LINES)
def test_an_operation_that_is_wrong(tmp_path: Path, line: dict[str, Any], expected: str) -> None:
    file = write(tmp_path / "line.jsonl", [INIT, {"op": "nmi"}, line])
    assert f"{file}:3: {expected}" == message(file)


def test_an_operation_after_destroy(tmp_path: Path) -> None:
    lines = lines_of(DESTROYED)
    file = write(tmp_path / "after.jsonl", [*lines, {"op": "nmi"}])
    expected = "an operation after destroy (accepted: destroy as the last operation)"
    assert f"{file}:{len(lines) + 1}: {expected}" == message(file)


def test_a_hook_in_a_hook_in_a_hook(tmp_path: Path) -> None:
    hook = '{"op":"at","event":"vmentry","count":1,"do":'
    file = write(tmp_path / "hooks.jsonl", [INIT])
    with file.open("a") as stream:
        stream.write(hook * 340 + '{"op":"nmi"}' + "}" * 340 + "\n")
    assert f"{file}:2: nested too deeply (accepted: a few levels)" == message(file)


Damage = Callable[[Path], Path]


def directory(folder: Path) -> Path:
    """Return a path that is a directory."""
    return folder


def missing(folder: Path) -> Path:
    """Return a path where there is nothing."""
    return folder / "missing"


def truncated(folder: Path) -> Path:
    """Return the path of a file that was cut off."""
    file = folder / "cut.jsonl.gz"
    file.write_bytes(IMMEDIATE_EXIT.read_bytes()[:500])
    return file


@pytest.mark.parametrize("damage", [directory, missing, truncated])
def test_the_command_says_it_in_one_line_and_goes_on(
    damage: Damage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = damage(tmp_path)
    empty = write(tmp_path / "no-operations.jsonl", [INIT])
    assert 2 == main(["replay", "-v", str(bad), str(empty)])
    output = capsys.readouterr()
    assert [message(bad)] == output.err.splitlines()
    assert f"{empty}: equal: 0 ops, 0 enters" in output.out
    assert "2 recordings: 1 equal, 1 unreadable;" in output.out
