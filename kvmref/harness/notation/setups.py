# SPDX-License-Identifier: GPL-2.0-only
"""A `Setup` as a JSON object, the ``config`` of recordings and of the wire.

The object has every member of the setup. All are bit patterns, flags too: ``"0x1"``, ``"0x0"``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Final, get_type_hints

from kvmref.harness.notation.values import bits, obj, read_at, require_keys, width_of
from kvmref.integers import Width
from kvmref.kernel.setup import Setup

_FLAG: Final = Width(1)

SETUP_WIDTHS: Final = {
    name: width_of(annotation) or _FLAG
    for name, annotation in get_type_hints(Setup, include_extras=True).items()
}
"""How wide each member is."""

_READERS: Final = {name: bits(width) for name, width in SETUP_WIDTHS.items()}


def read_setup(value: object) -> Setup:
    """Read a setup; raises `InputError` unless it has exactly the members of one."""
    given = obj(value)
    require_keys(given, _READERS, "another format version?")
    setup: Callable[..., Setup] = Setup
    members: dict[str, int | bool] = {}
    for name, reader in _READERS.items():
        pattern = read_at(name, reader, given[name])
        members[name] = bool(pattern) if SETUP_WIDTHS[name] is _FLAG else pattern
    return setup(**members)


def write_setup(setup: Setup) -> dict[str, object]:
    """Return the object that stands for *setup*."""
    return {field.name: hex(getattr(setup, field.name)) for field in fields(setup)}
