# SPDX-License-Identifier: GPL-2.0-only
"""No input makes the loader of vectors fail with anything but its own error.

Hypothesis is in the extra ``dev`` only, because it needs a compiler for Rust where there is no
wheel; without it, this module is skipped.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from kvmref.errors import InvalidVectorError
from kvmref.harness.notation.operations import OPERATIONS
from kvmref.harness.vectors.directories import suite_directory
from kvmref.harness.vectors.expectations import EXPECTATIONS, all_keys
from kvmref.harness.vectors.loader import OPTIONAL, REQUIRED, load_vector, read_vector
from kvmref.harness.vectors.names import names_by_user
from kvmref.harness.vectors.reading import Place, read_toml
from kvmref.harness.vectors.starting_points import SETUP, load_starting_points
from kvmref.harness.vectors.suite import vector_files
from kvmref.kernel.linux_3_3.vmx.vmcs12 import VMCS12_MEMBERS
from kvmref.processor.vmcs_fields import VMCS_FIELDS
from kvmref.trace import EVENTS

hypothesis: Any = pytest.importorskip(
    "hypothesis", reason="fuzz tests need hypothesis: install kvmref[dev]"
)
st: Any = hypothesis.strategies

POINTS, _ = load_starting_points(suite_directory().parent / "starting-points")
VALID: Final = [path.read_text(encoding="utf-8") for path in vector_files(suite_directory())[::8]]

EXAMPLES: Final = 300
"""How many inputs each test tries."""


def check(run: Callable[..., None], *strategies: Any) -> None:
    """Call *run* with what *strategies* find."""
    settings = hypothesis.settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    settings(hypothesis.given(*strategies)(run))()


def load(file: Path) -> None:
    """Load *file*, which may be anything, and look at what is reported."""
    try:
        load_vector(file, file.parent, POINTS)
    except InvalidVectorError as error:
        accept(error)


def accept(error: InvalidVectorError) -> None:
    """Make sure that *error* has a line for each mistake, and that no line is endless."""
    assert error.errors
    for line in error.errors:
        assert len(str(line).splitlines()) == 1
        assert len(str(line)) < 2000


def test_any_bytes(tmp_path: Path) -> None:
    file = tmp_path / "vector.toml"

    def run(contents: bytes) -> None:
        file.write_bytes(contents)
        load(file)

    check(run, st.binary(max_size=2000))


def test_any_text(tmp_path: Path) -> None:
    file = tmp_path / "vector.toml"

    def run(text: str) -> None:
        file.write_text(text, encoding="utf-8")
        load(file)

    check(run, st.text(alphabet="[]{}=\"'.,#\n\\0x1e-_abc\t \u00e9\U0001f600", max_size=400))


def test_valid_vectors_with_something_replaced(tmp_path: Path) -> None:
    file = tmp_path / "vector.toml"
    pieces = st.one_of(
        st.text(max_size=20),
        st.sampled_from(["[", "]]", "{", "}", '"', "'''", "[[step]]\n", "1.5", "nan", "-1"]),
        st.sampled_from(["9" * 30, "2012-03-18", "true", '""', "{}", "[]", "[[[[]]]]", "0x" * 9]),
    )

    def run(text: str, start: int, length: int, piece: str) -> None:
        start %= len(text)
        contents = f"{text[:start]}{piece}{text[start + length :]}"
        file.write_text(contents, encoding="utf-8", errors="replace")
        load(file)

    check(run, st.sampled_from(VALID), st.integers(0, 5000), st.integers(0, 40), pieces)


WORDS: Final = sorted(
    {
        *REQUIRED,
        *OPTIONAL,
        *EXPECTATIONS,
        *OPERATIONS,
        *(argument for operation in OPERATIONS.values() for argument in operation.arguments),
        *all_keys(),
        *EVENTS,
        *(argument for arguments in EVENTS.values() for argument in arguments),
        *SETUP,
        *VMCS12_MEMBERS,
        *VMCS_FIELDS,
        *(name for kind in names_by_user().values() for name in kind.all),
        *("do", "note", "expect", "event", "set", "clear", "type", "vector", "error_code", "none"),
    }
)
"""Words that mean something somewhere in a vector."""

KEYS = st.one_of(st.sampled_from(WORDS), st.text(max_size=8))

SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**5000), max_value=10**5000),
    st.floats(),
    st.sampled_from(WORDS),
    st.sampled_from(["0x0", "0xffffffffffffffff", "0x10000000000000000", "01", "02", "l1"]),
    st.text(max_size=30),
    st.datetimes(),
    st.dates(),
    st.times(),
    st.just(datetime.datetime(2012, 3, 18, tzinfo=datetime.timezone.utc)),
)

VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)  # fmt: skip
"""Whatever a TOML parser can return."""

CONTENTS: Final = [read_toml(path) for path in vector_files(suite_directory())[::8]]


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the way to every value in *value*."""
    found = [path] if path else []
    if isinstance(value, Mapping):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


def replaced(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    """Return a copy of *value* that has *new* at *path*."""
    if not path:
        return new
    copied: Any = dict(value) if isinstance(value, Mapping) else list(value)
    copied[path[0]] = replaced(copied[path[0]], path[1:], new)
    return copied


def read(contents: dict[str, object]) -> None:
    """Read *contents*, and look at what is reported."""
    try:
        read_vector(contents, "folder/name", POINTS, Place("name.toml"))
    except InvalidVectorError as error:
        accept(error)


def test_any_contents() -> None:
    check(read, st.dictionaries(KEYS, VALUES, max_size=12))


def test_valid_contents_with_another_value_somewhere() -> None:
    def run(contents: dict[str, object], index: int, new: object) -> None:
        ways = places(contents)
        read(replaced(contents, ways[index % len(ways)], new))

    check(run, st.sampled_from(CONTENTS), st.integers(0, 1000), VALUES)


def test_valid_contents_with_another_step() -> None:
    def run(contents: dict[str, object], step: dict[str, object]) -> None:
        steps = contents["step"]
        assert isinstance(steps, list)
        read({**contents, "step": [step, *steps]})

    step = st.builds(
        lambda name, rest: {**rest, "do": name},
        st.sampled_from(sorted(OPERATIONS)),
        st.dictionaries(KEYS, VALUES, max_size=5),
    )
    check(run, st.sampled_from(CONTENTS), step)


def test_valid_contents_with_other_expected_values() -> None:
    def run(contents: dict[str, object], expect: dict[str, object]) -> None:
        read({**contents, "step": [{"do": "enter", "expect": expect}]})

    expect = st.fixed_dictionaries(
        {},
        optional={
            "ret": SCALARS,
            "values": st.dictionaries(st.sampled_from(all_keys()), VALUES, max_size=4),
            "log": st.lists(
                st.one_of(
                    VALUES,
                    st.builds(
                        lambda name, rest: {**rest, "event": name},
                        st.sampled_from(sorted(EVENTS)),
                        st.dictionaries(KEYS, VALUES, max_size=3),
                    ),
                ),
                max_size=3,
            ),
        },
    )
    check(run, st.sampled_from(CONTENTS), expect)


def test_valid_contents_with_another_setup() -> None:
    def run(contents: dict[str, object], setup: dict[str, object]) -> None:
        read({**contents, "setup": setup})

    numbers = st.one_of(st.booleans(), st.integers(0, 1), st.integers(0, 2**32 - 1), VALUES)
    setup = st.dictionaries(st.sampled_from(sorted(SETUP)), numbers, min_size=1, max_size=6)
    check(run, st.sampled_from(CONTENTS), setup)
