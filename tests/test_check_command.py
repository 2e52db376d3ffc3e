# SPDX-License-Identifier: GPL-2.0-only
"""``kvmref check``: what it prints, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mutants
import pytest
from scenarios import write_suite

from kvmref.cli.main import main
from kvmref.cli.vector_arguments import load_asked, root_of
from kvmref.harness.judging.deviations import load_deviations
from kvmref.harness.vectors import suite

CALLED = "mutants:"


PROJECT = Path(__file__).parents[1]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the root of a small suite, which stands for the one that comes with kvmref too."""
    root = write_suite(tmp_path)
    monkeypatch.setattr(suite, "suite_directory", lambda: root)
    return str(root)


def test_the_reference_passes_the_vectors_that_come_with_it() -> None:
    command = [sys.executable, "-m", "kvmref", "check"]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "" == run.stderr
    lines = run.stdout.splitlines()
    assert "folder" == lines[0].split()[0]
    assert "strict 100 %, masked 100 %" in lines[-1]


@pytest.mark.usefixtures("root")
def test_without_arguments_the_vectors_that_come_with_kvmref_are_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert 0 == main(["check"])
    assert "2 vectors: 2 passed" in capsys.readouterr().out


def test_a_failure_is_explained_and_counted(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == main(["check", root, "--implementation", f"{CALLED}SkipsTheIpi"])
    printed = capsys.readouterr().out
    assert printed.startswith("FAILED immediate-exit/request\n")
    assert "kvmref 0.1.0: 2 vectors: 1 passed, 1 failed; strict 50 %, masked 50 %;" in printed
    assert "\x1b" not in printed


def test_what_is_masked_lowers_the_strict_score_only(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main(["check", root, "-q", "-i", f"{CALLED}ShowsLittle"])
    printed = capsys.readouterr().out
    assert 1 == printed.count("\n")
    assert printed.startswith("shows-little 1.0: 2 vectors: 1 passed, 1 masked; strict 50 %")
    assert "masked 100 %; 2 expected values compared, 8 masked" in printed


def test_an_implementation_that_breaks_has_an_exit_status_of_its_own(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 3 == main(["check", root, "-i", f"{CALLED}RaisesOnEntry"])
    printed = capsys.readouterr().out
    assert "error           no answer" in printed
    assert "Traceback" not in printed


def test_those_that_were_not_run_are_only_counted(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(root) / "injection" / "one-off.toml").read_text()
    for number in range(5):
        (Path(root) / "injection" / f"copy-{number}.toml").write_text(text)
    assert 3 == main(["check", root, "-i", f"{CALLED}Raises"])
    printed = capsys.readouterr().out
    assert 5 == printed.count("ERRORED ")
    assert "2 vectors not run: gave up after 5 errors in a row" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-vector"], "'no-such-vector' selects no vector"),
        (["--select", "flag:nonsense"], "'flag:nonsense' selects no vector"),
        (["--implementation", "no_such_module:x"], "no module is called 'no_such_module'"),
        (["--implementation", "/no/such/program"], "/no/such/program"),
        (["--implementation", f"{CALLED}AnotherKernel"], "another does not implement kernel 3.3"),
        (["--deviations", "no-such-file.toml"], "no-such-file.toml: can't be read"),
        (["--report", "report.pdf"], "the report 'report.pdf' (accepted: a file named .html"),
    ],
)
@pytest.mark.usefixtures("root")
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(["check", *arguments])
    printed = capsys.readouterr()
    assert message in printed.err
    assert 1 == printed.err.count("\n")


@pytest.mark.parametrize(
    "arguments", [["--jobs", "0"], ["--timeout", "x"], ["--kernel", "2.6"], ["-q", "-v"]]
)
def test_a_wrong_option_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["check", *arguments])
    assert 2 == left.value.code
    assert "usage: kvmref check" in capsys.readouterr().err


def test_a_vector_that_can_not_be_read_does_not_lose_the_others(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Path(root) / "immediate-exit" / "broken.toml"
    broken.write_text("format = 1\n")
    assert 2 == main(["check", root])
    printed = capsys.readouterr()
    assert "2 vectors: 2 passed" in printed.out
    assert f"{broken}: missing title" in printed.err


def test_the_help_has_the_exit_statuses_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    printed = capsys.readouterr().out
    for text in ("exit status:", "  3    the implementation broke", "examples:", "--deviations"):
        assert text in printed


def test_verbose_has_a_line_for_each_vector(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["check", root, "-v"])
    assert "injection/one-off: passed\n" in capsys.readouterr().out


def test_processes_change_nothing_but_the_time(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for jobs in ("1", "2"):
        assert 1 == main(["check", root, "-i", f"{CALLED}SkipsTheIpi", "--jobs", jobs])
        printed.append(capsys.readouterr().out.rpartition(" in ")[0])
    assert printed[0] == printed[1]


# On a terminal.


def use_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make standard output and standard error look like a terminal from now on."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def test_a_terminal_gets_a_bar_and_a_table_with_colours(
    root: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_a_terminal(monkeypatch)
    assert 1 == main(["check", root, "-i", f"{CALLED}SkipsTheIpi"])
    printed = capsys.readouterr()
    assert "\x1b[1;31m" in printed.out
    assert "immediate-exit" in printed.out.rpartition("folder")[2]
    assert "\x1b[" in printed.err


def test_no_color_is_respected(
    root: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_a_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    assert 1 == main(["check", root, "-i", f"{CALLED}SkipsTheIpi"])
    assert "\x1b" not in capsys.readouterr().out


def test_quiet_has_no_bar(
    root: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_a_terminal(monkeypatch)
    assert 0 == main(["check", root, "-q"])
    assert "" == capsys.readouterr().err


# Deviations.


def test_a_drafted_file_makes_the_run_as_expected(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "deviations.toml")
    mutant = ["check", root, "-i", f"{CALLED}SkipsTheIpi"]
    assert 1 == main([*mutant, "--write-deviations", file])
    assert ["immediate-exit/request"] == list(load_deviations(Path(file)))
    capsys.readouterr()
    assert 0 == main([*mutant, "--deviations", file])
    printed = capsys.readouterr().out
    assert "FAILED" not in printed
    assert "1 failed (1 as listed)" in printed


def test_a_deviation_that_passes_again_fails_the_run(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "deviations.toml"
    file.write_text('[[deviation]]\nvector = "injection/one-off"\nreason = "it was wrong"\n')
    assert 1 == main(["check", root, "--deviations", str(file)])
    assert "injection/one-off: passed, but is listed as a deviation" in capsys.readouterr().out


def test_a_deviation_of_an_unknown_vector_fails_the_run(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "deviations.toml"
    file.write_text('[[deviation]]\nvector = "injection/one-of"\nreason = "misspelt"\n')
    assert 1 == main(["check", root, "--deviations", str(file)])
    assert 'did you mean "injection/one-off"?' in capsys.readouterr().out
    assert 0 == main(["check", f"{root}/injection", "--deviations", str(file)])


# What is run.


def test_vectors_are_files_folders_or_names(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = f"{root}/injection/one-off.toml"
    assert ["injection/one-off"] == [one.id for one in load_asked([file, file]).vectors]
    assert ["injection/one-off"] == [one.id for one in load_asked([f"{root}/injection"]).vectors]
    assert 2 == len(load_asked([root]).vectors)
    assert load_asked([root]) == load_asked([str(Path(root).parent)])
    monkeypatch.chdir(Path(root) / "injection")
    assert ["injection/one-off"] == [one.id for one in load_asked([root, "one-off.toml"]).vectors][
        -1:
    ]


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("name", ["injection/one-off", "injection", "inj*"])
def test_a_name_is_one_of_the_vectors_that_come_with_kvmref(name: str) -> None:
    asked = load_asked([name])
    assert ["injection/one-off"] == [one.id for one in asked.vectors]
    assert not asked.complete


def test_the_root_of_a_suite_has_starting_points_beside_it(tmp_path: Path) -> None:
    (tmp_path / "starting-points").mkdir()
    inner = tmp_path / "vectors" / "folder"
    inner.mkdir(parents=True)
    assert tmp_path / "vectors" == root_of(inner)


def test_select_chooses_by_flag_and_level(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["check", root, "-v", "--select", "flag:irq"])
    assert "injection/one-off" not in capsys.readouterr().out
    assert 0 == main(["check", root, "-v", "--select", "level:l1"])
    assert "immediate-exit/request" not in capsys.readouterr().out


# What is written, and what happens on the way.


def test_reports_are_written_in_the_formats_of_their_suffixes(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("report.json", "report.xml")]
    options = [option for file in files for option in ("--report", str(file))]
    assert 0 == main(["check", root, *options])
    assert 2 == json.loads(files[0].read_text())["score"]["passed"]
    assert "<testsuites" in files[1].read_text()
    assert 2 == main(["check", root, "--report", str(tmp_path / "nowhere" / "report.json")])
    assert "can't be written" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--quiet", "--verbose"])
def test_reports_are_written_even_if_whoever_reads_the_output_goes_away(
    option: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-u", "-m", "kvmref", "check", "requests", option]
    command += ["--report", str(report)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert 141 == process.wait()
    score = json.loads(report.read_text())["score"]
    assert (1.0, 30) == (score["strict"], score["passed"])


@pytest.mark.parametrize(
    ("redirection", "problem"),
    [
        (">&-", "kvmref: standard output is closed\n"),
        (">/dev/full", "kvmref: can't go on: No space left on device\n"),
    ],
)
def test_an_output_that_can_not_be_written_is_one_line(redirection: str, problem: str) -> None:
    command = f'"{sys.executable}" -m kvmref check nmi -q {redirection}'
    run = subprocess.run(command, shell=True, cwd=PROJECT, capture_output=True, text=True)
    assert (2, problem) == (run.returncode, run.stderr)


def test_ctrl_c_keeps_what_was_done_and_reports_it(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants.Interrupted, "resets", 0)
    report = tmp_path / "report.json"
    assert 130 == main(["check", root, "-i", f"{CALLED}Interrupted", "--report", str(report)])
    printed = capsys.readouterr()
    assert "1 vector: 1 passed" in printed.out
    assert "interrupted after 1 of 2 vectors" in printed.err
    assert json.loads(report.read_text())["interrupted"]


def test_the_version_loads_nothing_of_the_reference() -> None:
    program = (
        "import sys; from kvmref.cli.main import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert not {"kvmref.machine.machine", "rich", "ctypes", "json"} & loaded
