# SPDX-License-Identifier: GPL-2.0-only
"""Corners of nested entries and exits that no sequence of exits leads to."""

from __future__ import annotations

from guests import in_l2, read, write

from kvmref.kernel.linux_3_3.include.asm_vmx import EXIT_REASON_CPUID
from kvmref.kernel.linux_3_3.vmx.nested_entry import prepare_vmcs02
from kvmref.kernel.linux_3_3.vmx.nested_exit_handled import nested_vmx_exit_handled
from kvmref.kernel.linux_3_3.vmx.nested_pages import get_vmcs12, nested_get_page

SECONDARY_CONTROLS = 1 << 31
VIRTUALIZE_APIC_ACCESSES = 1 << 0
LOAD_IA32_EFER = 1 << 15


def test_an_apic_access_page_that_is_still_held_is_released_for_the_next() -> None:
    """vmx.c:6570-6573."""
    machine = in_l2()
    vmx = machine.vmx
    vmcs12 = get_vmcs12(vmx)
    vmcs12.cpu_based_vm_exec_control |= SECONDARY_CONTROLS
    vmcs12.secondary_vm_exec_control |= VIRTUALIZE_APIC_ACCESSES
    vmcs12.apic_access_addr = 0x50000
    old = nested_get_page(vmx, 0x40000)
    assert old is not None
    vmx.nested.apic_access_page = old
    prepare_vmcs02(vmx, vmcs12)
    assert 0 == old.references
    assert [0x50000, 1] in machine.pinned()
    assert 0x200050000 == read(machine, "APIC_ACCESS_ADDR")


def test_l2_can_get_an_efer_of_its_own_but_long_mode_is_a_control() -> None:
    """vmx.c:6662-6667; the capability MSRs don't offer the control to L1."""
    machine = in_l2()
    vmcs12 = get_vmcs12(machine.vmx)
    vmcs12.vm_entry_controls |= LOAD_IA32_EFER
    vmcs12.guest_ia32_efer = 0x1
    prepare_vmcs02(machine.vmx, vmcs12)
    assert 0x501 == machine.vmx.arch.efer


def test_no_exit_goes_to_l1_while_l2_has_to_run() -> None:
    """vmx.c:5743-5744; `vmx_handle_exit` clears the flag before it asks."""
    machine = in_l2()
    write(machine, VM_EXIT_REASON=EXIT_REASON_CPUID)
    machine.vmx.nested.nested_run_pending = False
    assert nested_vmx_exit_handled(machine.vmx)
    machine.vmx.nested.nested_run_pending = True
    assert not nested_vmx_exit_handled(machine.vmx)
