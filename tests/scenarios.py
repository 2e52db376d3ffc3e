# SPDX-License-Identifier: GPL-2.0-only
"""Small vectors for the tests of whoever runs vectors, as files and as values."""

from __future__ import annotations

import shutil
from pathlib import Path
from textwrap import dedent

from kvmref.harness.vectors.directories import suite_directory
from kvmref.harness.vectors.model import (
    EventPattern,
    Expectation,
    ExpectedValue,
    Vector,
    VectorStep,
)
from kvmref.harness.vectors.suite import load_suite
from kvmref.kernel.setup import Setup
from kvmref.machine.steps import Step

_FILES = {
    "injection/one-off": """
        title = "What L1 injects is injected once"
        why = "L2 gets the same interrupt with every entry."
        reason = "prepare_vmcs12 clears the valid bit."
        level = "l1"
        kernels = ["3.3"]
        functions = ["prepare_vmcs12"]
        flags = ["injection"]
        start = "launched"
        [vmcs12]
        vm_entry_intr_info_field = { type = "external interrupt", vector = 0x30 }
        [[step]]
        do = "exit"
        reason = "CPUID"
        len = 2
        [[step]]
        do = "enter"
        note = "L2 runs, and exits to L1"
        [step.expect.values]
        "nested.guest_mode" = 0
        "vmcs12.vm_entry_intr_info_field" = 0x30
    """,
    "immediate-exit/request": """
        title = "An interrupt for L1 before the first run of L2 asks for an immediate exit"
        why = "L1's interrupt waits until L2 happens to exit."
        reason = "enable_irq_window makes the request after the test for it, so the pass bails out."
        level = "l0"
        kernels = ["3.3"]
        functions = ["enable_irq_window", "vcpu_enter_guest"]
        flags = ["irq"]
        start = "launched"
        [[step]]
        do = "irq"
        vector = 81
        [[step]]
        do = "enter"
        note = "bails out"
        [step.expect]
        ret = 1
        never = ["kvm_guest_enter"]
        [step.expect.values]
        "requests" = ["IMMEDIATE_EXIT"]
        [[step]]
        do = "enter"
        note = "runs L2, and comes back at once"
        [step.expect]
        log = ["smp_send_reschedule", { event = "vmentry", vmcs = "02" }, "reschedule_interrupt"]
        never = ["default_exit"]
        [step.expect.values]
        "requests" = ["EVENT"]
    """,
}

RESET = Setup()


def write_suite(folder: Path) -> Path:
    """Write a suite with the two vectors of this module in *folder*, and return its root."""
    points = suite_directory().parent / "starting-points"
    shutil.copytree(points, folder / "starting-points", dirs_exist_ok=True)
    root = folder / "vectors"
    for name, text in _FILES.items():
        file = root / f"{name}.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"format = 1\n{dedent(text)}")
    return root


def suite(folder: Path) -> dict[str, Vector]:
    """Return these two vectors, by id."""
    loaded = load_suite(write_suite(folder))
    assert () == loaded.errors
    return {vector.id: vector for vector in loaded.vectors}


def vector(
    *steps: VectorStep, name: str = "folder/name", preamble: tuple[Step, ...] = ()
) -> Vector:
    """Return a vector of *steps*, about nothing in particular."""
    return Vector(
        id=name,
        title="A title",
        why="It matters.",
        reason="It is so.",
        level="l0",
        kernels=("3.3",),
        functions=("vcpu_enter_guest",),
        commits=(),
        flags=(),
        start="l1",
        setup=RESET,
        preamble=preamble,
        steps=steps,
    )


def expecting(
    step: Step,
    *,
    ret: int | None = None,
    values: dict[str, ExpectedValue] | None = None,
    log: tuple[EventPattern, ...] = (),
    never: tuple[EventPattern, ...] = (),
) -> VectorStep:
    """Return *step* with what is expected after it."""
    return VectorStep(step, "a note", Expectation(ret, values or {}, log, never))
