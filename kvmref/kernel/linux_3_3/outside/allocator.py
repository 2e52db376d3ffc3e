# SPDX-License-Identifier: GPL-2.0-only
"""What stands for the host's allocators, as far as scripts can make them fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmref.integers import s32
from kvmref.processor.vmcs import Vmcs

if TYPE_CHECKING:
    from kvmref.kernel.linux_3_3.outside.environment import Environment


def alloc_vmcs_cpu(env: Environment, cpu: s32) -> Vmcs | None:
    """Return a new VMCS near *cpu*, or ``None`` if there is no memory for it.

    Traces call it ``02``; whoever makes a virtual CPU renames its first one.
    """
    if env.alloc_fail == "vmcs":
        env.alloc_fail = ""
        env.trace.event("alloc_vmcs_fail")
        return None
    return Vmcs("02")


def free_vmcs(env: Environment, vmcs: Vmcs) -> None:
    """Give back a VMCS, which is no longer current anywhere."""
    env.processor.vmclear(vmcs)
    env.trace.event(("free_vmcs", vmcs.name))


def kmalloc(env: Environment) -> bool:
    """Tell whether there is memory for an entry of the list of vmcs02s."""
    if env.alloc_fail == "item":
        env.alloc_fail = ""
        env.trace.event("kmalloc_fail")
        return False
    return True
