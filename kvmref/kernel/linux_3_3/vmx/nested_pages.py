# SPDX-License-Identifier: GPL-2.0-only
"""Guest pages that nested VMX holds on to (vmx.c:581-604)."""

from __future__ import annotations

from kvmref.integers import u64
from kvmref.kernel.linux_3_3.include.kvm_host import PAGE_SHIFT, kvm_vcpu
from kvmref.kernel.linux_3_3.outside.memory import (
    gfn_to_page,
    is_error_page,
    kmap,
    kvm_release_page_clean,
    kvm_release_page_dirty,
    page,
)
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs12 import struct_vmcs12


def get_vmcs12(vcpu: kvm_vcpu) -> struct_vmcs12:
    """Return the current vmcs12, which must exist.

    Source: arch/x86/kvm/vmx.c:581-584
    """
    current = to_vmx(vcpu).nested.current_vmcs12
    assert current is not None
    return current


def nested_get_page(vcpu: kvm_vcpu, addr: u64) -> page | None:
    """Take a reference to the guest page at the guest-physical address *addr*.

    Returns ``None`` if there is no memory.

    Source: arch/x86/kvm/vmx.c:586-594
    """
    page = gfn_to_page(vcpu.env, addr >> PAGE_SHIFT)
    if is_error_page(page):
        kvm_release_page_clean(page)
        return None
    return page


def nested_release_page(page: page) -> None:
    """Drop a reference to a guest page that may have been written.

    Source: arch/x86/kvm/vmx.c:596-599
    """
    kvm_release_page_dirty(page)


def nested_release_page_clean(page: page) -> None:
    """Drop a reference to a guest page that was only read.

    Source: arch/x86/kvm/vmx.c:601-604
    """
    kvm_release_page_clean(page)


def kmap_vmcs12(page: page) -> struct_vmcs12:
    """Return the ``struct vmcs12`` on a guest page: ``kmap`` and the cast that goes with it."""
    if page.vmcs12 is None:
        page.vmcs12 = struct_vmcs12.from_buffer(kmap(page))
    return page.vmcs12
