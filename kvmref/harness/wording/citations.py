# SPDX-License-Identifier: GPL-2.0-only
"""Where a C function is: in Linux, and in the port.

Both stand in the docstrings of the port (``Source: arch/x86/kvm/vmx.c:1169-1195``). They are parsed
when somebody asks for the first time, and the port is not imported for it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_KERNELS: Final = Path(__file__).parents[2] / "kernel"

_PORTS: Final = {"3.3": "linux_3_3"}
"""Package of the port of each kernel, in ``kvmref.kernel``."""

_SOURCE: Final = re.compile(r"^\s*Source: (\S+?):(\d+)(?:-(\d+))?$", re.MULTILINE)


@dataclass(slots=True, frozen=True)
class Citation:
    """Where one C function is."""

    function: str
    file: str
    """Its C file, from the root of the kernel's source."""
    first: int
    """Its first line; ``last`` is its last one."""
    last: int
    module: str
    """The file of its port, from the root of this project."""

    def __str__(self) -> str:
        """Return the C file and the lines."""
        lines = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.file}:{lines}"


def citations(function: str, kernel: str = "3.3") -> tuple[Citation, ...]:
    """Return where the C function called *function* is; usually in one place, perhaps nowhere."""
    return _index(kernel).get(function, ())


@cache
def _index(kernel: str) -> dict[str, tuple[Citation, ...]]:
    port = _PORTS.get(kernel)
    if port is None:
        return {}
    found: dict[str, tuple[Citation, ...]] = {}
    for path in sorted((_KERNELS / port).rglob("*.py")):
        for citation in _cited(path):
            found[citation.function] = (*found.get(citation.function, ()), citation)
    return found


def _cited(path: Path) -> Iterator[Citation]:
    """Yield what the module at *path* cites."""
    module = path.relative_to(_KERNELS.parents[1]).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            for file, first, last in _SOURCE.findall(ast.get_docstring(node) or ""):
                yield Citation(node.name, file, int(first), int(last or first), module)
