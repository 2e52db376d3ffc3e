# SPDX-License-Identifier: GPL-2.0-only
"""The suite as one JSON object, for those who use it without Python.

Everything that a vector takes from its starting point is in it, expected values are included, and
nothing is left to look up. Setups and steps are in the notation of the wire protocol. Expected
numbers are JSON numbers below 2^53, which every JSON parser reads exactly, and ``"0x…"`` from there
on. The object is described in ``spec/vectors.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from kvmref import __version__
from kvmref.harness.notation.setups import write_setup
from kvmref.harness.notation.steps import write_step
from kvmref.harness.vectors.model import (
    EventPattern,
    Expectation,
    ExpectedValue,
    Vector,
    VectorStep,
)

EXPORT_VERSION: Final = 1
"""Version of the exported object; it changes when a reader of the previous one would go wrong."""

_EXACT: Final = 1 << 53

Exported = dict[str, object]
"""An object of JSON."""


def export(vectors: Iterable[Vector]) -> Exported:
    """Return the object that stands for *vectors*."""
    return {
        "suite": "kvmref",
        "version": EXPORT_VERSION,
        "kvmref": __version__,
        "vectors": [_vector(vector) for vector in vectors],
    }


def _vector(vector: Vector) -> Exported:
    return {
        "id": vector.id,
        "title": vector.title,
        "why": vector.why,
        "reason": vector.reason,
        "level": vector.level,
        "kernels": list(vector.kernels),
        "functions": list(vector.functions),
        "commits": list(vector.commits),
        "flags": list(vector.flags),
        "start": vector.start,
        "setup": write_setup(vector.setup),
        "preamble": [write_step(step) for step in vector.preamble],
        "steps": [_step(step) for step in vector.steps],
    }


def _step(step: VectorStep) -> Exported:
    return {
        "step": write_step(step.step),
        "note": step.note,
        "expect": _expectation(step.expect),
    }


def _expectation(expect: Expectation) -> Exported:
    """Return what is expected; what does not matter is not there."""
    exported: Exported = {}
    if expect.ret is not None:
        exported["ret"] = expect.ret
    if expect.values:
        exported["values"] = {key: _value(value) for key, value in expect.values.items()}
    if expect.log:
        exported["log"] = [_pattern(pattern) for pattern in expect.log]
    if expect.never:
        exported["never"] = [_pattern(pattern) for pattern in expect.never]
    return exported


def _value(expected: ExpectedValue) -> Exported:
    exported: Exported = {"value": _plain(expected.value)}
    if expected.mask is not None:
        exported["mask"] = _plain(expected.mask)
    return exported


def _pattern(pattern: EventPattern) -> Exported:
    return {"event": pattern.name, "arguments": _plain(pattern.arguments)}


def _plain(value: object) -> object:
    """Return *value* as JSON has it."""
    match value:
        case int():
            return int(value) if abs(value) < _EXACT else hex(value)
        case bytes():
            return value.hex()
        case list():
            return [_plain(item) for item in value]
        case Mapping():
            return {name: _plain(item) for name, item in value.items()}
        case _:
            return value
