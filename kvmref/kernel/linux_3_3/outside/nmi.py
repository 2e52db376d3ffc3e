# SPDX-License-Identifier: GPL-2.0-only
"""What stands for NMIs and machine checks of the host that arrive while the guest runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu

if TYPE_CHECKING:
    from kvmref.kernel.linux_3_3.outside.environment import Environment


def kvm_before_handle_nmi(vcpu: kvm_vcpu) -> None:
    """Let the host's profiler know that the guest was interrupted."""
    vcpu.env.trace.event("before_handle_nmi")


def int2(env: Environment) -> None:
    """Run the host's NMI handler: the instruction ``int $2``."""
    env.trace.event("int2")


def kvm_after_handle_nmi(vcpu: kvm_vcpu) -> None:
    """Let the host's profiler know that the guest is no longer what was interrupted."""
    vcpu.env.trace.event("after_handle_nmi")


def do_machine_check(env: Environment) -> None:
    """Run the host's machine-check handler."""
    env.trace.event("machine_check")
