# SPDX-License-Identifier: GPL-2.0-only
"""What stands for asynchronous page faults: there are none."""

from __future__ import annotations

from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu


def kvm_clear_async_pf_completion_queue(vcpu: kvm_vcpu) -> None:
    """Forget the page faults that are being resolved."""
    vcpu.env.trace.event("clear_async_pf")


def kvm_async_pf_hash_reset(vcpu: kvm_vcpu) -> None:
    """Forget which pages are being brought in."""
