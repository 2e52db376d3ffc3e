# SPDX-License-Identifier: GPL-2.0-only
"""Messages as lines: one JSON object without blanks, in ASCII, and a newline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from kvmref.errors import InputError
from kvmref.harness.notation.json_lines import object_of, text_of

LONGEST_LINE: Final = 4 << 20
"""The most bytes that a line may have, with its newline."""

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def encode(message: Mapping[str, object]) -> bytes:
    """Return the line of *message*."""
    return _ENCODER.encode(message).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, object]:
    """Return the message that *line* is; raises `InputError` if it isn't one object of JSON."""
    try:
        return object_of(text_of(line))
    except RecursionError:
        raise InputError("nested too deeply", "a few levels") from None
