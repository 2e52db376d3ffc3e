# SPDX-License-Identifier: GPL-2.0-only
"""The integer types of C, as annotated Python integers.

A type checker sees plain ``int``. The metadata states the width, and the test suite checks every
argument, result, local variable and stored attribute against it; outside the tests the metadata
costs nothing. Arithmetic that can leave a width is masked where it happens, with the ``U*`` masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final


@dataclass(frozen=True, slots=True)
class Width:
    """The width of an integer type: how many bits, and whether one of them is a sign."""

    bits: int
    signed: bool = False

    @property
    def minimum(self) -> int:
        """The smallest value of the type."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def maximum(self) -> int:
        """The largest value of the type."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def name(self) -> str:
        """The kernel's name of the type, such as ``u32``."""
        return f"{'s' if self.signed else 'u'}{self.bits}"

    def holds(self, value: int) -> bool:
        """Tell whether *value* can be represented."""
        return self.minimum <= value <= self.maximum


u8 = Annotated[int, Width(8)]
u16 = Annotated[int, Width(16)]
u32 = Annotated[int, Width(32)]
u64 = Annotated[int, Width(64)]
s32 = Annotated[int, Width(32, signed=True)]
s64 = Annotated[int, Width(64, signed=True)]

U8: Final = 0xFF
U16: Final = 0xFFFF
U32: Final = 0xFFFFFFFF
U64: Final = 0xFFFFFFFFFFFFFFFF


def sign_extend_32(value: int) -> s32:
    """Return the low 32 bits of *value*, read as a signed C ``int``."""
    value &= U32
    return value - (1 << 32) if value & 0x80000000 else value
