# SPDX-License-Identifier: GPL-2.0-only
"""The plugin of pytest: vectors as tests, whose names are the ids of the vectors.

Every run of pytest in an environment where kvmref is installed loads this module. So it imports
nothing of the package until one of its options or fixtures is used, and defines no name that tests
of others are likely to have.

A test that takes `kvmref_vector` is run once for each vector, and `kvmref_check` tells what comes
of one: nothing if it passes, a failure that explains itself, an expected failure for a deviation
that is listed, or a skip if the implementation shows nothing that is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

if TYPE_CHECKING:
    from kvmref.harness.judging.deviations import Deviation
    from kvmref.harness.judging.runner import Examiner
    from kvmref.harness.vectors.model import Vector

_VECTOR: Final = "kvmref_vector"
_OPTIONS: Final = ("implementation", "kernel", "select", "deviations", "answer_timeout")


@dataclass(slots=True, frozen=True)
class Conformance:
    """What the options ask for."""

    vectors: tuple[Vector, ...]
    errors: tuple[str, ...]
    """What is wrong with vectors that couldn't be read."""
    deviations: dict[str, Deviation]


_ASKED: Final = pytest.StashKey[Conformance]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; they mean what they mean to ``kvmref check``."""
    group = parser.getgroup("kvmref", "conformance of nested VMX (kvmref)")
    group.addoption(
        "--implementation",
        dest="kvmref_implementation",
        metavar="CMD|module:attribute",
        help="what to test (default: the reference)",
    )
    group.addoption("--kernel", dest="kvmref_kernel", help="run the vectors for this kernel")
    group.addoption(
        "--select",
        dest="kvmref_select",
        action="append",
        default=[],
        metavar="PATTERN",
        help="run only these vectors: a glob on ids, flag:NAME, level:l0 or level:l1",
    )
    group.addoption(
        "--deviations",
        dest="kvmref_deviations",
        metavar="FILE",
        help="the vectors that are known to fail, and why: TOML",
    )
    group.addoption(
        "--answer-timeout",
        dest="kvmref_answer_timeout",
        type=float,
        metavar="S",
        help="seconds that a command has for one answer",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that make no sense before anything is collected."""
    if any(config.getoption(f"kvmref_{name}") not in (None, []) for name in _OPTIONS):
        _asked(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes a vector once for each of them."""
    if _VECTOR in metafunc.fixturenames:
        vectors = _asked(metafunc.config).vectors
        metafunc.parametrize(_VECTOR, vectors, ids=[vector.id for vector in vectors])


@pytest.fixture(scope="session")
def kvmref_errors(pytestconfig: pytest.Config) -> tuple[str, ...]:
    """Return what is wrong with vectors that couldn't be read, a line for each mistake."""
    return _asked(pytestconfig).errors


@pytest.fixture(scope="session")
def kvmref_examiner(pytestconfig: pytest.Config) -> Iterator[Examiner]:
    """Yield the implementation under test, which is started when it is needed."""
    from kvmref.harness.implementations.targets import Target
    from kvmref.harness.judging.runner import Examiner

    target = Target(pytestconfig.getoption("kvmref_implementation"), _timeout(pytestconfig))
    examiner = Examiner(target, _kernel(pytestconfig))
    yield examiner
    examiner.close()


@pytest.fixture
def kvmref_check(
    kvmref_examiner: Examiner,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> Callable[[Vector], None]:
    """Return what tests a vector, and fails with an explanation."""
    from kvmref.errors import InputError
    from kvmref.harness.judging.verdict import Outcome
    from kvmref.harness.reports.explanation import counts_in_words, explain, headline

    deviations = _asked(pytestconfig).deviations

    def check(vector: Vector) -> None:
        try:
            verdict = kvmref_examiner.test(vector)
        except InputError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        listed = deviations.get(vector.id)
        if verdict.outcome is Outcome.FAILED and listed is not None:
            pytest.xfail(listed.reason)
        if not verdict.masked_pass:
            _fail(f"{headline(verdict)}\n\n{explain(verdict)}")
        if listed is not None:
            _fail(f"{verdict.outcome.value}, but is listed as a deviation: {listed.reason}")
        if verdict.outcome is Outcome.MASKED:
            record_property("kvmref", counts_in_words(verdict))
            if verdict.checked == 0:
                pytest.skip("the implementation shows nothing that is expected")

    return check


def _fail(text: str) -> NoReturn:
    """Fail with *text* and without the calls that led here, which are not the reader's."""
    pytest.fail(text, pytrace=False)


def _kernel(config: pytest.Config) -> str:
    from kvmref.harness.vectors.names import KERNELS

    kernel: str = config.getoption("kvmref_kernel") or KERNELS[0]
    if kernel not in KERNELS:
        raise pytest.UsageError(f"--kernel: found {kernel!r} (accepted: {', '.join(KERNELS)})")
    return kernel


def _timeout(config: pytest.Config) -> float:
    from kvmref.harness.implementations.external import TIMEOUT

    given: float | None = config.getoption("kvmref_answer_timeout")
    if given is None:
        return TIMEOUT
    if not 0.0 < given <= 3600.0:
        accepted = "seconds, more than 0, to 3600"
        raise pytest.UsageError(f"--answer-timeout: found {given:g} (accepted: {accepted})")
    return given


def _asked(config: pytest.Config) -> Conformance:
    """Return what the options ask for; it is read when it is needed for the first time."""
    asked = config.stash.get(_ASKED, None)
    if asked is None:
        from kvmref.errors import KvmrefError

        try:
            asked = _read(config)
        except KvmrefError as error:
            raise pytest.UsageError(str(error)) from None
        config.stash[_ASKED] = asked
    return asked


def _read(config: pytest.Config) -> Conformance:
    from kvmref.errors import InputError
    from kvmref.harness.judging.deviations import judge, load_deviations, unknown_in_words
    from kvmref.harness.vectors.suite import load_suite, select

    kernel = _kernel(config)
    _timeout(config)
    file: str | None = config.getoption("kvmref_deviations")
    deviations = {} if file is None else load_deviations(Path(file))
    suite = load_suite()
    known = [vector.id for vector in suite.vectors]
    if not suite.errors:
        for deviation in judge((), deviations, known).unknown:
            raise InputError(unknown_in_words(deviation, known), file=file)
    vectors = [vector for vector in suite.vectors if kernel in vector.kernels]
    chosen = select(vectors, config.getoption("kvmref_select"))
    return Conformance(chosen, tuple(str(error) for error in suite.errors), deviations)
