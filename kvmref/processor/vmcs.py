# SPDX-License-Identifier: GPL-2.0-only
"""VMCS regions: where a processor keeps the state of a virtual machine.

A region is a map from field encoding to value. Regions know nothing of who uses them; what is
checked at VM entry, and what VM exits write, is the business of the processor that runs the guest.
"""

from __future__ import annotations

from typing import Final

from kvmref.integers import u32, u64
from kvmref.processor.vmcs_fields import FIELD_MASKS, VMCS_FIELD_NAMES


class Vmcs:
    """One VMCS region (SDM volume 3, 25.2).

    ``fields`` holds every field, by encoding; all of them are zero in a new region. It is public
    because reading and writing fields is the most frequent thing that a hypervisor does; whoever
    stores into it keeps to the width of the field, or calls `write`.
    """

    __slots__ = ("fields", "name")

    def __init__(self, name: str) -> None:
        """Make an empty region that traces call *name*."""
        self.name = name
        self.fields: dict[u32, u64] = dict.fromkeys(FIELD_MASKS, 0)

    def write(self, field: u32, value: u64) -> None:
        """Store *value* in *field*, dropping the bits that the field does not hold."""
        self.fields[field] = value & FIELD_MASKS[field]

    def nonzero(self) -> dict[str, u64]:
        """Return the fields that are not zero, by name."""
        names = VMCS_FIELD_NAMES
        return {names[field]: value for field, value in self.fields.items() if value}


class _NoFields(dict[u32, u64]):
    """The fields of a VMCS that does not exist: there is none to read or to write."""

    def __setitem__(self, field: u32, value: u64) -> None:
        """Refuse to write, as reading does."""
        raise KeyError(field)


def _no_vmcs() -> Vmcs:
    """Return a region without fields, so that an access to it is an error."""
    vmcs = Vmcs("none")
    vmcs.fields = _NoFields()
    return vmcs


NO_VMCS: Final = _no_vmcs()
"""What is current on a logical processor that has no current VMCS; it has no fields."""
