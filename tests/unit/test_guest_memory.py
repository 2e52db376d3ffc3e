# SPDX-License-Identifier: GPL-2.0-only
"""Linear addresses of the guest that are mapped to memory that is not there."""

from __future__ import annotations

import pytest

from kvmref.kernel.linux_3_3.include.kvm_host import X86EMUL_IO_NEEDED
from kvmref.kernel.linux_3_3.outside.memory import MEMORY_SIZE
from kvmref.kernel.linux_3_3.x86 import guest_memory
from kvmref.kernel.linux_3_3.x86.guest_memory import (
    kvm_read_guest_virt,
    kvm_write_guest_virt_system,
)
from kvmref.machine.machine import Machine


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine whose guest maps its page 0x2000 beyond its memory."""

    def gva_to_gpa(_vcpu: object, gva: int, _access: int, _exception: object) -> int:
        return MEMORY_SIZE if gva == 0x2000 else gva

    monkeypatch.setattr(guest_memory, "gva_to_gpa", gva_to_gpa)
    machine = Machine()
    machine.env.memory.store(0x1FFC, b"abcd")
    return machine


def test_a_read_stops_where_the_memory_ends(machine: Machine) -> None:
    """x86.c:3517-3521: what was read before is kept."""
    err, data = kvm_read_guest_virt(machine.vmx, 0x1FFC, 8, None)
    assert (X86EMUL_IO_NEEDED, b"abcd") == (err, data[:4])


def test_a_write_stops_where_the_memory_ends(machine: Machine) -> None:
    """x86.c:3583-3587: what was written before stays."""
    assert X86EMUL_IO_NEEDED == kvm_write_guest_virt_system(machine.vmx, 0x1FFE, b"1234", None)
    assert b"ab12" == machine.env.memory.read(0x1FFC, 4)
