# SPDX-License-Identifier: GPL-2.0-only
"""Deviations: vectors that an implementation is known to fail, each with the reason.

They are declared in a TOML file::

    [[deviation]]
    vector = "immediate-exit/irq-before-first-run"
    reason = "not ported yet: the request is ignored"
    url = "https://example.org/issues/42"              # optional

A failure that is listed is as expected. One that isn't listed fails a run, and so does a vector
that is listed and doesn't fail any more: the list is to be kept true. An error is never expected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kvmref.errors import InputError
from kvmref.harness.judging.verdict import Outcome, Verdict
from kvmref.harness.vectors.names import suggestion
from kvmref.harness.vectors.reading import Place, array, keys, read_toml, table, text

_HEADER: Final = """\
# Vectors that this implementation is known to fail. Say for each of them why, and where it is
# tracked (url = "..."); a vector that passes again must be taken out.
"""

_UNPRINTABLE: Final = re.compile("[\x7f-\x9f]")


@dataclass(slots=True, frozen=True)
class Deviation:
    """A vector that is known to fail."""

    vector: str
    """Its id."""
    reason: str
    url: str = ""
    """Where to read more; empty if there is no such place."""


Deviations = Mapping[str, Deviation]
"""Deviations by the ids of their vectors."""


@dataclass(slots=True, frozen=True)
class Judgement:
    """The verdicts of a run, sorted by what they mean for it."""

    errors: tuple[Verdict, ...]
    """The implementation broke."""
    failures: tuple[Verdict, ...]
    """Failures that are not listed."""
    expected: tuple[Verdict, ...]
    """Failures that are listed."""
    stale: tuple[Verdict, ...]
    """Vectors that are listed and don't fail."""
    unknown: tuple[Deviation, ...]
    """Deviations of vectors that don't exist."""

    @property
    def as_expected(self) -> bool:
        """Whether there is nothing to report."""
        return not (self.errors or self.failures or self.stale or self.unknown)


def load_deviations(path: Path) -> dict[str, Deviation]:
    """Read the file at *path*.

    Raises `kvmref.errors.InvalidVectorError`, which has a line for each mistake.
    """
    contents = read_toml(path)
    whole = Place(str(path))
    keys(contents, ["deviation"], [], whole)
    found: dict[str, Deviation] = {}
    listed = whole.at("deviation")
    for index, entry in enumerate(array(contents.get("deviation", []), listed)):
        place = listed.at(index)
        deviation = _read(entry, place)
        if deviation.vector in found:
            place.at("vector").report(f"{json.dumps(deviation.vector)} for the second time")
        found[deviation.vector] = deviation
    whole.finish()
    return found


def _read(entry: object, place: Place) -> Deviation:
    given = table(entry, place)
    keys(given, ["vector", "reason", "url"], ["vector", "reason"], place)
    values = {key: text(given[key], place.at(key)) for key in given if key in _FIELDS}
    return Deviation(values.get("vector", ""), values.get("reason", ""), values.get("url", ""))


_FIELDS: Final = ("vector", "reason", "url")


def judge(
    verdicts: Iterable[Verdict], deviations: Deviations, known: Collection[str] | None = None
) -> Judgement:
    """Sort *verdicts*; *known* are the ids of all vectors that exist, if that is known."""
    sorted_: dict[str, list[Verdict]] = {"errors": [], "failures": [], "expected": [], "stale": []}
    for verdict in verdicts:
        listed = verdict.vector.id in deviations
        if verdict.outcome is Outcome.ERRORED:
            sorted_["errors"].append(verdict)
        elif verdict.outcome is Outcome.FAILED:
            sorted_["expected" if listed else "failures"].append(verdict)
        elif listed:
            sorted_["stale"].append(verdict)
    unknown = [
        deviation
        for identifier, deviation in deviations.items()
        if known is not None and identifier not in known
    ]
    return Judgement(
        **{name: tuple(found) for name, found in sorted_.items()}, unknown=tuple(unknown)
    )


def unknown_in_words(deviation: Deviation, known: Iterable[str]) -> str:
    """Return the line that says that there is no such vector as that of *deviation*."""
    identifier = deviation.vector
    return f"deviation of an unknown vector {json.dumps(identifier)}{suggestion(identifier, known)}"


def write_deviations(path: Path, verdicts: Sequence[Verdict], listed: Deviations) -> int:
    """Draft a file that lists the failures among *verdicts*, and return how many deviations it has.

    What *listed* says of them is kept, and so is what it says of vectors without a verdict; those
    that pass are left out. A new reason says what differs, until somebody knows better. Raises
    `InputError` if the file can't be written.
    """
    deviations = dict(listed)
    for verdict in verdicts:
        if verdict.outcome is Outcome.FAILED:
            deviations.setdefault(verdict.vector.id, _draft(verdict))
        elif verdict.masked_pass:
            deviations.pop(verdict.vector.id, None)
    parts = [_HEADER, *(_written(deviations[identifier]) for identifier in sorted(deviations))]
    try:
        path.write_text("\n".join(parts), encoding="utf-8")
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror or error}", file=str(path)) from None
    return len(deviations)


def _draft(verdict: Verdict) -> Deviation:
    first = verdict.differences[0]
    return Deviation(
        verdict.vector.id,
        f"step {first.step}: {first.key}: expected {first.expected}, observed {first.observed}",
    )


def _written(deviation: Deviation) -> str:
    pairs = {"vector": deviation.vector, "reason": deviation.reason, "url": deviation.url}
    lines = [f"{key} = {_string(value)}" for key, value in pairs.items() if value]
    return "\n".join(["[[deviation]]", *lines, ""])


def _string(value: str) -> str:
    """Return *value* as a string of TOML, which escapes what JSON does, and the control codes."""
    return _UNPRINTABLE.sub(
        lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False)
    )
