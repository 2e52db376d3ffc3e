# SPDX-License-Identifier: GPL-2.0-only
"""The sessions of nox: tests on every Python, lint, types, coverage by recordings, benchmarks."""

from __future__ import annotations

from pathlib import Path

import nox

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
RECORDINGS = sorted(str(file) for file in Path("conformance/recordings").glob("*.jsonl.gz"))

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "types", "tests"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests, with every annotation checked; a Python that is not installed is skipped."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and layout."""
    session.install("ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package and of its tests."""
    session.install("-e", ".[dev]")
    session.run("mypy")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Give the loader of vectors whatever Hypothesis can think of."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "pytest", "tests/fuzz", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Report what of kernel and processor the recordings reach, then with the unit tests."""
    session.install("-e", ".[test]", "coverage")
    session.run(
        "coverage",
        "run",
        "--source=kvmref.kernel,kvmref.processor",
        "-m",
        "kvmref",
        "replay",
        "--jobs=1",
        *RECORDINGS,
    )
    session.run("coverage", "report")
    session.run("coverage", "json", "-q", "-o", "coverage.json")
    session.run("python", "tools/unreached.py", "coverage.json")
    session.run(
        "coverage",
        "run",
        "--append",
        "--source=kvmref.kernel,kvmref.processor",
        "-m",
        "pytest",
        "-q",
        "tests/unit",
        "tests/test_machine.py",
        env={"KVMREF_TYPECHECK": "0"},
    )
    session.run("coverage", "json", "-q", "-o", "coverage.json")
    session.run("python", "tools/unreached.py", "coverage.json")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure, without checking types."""
    session.install("-e", ".[test]")
    session.run(
        "python",
        "-m",
        "pytest",
        "tests/benchmarks",
        "--benchmark-enable",
        "--benchmark-only",
        "--benchmark-columns=mean,stddev,median,ops,rounds",
        *session.posargs,
        env={"KVMREF_TYPECHECK": "0"},
    )
