# SPDX-License-Identifier: GPL-2.0-only
"""The complete state of a machine in a recording, and the differences between states.

In a file a state is nested objects, and a difference maps dotted paths to values. Here a state is
one flat dictionary from paths to values, in the form that `kvmref.machine.machine.Machine.state`
gives: bit patterns are integers, and a VMCS is a marker under its own name (``{}``, or ``None`` if
there is none) and one path for each field that isn't zero. So two states are equal if the
dictionaries are, and nothing but ``==`` is needed to compare them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kvmref.errors import InputError
from kvmref.harness.notation.values import (
    Reader,
    Shape,
    bits,
    mismatch,
    nullable,
    obj,
    reader_of,
    shown,
    spelled,
)
from kvmref.integers import Width
from kvmref.kernel.linux_3_3.vmx.vmcs12 import VMCS12_MEMBERS
from kvmref.machine.keys import KEYS, Value
from kvmref.processor.vmcs_fields import VMCS_FIELDS
from kvmref.trace import Kind

State = dict[str, object]
"""A complete state: path to value. Values are compared and shown, nothing else."""

_bits: Final = bits(Width(64))

_REGIONS: Final[dict[str, Mapping[str, int]]] = {
    "vmcs01": VMCS_FIELDS,
    "vmcs02": VMCS_FIELDS,
    "vmcs12": VMCS12_MEMBERS,
}
"""The objects that show nothing but fields that aren't zero, and the fields that they can have."""

_ABSENT: Final = frozenset({"vmcs02", "vmcs12"})
"""The regions that can be absent as a whole."""

_N: Final = Kind.NUMBER
_B: Final = Kind.BITS

_SHAPES: Final[dict[str, Shape]] = {
    **{name: key.kind for name, key in KEYS.items() if name not in _REGIONS},
    "loaded": Kind.VMCS,
    "nested.pool": [{"vmptr": _B, "launched": _N, "cpu": _N}],
    "pinned": [(_B, _N)],
    "irr": [_N],
    "dr": (_B,) * 6,
    "arch.pdptrs": (_B,) * 4,
    "run.ex": (_N, _B),
    "run.internal": (_N, _N, _B, _B),
    "run.debug": (_N, _B, _B, _B),
}
"""What the value of each key consists of."""

NULLABLE: Final = frozenset({"nested.apic_access_page"})
"""Keys whose value can be ``null``; besides them those of the fields of a VMCS, if it is absent."""

_READERS: Final[dict[str, Reader[Value]]] = {
    **{name: reader_of(shape) for name, shape in _SHAPES.items()},
    **{name: nullable(reader_of(_SHAPES[name])) for name in NULLABLE},
}

_FIELD: Final = nullable(bits(Width(64)))

_GROUPS: Final = frozenset(path.rpartition(".")[0] for path in _READERS) - {""}

read_pinned: Final = _READERS["pinned"]
"""The reader of the pinned pages of guest memory: their addresses, and how often each is pinned."""


@dataclass(slots=True, frozen=True)
class Delta:
    """The difference between two successive states."""

    cleared: tuple[str, ...]
    """VMCSs that are absent now; their fields are not listed one by one."""
    removed: tuple[str, ...]
    """Fields of a VMCS that are zero now."""
    stored: State
    """Everything else that differs, with its new value."""

    def apply(self, state: State) -> None:
        """Make *state* the later one of the two states."""
        for region in self.cleared:
            prefix = f"{region}."
            for path in [path for path in state if path.startswith(prefix)]:
                del state[path]
            state[region] = None
        for path in self.removed:
            state.pop(path, None)
        state.update(self.stored)


def read_state(value: object) -> State:
    """Read a complete state, and check that it has exactly the keys that this format has."""
    state: State = {}
    _flatten(obj(value), "", state)
    missing = [path for path in (*_READERS, *_REGIONS) if path not in state]
    if missing:
        raise _other_format("missing", missing)
    return state


def read_delta(value: object) -> Delta:
    """Read a difference."""
    cleared: list[str] = []
    removed: list[str] = []
    stored: State = {}
    for path, new in obj(value).items():
        try:
            if (reader := _READERS.get(path)) is not None:
                stored[path] = reader(new)
            elif path in _ABSENT:
                if new is None:
                    cleared.append(path)
                elif new == {}:
                    stored[path] = {}
                else:
                    raise mismatch(new, "null or {}")
            else:
                _require_field(path)
                if new is None:
                    removed.append(path)
                else:
                    stored[path] = _bits(new)
        except InputError as error:
            raise error.within(path) from None
    return Delta(tuple(cleared), tuple(removed), stored)


def write_value(path: str, value: object) -> str:
    """Return the *value* that a state has at *path* as it is written in a file."""
    return json.dumps(spelled(shape_of(path), value), default=repr, separators=(",", ":"))


def shape_of(key: str) -> Shape:
    """Return what the value of the observation key *key* consists of."""
    return _SHAPES.get(key, Kind.BITS)


def value_reader(key: str) -> Reader[Value] | None:
    """Return the reader of the values of an observation key; ``None`` if there is no such key."""
    reader = _READERS.get(key)
    if reader is None:
        region, _, field = key.partition(".")
        return _FIELD if field in _REGIONS.get(region, ()) else None
    return reader


def _flatten(group: Mapping[str, object], prefix: str, state: State) -> None:
    for name, value in group.items():
        path = prefix + name
        try:
            if (reader := _READERS.get(path)) is not None:
                state[path] = reader(value)
            elif path in _REGIONS:
                _flatten_region(path, value, state)
            elif path in _GROUPS:
                _flatten(obj(value), f"{path}.", state)
            else:
                raise _other_format("unknown", [path])
        except InputError as error:
            raise error.within(name) from None


def _flatten_region(region: str, value: object, state: State) -> None:
    if value is None and region in _ABSENT:
        state[region] = None
        return
    state[region] = {}
    for name, content in obj(value).items():
        path = f"{region}.{name}"
        try:
            _require_field(path)
            state[path] = _bits(content)
        except InputError as error:
            raise error.within(name) from None


def _require_field(path: str) -> None:
    region, _, name = path.partition(".")
    if name not in _REGIONS.get(region, ()):
        raise _other_format("unknown", [path])


def _other_format(what: str, paths: list[str]) -> InputError:
    return InputError(
        f"{what} key {shown(paths[0])} of the state: a recording of another format version?",
        "the keys that the README of the recordings lists",
    )
