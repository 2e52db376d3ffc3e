# SPDX-License-Identifier: GPL-2.0-only
"""What was expected and what was observed, in words for people, on one line each.

Numbers are spelled as in a vector, followed by the names of what they consist of. Nothing is read
back from here, and it never fails, whatever an implementation has shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from kvmref.harness.notation.states import write_value
from kvmref.harness.notation.values import spelled, write_event
from kvmref.harness.vectors.model import EventPattern, ExpectedValue
from kvmref.harness.vectors.names import EVENT_PARTS, Names, names_of_argument, names_of_key
from kvmref.harness.wording.narration import delivered_in_words, injects
from kvmref.trace import EVENTS, Event, Kind

NOTHING: Final = "nothing"
"""What stands for a value that is not there."""


def value_in_words(key: str, value: object) -> str:
    """Return the *value* of an observation key, with the names of what it consists of."""
    if value is None:
        return NOTHING
    return _with_names(_plain(write_value(key, value)), names_of_key(key), value)


def expected_in_words(key: str, expected: ExpectedValue) -> str:
    """Return what was *expected* of an observation key."""
    value, mask = expected.value, expected.mask
    if mask is None or not isinstance(value, int):
        return value_in_words(key, value)
    bits = {name: bit for name, bit in names_of_key(key).flags.items() if bit & mask == bit}
    if mask & ~_union(bits):
        return f"{value & mask:#x} in the bits {mask:#x}"
    states = {
        "set": [name for name, bit in bits.items() if value & bit == bit],
        "clear": [name for name, bit in bits.items() if value & bit != bit],
    }
    return "; ".join(f"{', '.join(names)} {state}" for state, names in states.items() if names)


def item_in_words(event: Event) -> str:
    """Return an item of a log: its name, and its arguments by their names."""
    if isinstance(event, str):
        return event
    name, *values = event
    kinds = EVENTS.get(str(name), {})
    if not isinstance(name, str) or len(kinds) != len(values):
        return write_event(event)
    return _named(name, dict(zip(kinds, values, strict=True)))


def pattern_in_words(pattern: EventPattern) -> str:
    """Return an event that is looked for, with the arguments that matter."""
    return _named(pattern.name, pattern.arguments)


def _named(event: str, arguments: Mapping[str, object]) -> str:
    kinds = EVENTS.get(event, {})
    words = [event]
    for name, value in arguments.items():
        text = _plain(json.dumps(spelled(kinds.get(name, Kind.NUMBER), value), default=repr))
        words.append(f"{name}={_with_names(text, names_of_argument(event, name), value)}")
    return " ".join(words)


def _plain(text: str) -> str:
    """Return JSON *text* without the quotes around a string."""
    return text[1:-1] if text.startswith('"') else text


def _with_names(text: str, names: Names, value: object) -> str:
    if not isinstance(value, int):
        return text
    if names.event:
        described = _interruption(value)
    else:
        described = _flags(names, value)
    return f"{text} ({described})" if described else text


def _interruption(value: int) -> str:
    """Return the event that interruption information stands for; its error code is elsewhere."""
    if not injects(value):
        return "not valid" if value else ""
    bit = EVENT_PARTS["error_code"]
    code = " with an error code" if value & bit else ""
    return f"{delivered_in_words(value & ~bit)}{code}"


def _flags(names: Names, value: int) -> str:
    """Return the names for *value*, and what they leave over; nothing if there are none."""
    if not names.flags and not names.choices:
        return ""
    bits = {name: bit for name, bit in names.flags.items() if bit and bit & value == bit}
    rest = value & ~_union(bits)
    choice = next((name for name, number in names.choices.items() if number == rest), None)
    if choice is not None:
        return " + ".join([choice, *bits])
    if rest and not bits:
        return ""
    return " + ".join([*bits, *([f"{rest:#x}"] if rest else [])]) or "none"


def _union(bits: Mapping[str, int]) -> int:
    union = 0
    for bit in bits.values():
        union |= bit
    return union
