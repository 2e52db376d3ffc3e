# SPDX-License-Identifier: GPL-2.0-only
"""Machines whose guest is in a certain state, for tests of single functions of the port."""

from __future__ import annotations

from dataclasses import replace

from recorded import FOLDER

from kvmref.harness.recordings.recording import load
from kvmref.kernel.linux_3_3.vmx.segment_cache import vmx_segment_cache_clear
from kvmref.kernel.setup import Setup
from kvmref.machine.machine import Machine
from kvmref.machine.steps import WriteVmcs
from kvmref.processor.vmcs_fields import VMCS_FIELDS

REAL_MODE = Setup(enable_unrestricted_guest=False, l1_cr0=0x60000010, l1_cr4=0, l1_efer=0)
"""L1 is in real mode, on a host that has to disguise it as virtual-8086 mode."""

PAE_PAGING = Setup(l1_efer=0)
"""L1 uses PAE paging."""


def in_l2(**changes: bool) -> Machine:
    """Return a machine whose L1 has launched L2, which has not run yet; *changes* to its setup."""
    recording = load(FOLDER / "hand-02-no-irq.jsonl.gz")
    machine = Machine(replace(recording.setup, **changes))
    for operation in recording.operations:
        machine.step(operation.step)
        if machine.observe(["nested.guest_mode"])["nested.guest_mode"]:
            return machine
    raise AssertionError("the recording never launches L2")


def write(machine: Machine, **fields: int) -> None:
    """Store in fields of the loaded VMCS, by name, as the guest might; nothing stays cached."""
    machine.step(WriteVmcs({VMCS_FIELDS[name]: value for name, value in fields.items()}))
    vmx_segment_cache_clear(machine.vmx)


def read(machine: Machine, name: str) -> int:
    """Return a field of the loaded VMCS, by name."""
    return machine.processor.vmcs.fields[VMCS_FIELDS[name]]


def requested(machine: Machine, bit: int) -> bool:
    """Tell whether the request *bit* is made."""
    return machine.vmx.requests >> bit & 1 == 1
