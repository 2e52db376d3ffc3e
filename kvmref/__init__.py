# SPDX-License-Identifier: GPL-2.0-only
"""A reference implementation of KVM's nested-VMX paths, packaged as a test oracle.

A `Machine` is made from a `Setup`; it takes one of the `steps` after another and tells what must
happen. Importing the package imports nothing else of it: a name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kvmref.kernel.setup import Setup
    from kvmref.machine import steps
    from kvmref.machine.machine import Machine

__all__ = ["Machine", "Setup", "__version__", "steps"]

__version__ = "0.1.0"

_CLASSES: Final = {"Machine": "kvmref.machine.machine", "Setup": "kvmref.kernel.setup"}
_MODULES: Final = {"steps": "kvmref.machine.steps"}


def __getattr__(name: str) -> object:
    """Load the public name *name*, and keep it."""
    value: object
    if name in _CLASSES:
        value = getattr(import_module(_CLASSES[name]), name)
    elif name in _MODULES:
        value = import_module(_MODULES[name])
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List what the package has, with the public names that are not loaded yet."""
    return sorted({*globals(), *__all__})
