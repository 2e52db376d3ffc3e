# SPDX-License-Identifier: GPL-2.0-only
"""The example adapters: they are built with one command, and speak the protocol."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from recorded import IMMEDIATE_EXIT

from kvmref.cli import smoke
from kvmref.cli.exit_status import SUCCESS
from kvmref.harness.implementations.external import SubprocessImplementation
from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.recordings.recording import load
from kvmref.machine.keys import Value

PROJECT = Path(__file__).parents[1]
EXAMPLES = PROJECT / "examples"
CC = shutil.which("cc")

ADAPTERS = [
    "python",
    pytest.param("c", marks=pytest.mark.skipif(CC is None, reason="there is no C compiler")),
]

SHOWN = ["nested.vmxon", "nested.guest_mode", "nested.current_vmptr", "irr", "rip"]
"""Keys that both adapters show."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the adapter in C, with the command in its first lines."""
    folder = tmp_path_factory.mktemp("c")
    shutil.copy(EXAMPLES / "c" / "adapter.c", folder)
    text = (folder / "adapter.c").read_text(encoding="utf-8")
    (command,) = (line for line in text.splitlines() if line.strip().startswith("*     cc "))
    words = [*shlex.split(command.strip().removeprefix("*")), "-Wpedantic", "-Werror"]
    subprocess.run(words, cwd=folder, check=True)
    return folder / "adapter"


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> str:
    """Return the command of an adapter."""
    if request.param == "c":
        return str(request.getfixturevalue("built"))
    return shlex.join([sys.executable, "-I", str(EXAMPLES / "python" / "adapter.py")])


@contextmanager
def started(command: str) -> Iterator[SubprocessImplementation]:
    """Start an adapter, and end it whatever happens."""
    implementation = SubprocessImplementation(command, timeout=30)
    try:
        yield implementation
    finally:
        implementation.close()


def guest_modes(command: str) -> list[Value]:
    """Return whether L2 runs after each pass of the recording of the immediate exit."""
    recording = load(IMMEDIATE_EXIT)
    with started(command) as implementation:
        implementation.reset(recording.setup)
        modes = []
        for operation in recording.operations:
            assert implementation.step(operation.step) is not None
            if operation.results is not None:
                modes.append(implementation.observe(["nested.guest_mode"])["nested.guest_mode"])
    return modes


def test_an_example_speaks_the_protocol(adapter: str) -> None:
    assert SUCCESS == smoke.main(["--implementation", adapter])


def test_an_example_starts_l2_as_linux_does(adapter: str) -> None:
    recording = load(IMMEDIATE_EXIT)
    reference = MachineImplementation()
    reference.reset(recording.setup)
    with started(adapter) as implementation:
        implementation.reset(recording.setup)
        # Up to VMLAUNCH, which is the fourth thing that L1 does.
        for operation in recording.operations[:11]:
            reference.step(operation.step)
            assert implementation.step(operation.step) is not None
            assert reference.observe(SHOWN) == implementation.observe(SHOWN)


def test_the_example_in_python_exits_at_once_and_the_one_in_c_waits(built: Path) -> None:
    python = shlex.join([sys.executable, "-I", str(EXAMPLES / "python" / "adapter.py")])
    assert [0, 0, 0, 1, 1, 1, 0, 0, 0] == guest_modes(python)
    # L2 leaves for L1 one pass earlier, because that pass ran it and did not only ask for the exit.
    assert [0, 0, 0, 1, 1, 0, 0, 0, 0] == guest_modes(str(built))


def test_the_example_in_c_fails_exactly_the_vectors_that_it_declares(built: Path) -> None:
    deviations = EXAMPLES / "c" / "deviations.toml"
    command = [sys.executable, "-m", "kvmref", "check", "--implementation", str(built)]
    done = subprocess.run(
        [*command, "--deviations", str(deviations)], capture_output=True, text=True, cwd=PROJECT
    )
    assert SUCCESS == done.returncode, done.stdout
