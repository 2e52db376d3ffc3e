# SPDX-License-Identifier: GPL-2.0-only
"""The plugin of pytest, in runs of their own, with a small suite that stands for the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from scenarios import write_suite

pytest_plugins = ["pytester"]

PROJECT = Path(__file__).parents[1]

USES_A_SMALL_SUITE = """
from pathlib import Path
from kvmref.harness.vectors import suite

suite.suite_directory = lambda: Path(__file__).parent / "vectors"
"""

REQUEST = "test_conformance.py::test_vector[immediate-exit/request]"
ONE_OFF = "test_conformance.py::test_vector[injection/one-off]"


@pytest.fixture
def conformance(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a folder in which the tests of an installed kvmref are run on a small suite."""
    path = [str(PROJECT), str(PROJECT / "tests"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    write_suite(pytester.path)
    pytester.makeconftest(USES_A_SMALL_SUITE)
    text = (PROJECT / "kvmref" / "conformance" / "test_conformance.py").read_text()
    pytester.makepyfile(test_conformance=text)
    return pytester


def run(conformance: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return conformance.runpytest_subprocess("-p", "kvmref.pytest_plugin", "-v", *arguments)


def test_every_vector_is_a_test_named_after_it(conformance: pytest.Pytester) -> None:
    result = run(conformance)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([f"{REQUEST.replace('[', '[[]')} PASSED*"])


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        (["-k", "injection"], 1),
        ([ONE_OFF], 1),
        (["--select", "flag:irq"], 2),
        (["--select", "inj*", "--select", "level:l0"], 3),
        (["--kernel", "3.3"], 3),
        (["--implementation", "mutants:Mutant"], 3),
    ],
)
def test_tests_are_chosen_as_always_or_as_vectors(
    conformance: pytest.Pytester, arguments: list[str], passed: int
) -> None:
    run(conformance, *arguments).assert_outcomes(passed=passed, deselected=2 * ("-k" in arguments))


def test_a_failure_explains_itself_without_a_traceback(conformance: pytest.Pytester) -> None:
    result = run(conformance, "--implementation", "mutants:SkipsTheIpi", "--junitxml=report.xml")
    result.assert_outcomes(passed=2, failed=1)
    output = result.stdout.str()
    assert "log after step 2: expected smp_send_reschedule, observed not in the log" in output
    assert "  why it matters  L1's interrupt waits until L2 happens to exit." in output
    assert "runner.py" not in output
    cases = ElementTree.parse(conformance.path / "report.xml").iter("testcase")
    assert "test_vector[immediate-exit/request]" in [case.get("name") for case in cases]


def test_the_last_failures_can_be_run_alone(conformance: pytest.Pytester) -> None:
    mutant = ("--implementation", "mutants:SkipsTheIpi")
    run(conformance, *mutant)
    run(conformance, *mutant, "--lf").assert_outcomes(failed=1)


def test_vectors_can_be_spread_over_processes(conformance: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    run(conformance, "-n2").assert_outcomes(passed=3)


def test_an_implementation_that_breaks_is_a_failure_and_the_others_are_run(
    conformance: pytest.Pytester,
) -> None:
    result = run(conformance, "--implementation", "mutants:RaisesOnEntry")
    result.assert_outcomes(passed=1, failed=2)
    assert "ERRORED immediate-exit/request" in result.stdout.str()


def test_what_is_not_shown_is_skipped(conformance: pytest.Pytester) -> None:
    run(conformance, "--implementation", "mutants:ShowsNothing").assert_outcomes(
        passed=1, skipped=2
    )


def test_a_deviation_is_an_expected_failure(conformance: pytest.Pytester) -> None:
    conformance.path.joinpath("known.toml").write_text(
        '[[deviation]]\nvector = "immediate-exit/request"\nreason = "no IPIs yet"\n'
    )
    result = run(
        conformance, "--implementation", "mutants:SkipsTheIpi", "--deviations", "known.toml", "-rx"
    )
    result.assert_outcomes(passed=2, xfailed=1)
    assert "no IPIs yet" in result.stdout.str()


def test_a_deviation_that_passes_is_a_failure(conformance: pytest.Pytester) -> None:
    conformance.path.joinpath("known.toml").write_text(
        '[[deviation]]\nvector = "immediate-exit/request"\nreason = "no IPIs yet"\n'
    )
    result = run(conformance, "--deviations", "known.toml")
    result.assert_outcomes(passed=2, failed=1)
    assert "passed, but is listed as a deviation: no IPIs yet" in result.stdout.str()


def test_a_file_that_is_no_vector_loses_only_itself(conformance: pytest.Pytester) -> None:
    broken = conformance.path / "vectors" / "injection" / "broken.toml"
    broken.write_text("format = 1\n")
    result = run(conformance)
    result.assert_outcomes(passed=2, failed=1)
    assert "injection/broken.toml: missing title" in result.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--select", "flag:nonsense"], "'flag:nonsense' selects no vector"),
        (["--kernel", "2.6"], "--kernel: found '2.6' (accepted: 3.3)"),
        (["--answer-timeout", "0"], "--answer-timeout: found 0 (accepted: seconds, more"),
        (["--answer-timeout", "nan"], "--answer-timeout: found nan (accepted: seconds"),
        (["--deviations", "nothing.toml"], "nothing.toml: can't be read"),
        (["--deviations", "unknown.toml"], 'deviation of an unknown vector "a/b"'),
    ],
)
def test_a_wrong_option_ends_the_run_with_one_line(
    conformance: pytest.Pytester, arguments: list[str], message: str
) -> None:
    conformance.path.joinpath("unknown.toml").write_text(
        '[[deviation]]\nvector = "a/b"\nreason = "c"\n'
    )
    result = run(conformance, *arguments)
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    assert message in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


def test_an_implementation_that_does_not_exist_is_told_in_one_line(
    conformance: pytest.Pytester,
) -> None:
    result = run(conformance, "--implementation", "no_such_module:thing")
    result.assert_outcomes(passed=1, failed=2)
    assert "no module is called 'no_such_module'" in result.stdout.str()
    assert "During handling" not in result.stdout.str()


def test_the_package_is_a_suite_of_tests(conformance: pytest.Pytester) -> None:
    conformance.path.joinpath("conftest.py").unlink()
    result = run(conformance, "--pyargs", "kvmref.conformance", "--collect-only", "-q")
    assert "test_vector[immediate-exit/" in result.stdout.str()


def test_whoever_does_not_use_the_plugin_does_not_pay_for_it() -> None:
    program = "import kvmref.pytest_plugin, sys; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    loaded = {name for name in found if name.partition(".")[0] == "kvmref"}
    assert {"kvmref", "kvmref.pytest_plugin"} == loaded
