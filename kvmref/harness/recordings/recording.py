# SPDX-License-Identifier: GPL-2.0-only
"""Recordings: what was done to a virtual CPU running Linux's own code, and what came of it.

A recording is a file of JSON Lines, possibly compressed with gzip. Its first line tells how the
machine was set up and what its state was; every further line is one operation, some with results.
The README beside the recordings defines the format.

A file is read as a whole and checked as a whole, before anything is done with it. Whatever isn't
exactly as the format says is an `InputError` with the file, the line and the way to the value.
The format has no version number; another version shows in keys that are unknown or missing.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kvmref.errors import InputError
from kvmref.harness.notation.json_lines import object_of, text_of
from kvmref.harness.notation.operations import read_operation
from kvmref.harness.notation.setups import read_setup
from kvmref.harness.notation.states import Delta, State, read_delta, read_pinned, read_state
from kvmref.harness.notation.values import (
    Reader,
    bits,
    number,
    obj,
    read_at,
    read_log,
    require_keys,
    shown,
)
from kvmref.integers import Width
from kvmref.kernel.setup import Setup
from kvmref.machine.steps import Destroy, Dump, Enter, Step
from kvmref.trace import Event


@dataclass(slots=True, frozen=True)
class Initial:
    """What the recording says of the machine before the first operation."""

    effective: dict[str, int]
    """Module parameters and what depends on them, after the kernel has seen the processor."""
    vmcs_config: dict[str, int]
    """The control words that KVM chose for its own VMCSs."""
    ctls: dict[str, int]
    """The controls that KVM offers to L1."""
    state: State


@dataclass(slots=True, frozen=True)
class Entered:
    """What came of ``enter``."""

    n: int
    """How many came before it."""
    ret: int
    log: list[Event]
    changed: Delta


@dataclass(slots=True, frozen=True)
class Dumped:
    """What came of ``dump``."""

    changed: Delta


@dataclass(slots=True, frozen=True)
class Destroyed:
    """What came of ``destroy``, after which there is no state to look at."""

    log: list[Event]
    pinned: object


Results = Entered | Dumped | Destroyed
"""What an operation with results came to."""


@dataclass(slots=True, frozen=True)
class Operation:
    """One line of a recording."""

    line: int
    """Its number; the first operation is on line 2."""
    text: str
    step: Step
    results: Results | None


@dataclass(slots=True, frozen=True)
class Recording:
    """One recording, decoded."""

    file: str
    text: str
    """The init record as it is written."""
    setup: Setup
    initial: Initial
    operations: list[Operation]


_s32: Final = number(Width(32, signed=True))
_u32: Final = number(Width(32))
_pattern: Final = bits(Width(64))

_EFFECTIVE: Final[dict[str, Reader[int]]] = {
    "enable_ept": _s32,
    "enable_vpid": _s32,
    "enable_unrestricted_guest": _s32,
    "flexpriority_enabled": _s32,
    "ple_gap": _s32,
    "cpu_has_load_ia32_efer": _s32,
    "cpu_has_load_perf_global_ctrl": _s32,
    "efer_reserved_bits": _pattern,
}

_VMCS_CONFIG: Final = dict.fromkeys(("pin", "cpu", "cpu2", "vmexit", "vmentry"), bits(Width(32)))

_CTLS: Final = dict.fromkeys(
    (
        "VMCS12_REVISION",
        *(
            f"nested_vmx_{controls}_ctls_{half}"
            for controls in ("pinbased", "procbased", "secondary", "exit", "entry")
            for half in ("low", "high")
        ),
    ),
    bits(Width(32)),
)


_INIT_KEYS: Final = dict.fromkeys(("op", "config", "effective", "vmcs_config", "ctls", "state"))

_RESULTS: Final = {
    "enter": frozenset({"n", "ret", "log", "changed"}),
    "dump": frozenset({"changed"}),
    "destroy": frozenset({"log", "pinned"}),
}
_NO_RESULTS: Final[frozenset[str]] = frozenset()


def load(file: str | os.PathLike[str]) -> Recording:
    """Return the recording in *file*, which is decompressed if its name ends in ``.gz``.

    Raises `InputError` if it can't be read, or isn't a recording.
    """
    name = os.fspath(file)
    lines = _contents(name).split(b"\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError("the file is empty", "an init record and operations", file=name)
    line = 1
    try:
        first = text_of(lines[0])
        setup, initial = _init_record(object_of(first))
        operations: list[Operation] = []
        for line, encoded in enumerate(lines[1:], 2):
            if operations and isinstance(operations[-1].results, Destroyed):
                raise InputError("an operation after destroy", "destroy as the last operation")
            text = text_of(encoded)
            given = object_of(text)
            step, results = _operation(given)
            operations.append(Operation(line, text, step, results))
    except InputError as error:
        raise error.located(name, line) from None
    except RecursionError:
        raise InputError("nested too deeply", "a few levels", None, name, line) from None
    return Recording(name, first, setup, initial, operations)


def _contents(name: str) -> bytes:
    """Return all bytes of a file, decompressed."""
    try:
        with open(name, "rb") as stream:
            contents = stream.read()
    except IsADirectoryError:
        accepted = f"the files in it, such as {os.path.join(name, '*.jsonl.gz')}"
        raise InputError("this is a directory", accepted, file=name) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"can't be read: {reason}", "a readable file", file=name) from None
    if not name.endswith(".gz"):
        return contents
    try:
        return gzip.decompress(contents)
    except EOFError:
        raise InputError("compressed data that ends too early", "a whole file", file=name) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        problem = f"not compressed with gzip, or damaged: {error}"
        raise InputError(problem, "gzip, as the name says", file=name) from None


def _init_record(given: dict[str, object]) -> tuple[Setup, Initial]:
    if given.get("op") != "init":
        raise InputError(f"found op {shown(given.get('op'))}", "an init record on the first line")
    require_keys(given, _INIT_KEYS, "init: another format version?")
    return (
        read_at("config", read_setup, given["config"]),
        Initial(
            read_at("effective", _members(_EFFECTIVE), given["effective"]),
            read_at("vmcs_config", _members(_VMCS_CONFIG), given["vmcs_config"]),
            read_at("ctls", _members(_CTLS), given["ctls"]),
            read_at("state", read_state, given["state"]),
        ),
    )


def _members(readers: Mapping[str, Reader[int]]) -> Reader[dict[str, int]]:
    """Return a reader of objects with exactly the members that have *readers*."""

    def read(value: object) -> dict[str, int]:
        given = obj(value)
        require_keys(given, readers, "another format version?")
        return {name: read_at(name, reader, given[name]) for name, reader in readers.items()}

    return read


def _operation(given: dict[str, object]) -> tuple[Step, Results | None]:
    name = given.get("op")
    keys = _RESULTS.get(name, _NO_RESULTS) if isinstance(name, str) else _NO_RESULTS
    step = read_operation(given, keys)
    for key in sorted(keys):
        if key not in given:
            raise InputError(f"{name}: missing result {key}", ", ".join(sorted(keys)))
    if isinstance(step, Enter):
        return step, Entered(
            read_at("n", _u32, given["n"]),
            read_at("ret", _s32, given["ret"]),
            read_at("log", read_log, given["log"]),
            read_at("changed", read_delta, given["changed"]),
        )
    if isinstance(step, Dump):
        return step, Dumped(read_at("changed", read_delta, given["changed"]))
    if isinstance(step, Destroy):
        return step, Destroyed(
            read_at("log", read_log, given["log"]), read_at("pinned", read_pinned, given["pinned"])
        )
    return step, None
