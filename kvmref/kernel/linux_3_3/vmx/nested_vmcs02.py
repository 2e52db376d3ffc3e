# SPDX-License-Identifier: GPL-2.0-only
"""The pool of vmcs02s, the VMCSs that L0 runs L2 with (vmx.c:4947-5014)."""

from __future__ import annotations

from kvmref.integers import u64
from kvmref.kernel.linux_3_3.outside.allocator import kmalloc
from kvmref.kernel.linux_3_3.vmx.loaded_vmcs import alloc_vmcs, free_loaded_vmcs, loaded_vmcs_init
from kvmref.kernel.linux_3_3.vmx.module import VMCS02_POOL_SIZE
from kvmref.kernel.linux_3_3.vmx.structs import struct_loaded_vmcs, vcpu_vmx, vmcs02_list


def nested_get_current_vmcs02(vmx: vcpu_vmx) -> struct_loaded_vmcs | None:
    """Return the vmcs02 of the current vmcs12: its own, a recycled or a new one.

    A recycled vmcs02 keeps what it holds. ``None`` if there is no memory.

    Source: arch/x86/kvm/vmx.c:4947-4980
    """
    pool = vmx.nested.vmcs02_pool
    for item in pool:
        if item.vmptr == vmx.nested.current_vmptr:
            pool.remove(item)
            pool.insert(0, item)
            return item.vmcs02

    if vmx.nested.vmcs02_num >= max(VMCS02_POOL_SIZE, 1):
        item = pool.pop()
        item.vmptr = vmx.nested.current_vmptr
        pool.insert(0, item)
        return item.vmcs02

    if not kmalloc(vmx.env):
        return None
    item = vmcs02_list()
    item.vmcs02.vmcs = alloc_vmcs(vmx.env)
    if item.vmcs02.vmcs is None:
        return None
    loaded_vmcs_init(vmx.env, item.vmcs02)
    item.vmptr = vmx.nested.current_vmptr
    pool.insert(0, item)
    vmx.nested.vmcs02_num += 1
    return item.vmcs02


def nested_free_vmcs02(vmx: vcpu_vmx, vmptr: u64) -> None:
    """Free the vmcs02 of the vmcs12 at *vmptr*, if there is one.

    Source: arch/x86/kvm/vmx.c:4983-4994
    """
    for item in vmx.nested.vmcs02_pool:
        if item.vmptr == vmptr:
            free_loaded_vmcs(vmx, item.vmcs02)
            vmx.nested.vmcs02_pool.remove(item)
            vmx.nested.vmcs02_num -= 1
            return


def nested_free_all_saved_vmcss(vmx: vcpu_vmx) -> None:
    """Free all VMCSs but the one that is loaded; vmcs01 too, if L2 runs.

    Source: arch/x86/kvm/vmx.c:5001-5014
    """
    for item in list(vmx.nested.vmcs02_pool):
        if vmx.loaded_vmcs is not item.vmcs02:
            free_loaded_vmcs(vmx, item.vmcs02)
        vmx.nested.vmcs02_pool.remove(item)
    vmx.nested.vmcs02_num = 0

    if vmx.loaded_vmcs is not vmx.vmcs01:
        free_loaded_vmcs(vmx, vmx.vmcs01)
