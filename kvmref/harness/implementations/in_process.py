# SPDX-License-Identifier: GPL-2.0-only
"""Implementations under test in this process: the reference itself, and any object of a module.

An object of somebody else's module may raise anything and return anything. `load_implementation`
puts it behind a guard, which turns both into an `ImplementationError`, so that a mistake there
never looks like one of kvmref.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar, runtime_checkable

from kvmref import __version__
from kvmref.errors import InputError
from kvmref.harness.implementations.interface import (
    Answer,
    Hello,
    Implementation,
    ImplementationError,
)
from kvmref.harness.notation.states import value_reader
from kvmref.kernel.setup import Setup
from kvmref.machine.keys import Value
from kvmref.machine.machine import Machine
from kvmref.machine.steps import Enter, Step

T = TypeVar("T")

_METHODS: Final = ("hello", "reset", "step", "observe", "close")


@runtime_checkable
class _Complete(Implementation, Protocol):
    """Whatever has all methods of an implementation; what they return is not known yet."""


class MachineImplementation:
    """The reference as an `Implementation`."""

    __slots__ = ("machine",)

    def __init__(self) -> None:
        """Start with the default setup."""
        self.machine = Machine()

    def hello(self) -> Hello:
        """Say that it can do and show everything."""
        return Hello("kvmref", __version__, ("3.3",), levels=("l0", "l1"), log=True, ret=True)

    def reset(self, setup: Setup) -> None:
        """Start anew from *setup*."""
        self.machine.reset(setup)

    def step(self, step: Step) -> Answer:
        """Do *step*."""
        result = self.machine.step(step)
        return Answer(result.ret if isinstance(step, Enter) else None, result.log)

    def observe(self, keys: Sequence[str]) -> dict[str, Value]:
        """Return the values of those of *keys* that exist."""
        return self.machine.observe(key for key in keys if value_reader(key) is not None)

    def close(self) -> None:
        """Do nothing: there is nothing to end."""


class GuardedImplementation:
    """An `Implementation` whose mistakes are `ImplementationError`."""

    __slots__ = ("_guarded", "_name")

    def __init__(self, guarded: Implementation, name: str) -> None:
        """Guard *guarded*, which messages call *name*."""
        self._guarded = guarded
        self._name = name

    def hello(self) -> Hello:
        """Return what the implementation says of itself."""
        return self._call("hello", Hello, self._guarded.hello)

    def reset(self, setup: Setup) -> None:
        """Start anew from *setup*."""
        self._call("reset", object, self._guarded.reset, setup)

    def step(self, step: Step) -> Answer | None:
        """Do *step*; ``None`` if the implementation does not support it."""
        if (answer := self._call("step", object, self._guarded.step, step)) is None:
            return None
        if isinstance(answer, Answer):
            return answer
        raise self._wrong("step", answer, "Answer or None")

    def observe(self, keys: Sequence[str]) -> dict[str, Value]:
        """Return the values of those of *keys* that the implementation can show."""
        values: dict[str, Value] = self._call("observe", dict, self._guarded.observe, keys)
        return values

    def close(self) -> None:
        """Say goodbye."""
        self._call("close", object, self._guarded.close)

    def _call(
        self, method: str, expected: type[T], call: Callable[..., object], *arguments: object
    ) -> T:
        try:
            result = call(*arguments)
        except ImplementationError:
            raise
        except Exception as error:
            problem = f"{self._name}: {method} raised {type(error).__name__}: {error}"
            raise ImplementationError(problem, traceback.format_exc().splitlines()) from error
        if isinstance(result, expected):
            return result
        raise self._wrong(method, result, expected.__name__)

    def _wrong(self, method: str, result: object, expected: str) -> ImplementationError:
        found = type(result).__name__
        return ImplementationError(f"{self._name}: {method} returned {found}, not {expected}")


def load_implementation(name: str) -> Implementation:
    """Return the implementation that *name*, ``module:attribute``, stands for.

    A class or a function is called without arguments first. Modules are looked for in the current
    directory too. Raises `InputError` if there is no such thing, or if it isn't an implementation.
    """
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise InputError(f"found {name!r}", "module:attribute")
    found = _attribute(module_name, attribute)
    if isinstance(found, type) or not isinstance(found, _Complete):
        if not callable(found):
            raise InputError(f"{name} has no methods {', '.join(_METHODS)}", "an implementation")
        try:
            found = found()
        except Exception as error:
            problem = f"{name} raised {type(error).__name__}: {error}"
            raise ImplementationError(problem, traceback.format_exc().splitlines()) from error
    if isinstance(found, _Complete):
        return GuardedImplementation(found, name)
    missing = [method for method in _METHODS if not callable(getattr(found, method, None))]
    raise InputError(f"{name} has no method {', '.join(missing)}", ", ".join(_METHODS))


def _attribute(module_name: str, attribute: str) -> object:
    current = os.getcwd()
    if current not in sys.path:
        sys.path.insert(0, current)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(
                f"{module_name} needs a module {error.name!r} that is missing"
            ) from None
        raise InputError(f"no module is called {module_name!r}", "module:attribute") from None
    except Exception as error:
        problem = f"{module_name} can't be imported: {type(error).__name__}: {error}"
        raise InputError(problem) from error
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise InputError(f"{module_name} has no attribute {attribute!r}", "module:attribute")
    return found
