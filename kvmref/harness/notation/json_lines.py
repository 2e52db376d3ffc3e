# SPDX-License-Identifier: GPL-2.0-only
"""JSON Lines, strictly: one object per line, UTF-8, no key twice, nothing that JSON does not have.

The parser of the standard library is more lenient; what it would let pass silently (the second of
two equal keys wins, ``NaN`` is a number) is refused here with what is accepted.
"""

from __future__ import annotations

import json
from typing import Final, NoReturn

from kvmref.errors import InputError
from kvmref.harness.notation.values import mismatch, shown


def text_of(line: bytes) -> str:
    """Return the text of *line*; raises `InputError` if it isn't UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        problem = f"byte {error.start + 1} of the line is {line[error.start]:#04x}"
        raise InputError(f"invalid UTF-8: {problem}", "UTF-8") from None


def object_of(text: str) -> dict[str, object]:
    """Return the object that *text* is; raises `InputError` if it isn't one."""
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        problem = f"invalid JSON: {error.msg} at column {error.colno}"
    except RecursionError:
        problem = "invalid JSON: nested too deeply"
    except ValueError:
        problem = "invalid JSON: an integer of thousands of digits"
    else:
        if isinstance(value, dict):
            return value
        raise mismatch(value, "one object per line")
    raise InputError(problem, "one object per line")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"key {shown(twice)} is given twice", "each key once")
    return result


def _not_json(constant: str) -> NoReturn:
    raise InputError(f"invalid JSON: {constant}", "numbers that JSON has")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_not_json)
