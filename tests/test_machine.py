# SPDX-License-Identifier: GPL-2.0-only
"""The step API: machines are deterministic, can be copied, started anew, and looked at safely."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import FOLDER, IMMEDIATE_EXIT, stem

from kvmref.errors import UnknownKeyError, UnsupportedStepError
from kvmref.harness.recordings.recording import load
from kvmref.kernel.linux_3_3.vmx.vmcs12 import VMCS12_MEMBERS
from kvmref.machine.keys import KEYS, Value
from kvmref.machine.machine import Machine
from kvmref.machine.steps import (
    Mem,
    PokeVmcs12,
    Set,
    Step,
    StepResult,
    WriteRegisters,
    WriteVmcs12,
)
from kvmref.processor.vmcs_fields import VMCS_FIELDS

CHOSEN = [
    FOLDER / f"{name}.jsonl.gz"
    for name in ("hand-11-kick-vmclear", "hand-15-soft-vnmi-spurious-exit", "0001", "1801", "2088")
]
"""Two short ones and three long ones; 1801 has hooks, and 2088 ends with ``destroy``."""

ALL_KEYS = [
    *KEYS,
    *(f"vmcs01.{field}" for field in VMCS_FIELDS),
    *(f"vmcs02.{field}" for field in VMCS_FIELDS),
    *(f"vmcs12.{member}" for member in VMCS12_MEMBERS),
]
"""Every key that there is."""

Seen = tuple[StepResult, dict[str, Value], list[list[int]]]
"""What can be seen after a step: its result, the state, and the pages that are held."""


def perform(machine: Machine, step: Step) -> Seen:
    """Perform *step*, and return what can be seen then."""
    result = machine.step(step)
    return result, machine.state(), machine.pinned()


def fresh(file: Path) -> tuple[Machine, list[Step]]:
    """Return a machine made from the setup of a recording, and the steps of the recording."""
    recording = load(file)
    return Machine(recording.setup), [operation.step for operation in recording.operations]


@pytest.mark.parametrize("file", CHOSEN, ids=stem)
def test_a_copy_goes_on_as_the_original_does(file: Path) -> None:
    machine, steps = fresh(file)
    copies: list[tuple[int, Machine]] = []
    seen: list[Seen] = []
    for number, step in enumerate(steps):
        if number % 10 == 0:
            copies.append((number, machine.fork()))
        seen.append(perform(machine, step))
    for number, copied in copies:
        assert seen[number:] == [perform(copied, step) for step in steps[number:]]


@pytest.mark.parametrize("file", CHOSEN, ids=stem)
def test_a_copy_leaves_the_original_alone(file: Path) -> None:
    machine, steps = fresh(file)
    expected, _ = fresh(file)
    for number, step in enumerate(steps):
        if number % 10 == 0:
            copied = machine.fork()
            for ahead in steps[number : number + 10]:
                copied.step(ahead)
            copied.step(Mem(0x0, 8, 0xFFFFFFFFFFFFFFFF))
        assert perform(expected, step) == perform(machine, step)


def test_a_copy_of_a_copy_is_a_copy() -> None:
    machine, steps = fresh(IMMEDIATE_EXIT)
    second = machine.fork().fork()
    assert [perform(machine, step) for step in steps] == [perform(second, step) for step in steps]


@pytest.mark.parametrize("file", CHOSEN, ids=stem)
def test_a_reset_forgets_everything(file: Path) -> None:
    machine, steps = fresh(file)
    initial = machine.state(), machine.pinned(), machine.effective()
    first = [perform(machine, step) for step in steps]
    machine.reset(machine.setup)
    assert initial == (machine.state(), machine.pinned(), machine.effective())
    assert first == [perform(machine, step) for step in steps]


@pytest.mark.parametrize("file", [IMMEDIATE_EXIT, CHOSEN[2]], ids=stem)
def test_looking_at_a_machine_changes_nothing(file: Path) -> None:
    machine, steps = fresh(file)
    unobserved, _ = fresh(file)
    for step in steps:
        result = machine.step(step)
        before = machine.state()
        machine.observe(ALL_KEYS)
        assert before == machine.state()
        assert (result, before) == (unobserved.step(step), unobserved.state())


def test_what_is_observed_is_what_the_state_says() -> None:
    machine, steps = fresh(IMMEDIATE_EXIT)
    for step in steps:
        machine.step(step)
    state = machine.state()
    for key, value in machine.observe(ALL_KEYS).items():
        assert state.get(key, 0) == value, key


def test_keys_are_observed_in_the_order_in_which_they_were_asked_for() -> None:
    keys = ["vmcs01.GUEST_RIP", "requests", "rip"]
    assert keys == list(Machine().observe(keys))


def test_fields_of_a_vmcs_that_is_not_there_are_nothing() -> None:
    assert {"vmcs02.GUEST_RIP": None, "vmcs12.guest_rip": None} == Machine().observe(
        ["vmcs02.GUEST_RIP", "vmcs12.guest_rip"]
    )


def test_every_key_says_who_can_see_it() -> None:
    assert {"l0", "l1"} == {key.level for key in KEYS.values()}


def test_every_key_says_what_it_is() -> None:
    assert [] == [name for name, key in KEYS.items() if not key.doc or key.name != name]


@pytest.mark.parametrize(
    "key", ["", "nested", "vmcs01", "vmcs01.guest_rip", "vmcs12.GUEST_RIP", "vmcs03.GUEST_RIP"]
)
def test_an_unknown_key_is_refused_by_name(key: str) -> None:
    with pytest.raises(UnknownKeyError, match=f"no observation key is called '{key}'"):
        Machine().observe([key])


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (WriteRegisters({"eax": 0}), "no register is called 'eax'"),
        (Set({"cr9": 0}), "no variable is called 'cr9'"),
        (WriteVmcs12(0x30000, {"guest_cr8": 0}), "struct vmcs12 has no member 'guest_cr8'"),
    ],
)
def test_a_step_that_names_something_unknown_is_refused(step: Step, message: str) -> None:
    with pytest.raises(UnsupportedStepError, match=message):
        Machine().step(step)


def test_poking_a_vmcs12_that_is_not_there_does_nothing() -> None:
    machine = Machine()
    before = machine.state()
    machine.step(PokeVmcs12({"launch_state": 1}))
    assert before == machine.state()


DIGEST = """
import hashlib, sys
from kvmref.harness.recordings.recording import load
from kvmref.machine.machine import Machine
recording = load(sys.argv[1])
machine = Machine(recording.setup)
digest = hashlib.sha256()
for operation in recording.operations:
    digest.update(repr((machine.step(operation.step), machine.state())).encode())
print(digest.hexdigest())
"""


def test_nothing_depends_on_the_order_of_hashes() -> None:
    def digest(seed: str) -> str:
        """Return the digest of the logs and the states of a recording."""
        project = str(FOLDER.parents[1])
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": project}
        command = [sys.executable, "-c", DIGEST, str(CHOSEN[3])]
        return subprocess.run(
            command, env=environment, capture_output=True, check=True, text=True
        ).stdout

    first = digest("1")
    assert 65 == len(first)
    assert first == digest("2")
