# SPDX-License-Identifier: GPL-2.0-only
"""The integer types of C, for typeguard: `int` with a `kvmref.integers.Width` must be within it.

``bool`` counts as an integer, as it does in C.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from typeguard import TypeCheckError, TypeCheckMemo

from kvmref.integers import Width

Checker = Callable[[object, object, tuple[object, ...], TypeCheckMemo], None]
"""What typeguard calls to check a value: value, type, arguments of the type, context."""


@cache
def width_guard(width: Width) -> Callable[[object], object]:
    """Return the function that returns its argument if it fits *width*, and raises if not."""
    name, minimum, maximum = width.name, width.minimum, width.maximum

    def guard(value: object) -> object:
        if not isinstance(value, int):
            raise TypeCheckError(f"is not an instance of int, let alone {name}")
        if not minimum <= value <= maximum:
            raise TypeCheckError(f"is {value:#x}, which is not a {name}")
        return value

    return guard


@cache
def _checker(width: Width) -> Checker:
    guard = width_guard(width)

    def check(value: object, *_: object) -> None:
        guard(value)

    return check


def lookup_width(_: object, __: tuple[object, ...], extras: tuple[object, ...]) -> Checker | None:
    """Return the checker of an integer type, whose annotation has a width among its *extras*."""
    for extra in extras:
        if isinstance(extra, Width):
            return _checker(extra)
    return None
