# SPDX-License-Identifier: GPL-2.0-only
"""The house is built as its plan says: arrows only go down, and every file says whose it is."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "kvmref"
LICENCE = "# SPDX-License-Identifier: GPL-2.0-only"

LAYERS = (
    {"integers", "trace", "errors"},
    {"processor"},
    {"kernel"},
    {"machine"},
    {"harness"},
    {"cli", "conformance", "pytest_plugin"},
)
"""What there is in the package, from the ground up; each layer may import those before it."""

FACES = {"__init__", "__main__"}
"""The doors of the package, which belong to no layer."""

PURE = {"integers", "trace", "processor", "kernel"}
"""What knows of no file, no format, no time and no terminal."""

ALLOWED = {
    "__future__",
    "collections",
    "copy",
    "ctypes",
    "dataclasses",
    "enum",
    "struct",
    "typing",
}
"""The modules of the standard library that what is pure may use."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """Return which part of the package the module at *path* belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Yield the full names of the modules that *path* imports, anywhere in its text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            # Of a package one imports modules, and these are what counts.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def test_every_part_of_the_package_is_on_a_layer() -> None:
    assert set().union(*LAYERS, FACES) == {part(path) for path in modules()}


@pytest.mark.parametrize("level", range(len(LAYERS)), ids=lambda n: "+".join(sorted(LAYERS[n])))
def test_imports_only_go_down(level: int) -> None:
    higher: set[str] = set().union(*LAYERS[level + 1 :])
    assert [] == [
        f"{named(path)} imports {name}"
        for path in modules()
        if part(path) in LAYERS[level]
        for name in imported(path)
        if name.startswith("kvmref.") and name.split(".")[1] in higher
    ]


def test_the_common_code_of_x86_does_not_know_vmx() -> None:
    vmx = "kvmref.kernel.linux_3_3.vmx"
    assert [] == [
        f"{named(path)} imports {name}"
        for path in sorted((PACKAGE / "kernel" / "linux_3_3" / "x86").rglob("*.py"))
        for name in imported(path)
        if name == vmx or name.startswith(f"{vmx}.")
    ]


def test_the_kernel_and_the_processor_know_nothing_of_the_world() -> None:
    assert [] == [
        f"{named(path)} imports {name}"
        for path in modules()
        if part(path) in PURE
        for name in imported(path)
        if name.partition(".")[0] not in ALLOWED | {"kvmref"}
    ]


def sources() -> Iterator[Path]:
    """Yield the files of the project whose format has comments that start with ``#``."""
    for folder in ("kvmref", "tests", "tools", "conformance"):
        yield from (PROJECT / folder).rglob("*.py")
    for pattern in ("*.py", "*.toml", ".ci/*", ".editorconfig", ".gitignore"):
        yield from PROJECT.glob(pattern)


def test_every_file_opens_with_its_licence() -> None:
    without = []
    for path in sources():
        lines = path.read_text(encoding="utf-8").splitlines()
        if lines and lines[0].startswith("#!"):
            del lines[0]
        if not lines or lines[0] != LICENCE:
            without.append(named(path))
    assert [] == without


def test_every_module_says_what_it_is() -> None:
    assert [] == [
        named(path)
        for path in modules()
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after *statement*."""
    program = f"{statement}; import sys; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("statement", ["import kvmref", "from kvmref import Machine, Setup, steps"])
def test_importing_the_package_loads_nothing_heavy(statement: str) -> None:
    # What the interpreter loads for itself, such as the hooks of an editable install, is not ours.
    heavy = {"argparse", "json", "multiprocessing", "rich", "tomli", "tomllib", "typeguard"}
    assert set() == heavy & (loaded_by(statement) - loaded_by("pass"))


def test_importing_the_package_alone_does_not_even_load_ctypes() -> None:
    assert {"kvmref"} & loaded_by("import kvmref")
    assert not {"ctypes", "copy", "dataclasses"} & (loaded_by("import kvmref") - loaded_by("pass"))
