# SPDX-License-Identifier: GPL-2.0-only
"""What ``import kvmref`` gives, and what it does not do."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kvmref


def imported_by(statement: str) -> set[str]:
    """Return the modules of the package that a fresh interpreter has loaded after *statement*."""
    program = f"{statement}; import sys; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name for name in run.stdout.split() if name.partition(".")[0] == "kvmref"}


def test_importing_the_package_loads_nothing_else_of_it() -> None:
    assert {"kvmref"} == imported_by("import kvmref")


def test_a_public_name_is_loaded_when_it_is_first_used() -> None:
    assert "kvmref.machine.machine" in imported_by("from kvmref import Machine")


def test_the_public_names_are_listed_before_they_are_loaded() -> None:
    assert {"Machine", "Setup", "steps", "__version__"} <= set(dir(kvmref))


def test_the_public_names_are_those_of_their_modules() -> None:
    from kvmref.kernel.setup import Setup
    from kvmref.machine import steps
    from kvmref.machine.machine import Machine

    assert (Machine, Setup, steps) == (kvmref.Machine, kvmref.Setup, kvmref.steps)


def test_there_are_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Hypervisor'"):
        kvmref.__getattr__("Hypervisor")
