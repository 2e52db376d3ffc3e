# SPDX-License-Identifier: GPL-2.0-only
"""Where a machine and a recording part: what differs, and how it is shown.

Nothing here decides whether two observations are equal; that is ``==``. This module is asked only
when they aren't, and finds the difference that came first: an item of the log if the logs differ,
else the first key in the order of the observation. It never fails, whatever was observed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kvmref.harness.notation.states import write_value
from kvmref.harness.notation.values import shortened, write_event
from kvmref.trace import Event

ABSENT: Final = "absent"
"""What is shown for a key or an item of the log that one side doesn't have."""

_CONTEXT: Final = 4
"""How many items of the log are shown on either side of the one that differs."""

_LONGEST_VALUE: Final = 400
_LONGEST_ITEM: Final = 56
_MOST_FURTHER: Final = 12
"""How many further differences are shown."""

_DECIMAL: Final = ("n", "ret")
_DECIMAL_GROUP: Final = "effective."


@dataclass(slots=True, frozen=True)
class Observation:
    """Everything that can be seen after an operation, either recorded or observed."""

    values: Mapping[str, object]
    """Keys and values; besides those of the state, ``ret`` and other results."""
    log: list[Event] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class Difference:
    """One key, or one item of the log, with both values as they are written in a recording."""

    key: str
    expected: str
    observed: str


@dataclass(slots=True, frozen=True)
class LogRow:
    """The items at one index of both logs."""

    index: int
    expected: str
    observed: str
    differs: bool


@dataclass(slots=True, frozen=True)
class Divergence:
    """The first operation of a recording whose results differ, and in what."""

    line: int
    """Line of the recording."""
    operation: str
    """The operation as JSON, without its results."""
    first: Difference
    further: tuple[Difference, ...] = ()
    """What else differs after the same operation."""
    log: tuple[LogRow, ...] = ()
    """Both logs, around the first item that differs; if none does, where they end."""

    def report(self, recording: str) -> str:
        """Return the lines that describe this divergence of *recording*."""
        lines = [
            f"{recording}:{self.line}: diverges at {self.first.key}",
            f"  op        {self.operation}",
            f"  key       {self.first.key}",
            f"  expected  {shortened(self.first.expected, _LONGEST_VALUE)}",
            f"  observed  {shortened(self.first.observed, _LONGEST_VALUE)}",
        ]
        if self.further:
            lines.append(f"  further   {len(self.further)} more:")
            lines += [
                f"    {further.key}: expected {shortened(further.expected, _LONGEST_ITEM)},"
                f" observed {shortened(further.observed, _LONGEST_ITEM)}"
                for further in self.further[:_MOST_FURTHER]
            ]
            if len(self.further) > _MOST_FURTHER:
                lines.append(f"    and {len(self.further) - _MOST_FURTHER} more")
        if self.log:
            width = max(len("expected"), *(len(row.expected) for row in self.log))
            lines.append(f"  log       {'expected':{width}}  observed")
            lines += [
                f"  {'>' if row.differs else ' '} {row.index:5}   {row.expected:{width}}"
                f"  {row.observed}"
                for row in self.log
            ]
        return "\n".join(lines)


def diverge(line: int, operation: str, expected: Observation, observed: Observation) -> Divergence:
    """Return the divergence of two observations that aren't equal."""
    index = _first_difference(expected.log, observed.log)
    differences = _differing_keys(expected.values, observed.values)
    if index is not None:
        differences.insert(
            0,
            Difference(f"log[{index}]", _item(expected.log, index), _item(observed.log, index)),
        )
    first, *further = differences
    rows = _rows(expected.log, observed.log, index)
    return Divergence(line, without_results(operation), first, tuple(further), rows)


def raised(line: int, operation: str, error: Exception) -> Divergence:
    """Return the divergence of a machine that raised *error* instead of performing an operation."""
    place = ""
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f" (in {code.co_name}, line {traceback.tb_lineno} of {code.co_filename})"
        traceback = traceback.tb_next
    message = " ".join(str(error).split())
    observed = f"{type(error).__name__}: {message}{place}"
    first = Difference("exception", ABSENT, observed)
    return Divergence(line, without_results(operation), first)


def without_results(operation: str) -> str:
    """Return the JSON of an operation or an init record, without results and not too long."""
    given = json.loads(operation)
    results = ("ret", "log", "changed", "pinned", "state", "effective", "vmcs_config", "ctls")
    arguments = {key: value for key, value in given.items() if key not in results}
    return shortened(json.dumps(arguments, separators=(",", ":")), _LONGEST_VALUE)


def _differing_keys(
    expected: Mapping[str, object], observed: Mapping[str, object]
) -> list[Difference]:
    keys = [*expected, *sorted(observed.keys() - expected.keys())]
    return [
        Difference(key, _value(expected, key), _value(observed, key))
        for key in keys
        if key not in expected or key not in observed or expected[key] != observed[key]
    ]


def _value(values: Mapping[str, object], key: str) -> str:
    if key not in values:
        return ABSENT
    if key in _DECIMAL or key.startswith(_DECIMAL_GROUP):
        return json.dumps(values[key], default=repr)
    return write_value(key, values[key])


def _first_difference(expected: Sequence[Event], observed: Sequence[Event]) -> int | None:
    for index, (wanted, seen) in enumerate(zip(expected, observed, strict=False)):
        if wanted != seen:
            return index
    return None if len(expected) == len(observed) else min(len(expected), len(observed))


def _item(log: Sequence[Event], index: int) -> str:
    return write_event(log[index]) if index < len(log) else ABSENT


def _rows(
    expected: Sequence[Event], observed: Sequence[Event], index: int | None
) -> tuple[LogRow, ...]:
    end = max(len(expected), len(observed))
    centre = end if index is None else index
    return tuple(
        LogRow(
            row,
            shortened(_item(expected, row), _LONGEST_ITEM),
            shortened(_item(observed, row), _LONGEST_ITEM),
            expected[row : row + 1] != observed[row : row + 1],
        )
        for row in range(max(0, centre - _CONTEXT), min(end, centre + _CONTEXT + 1))
    )
