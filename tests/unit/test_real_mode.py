# SPDX-License-Identifier: GPL-2.0-only
"""Real mode on a host without unrestricted guest: entering, leaving, and what the guest sees."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from guests import REAL_MODE, read, requested, write

from kvmref.kernel.linux_3_3.include.kvm_host import (
    EMULATE_FAIL,
    KVM_REQ_TRIPLE_FAULT,
    VCPU_EXREG_RFLAGS,
    VCPU_SREG_CS,
    VCPU_SREG_DS,
    VCPU_SREG_ES,
    VCPU_SREG_FS,
    VCPU_SREG_GS,
    VCPU_SREG_LDTR,
    VCPU_SREG_TR,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.processor_flags import X86_CR0_ET, X86_CR0_PE
from kvmref.kernel.linux_3_3.vmx import event_injection
from kvmref.kernel.linux_3_3.vmx.control_registers import vmx_set_cr0
from kvmref.kernel.linux_3_3.vmx.event_injection import (
    vmx_inject_irq,
    vmx_inject_nmi,
    vmx_queue_exception,
)
from kvmref.kernel.linux_3_3.vmx.exception_exits import handle_exception
from kvmref.kernel.linux_3_3.vmx.rflags import vmx_get_rflags
from kvmref.kernel.linux_3_3.vmx.segments import (
    kvm_segment,
    vmx_get_segment,
    vmx_get_segment_base,
    vmx_segment_access_rights,
    vmx_set_segment,
)
from kvmref.kernel.linux_3_3.vmx.structs import kvm_save_segment
from kvmref.kernel.setup import Setup
from kvmref.machine.machine import Machine

PROTECTED = X86_CR0_ET | X86_CR0_PE


@pytest.fixture
def machine() -> Machine:
    """Return a machine whose L1 is in real mode."""
    return Machine(REAL_MODE)


@pytest.fixture
def protected() -> Machine:
    """Return a machine whose L1 has just left real mode, on the same host."""
    machine = Machine(REAL_MODE)
    vmx_set_cr0(machine.vmx, PROTECTED)
    return machine


def test_a_data_segment_that_has_not_changed_is_restored(machine: Machine) -> None:
    """vmx.c:2660-2674: bit 4 of the saved *base* is tested, not that of the access rights."""
    machine.vmx.rmode.es = kvm_save_segment(selector=0x9, base=0x10, limit=0x1234, ar=0x92)
    write(machine, GUEST_ES_SELECTOR=0x1, GUEST_ES_BASE=0x10)
    vmx_set_cr0(machine.vmx, PROTECTED)
    assert (0x9, 0x10, 0x1234, 0x92) == (
        read(machine, "GUEST_ES_SELECTOR"),
        read(machine, "GUEST_ES_BASE"),
        read(machine, "GUEST_ES_LIMIT"),
        read(machine, "GUEST_ES_AR_BYTES"),
    )


@pytest.mark.parametrize(("saved_base", "base"), [(0x10, 0x20), (0x20, 0x20)])
def test_any_other_data_segment_gets_the_privilege_of_its_selector(
    machine: Machine, saved_base: int, base: int
) -> None:
    """vmx.c:2669-2673: another base, or the same without bit 4."""
    machine.vmx.rmode.es = kvm_save_segment(selector=0x9, base=saved_base, limit=0x1234, ar=0x92)
    write(machine, GUEST_ES_SELECTOR=0x3, GUEST_ES_BASE=base)
    vmx_set_cr0(machine.vmx, PROTECTED)
    assert (0x3, base, 0x93 | 3 << 5) == (
        read(machine, "GUEST_ES_SELECTOR"),
        read(machine, "GUEST_ES_BASE"),
        read(machine, "GUEST_ES_AR_BYTES"),
    )


def test_leaving_real_mode_leaves_the_segments_to_the_emulator_if_there_is_emulation(
    machine: Machine,
) -> None:
    """vmx.c:2701-2702."""
    machine.vmx.module.emulate_invalid_guest_state = True
    write(machine, GUEST_SS_SELECTOR=0x123, GUEST_CS_AR_BYTES=0xF3)
    vmx_set_cr0(machine.vmx, PROTECTED)
    assert machine.vmx.emulation_required
    assert 0x123 == read(machine, "GUEST_SS_SELECTOR")
    assert 0xF3 == read(machine, "GUEST_CS_AR_BYTES")


def test_entering_real_mode_leaves_the_segments_to_the_emulator_if_there_is_emulation(
    protected: Machine,
) -> None:
    """vmx.c:2797-2798."""
    protected.vmx.module.emulate_invalid_guest_state = True
    write(protected, GUEST_SS_SELECTOR=0x123, GUEST_CS_AR_BYTES=0x9B)
    protected.log.events = []
    vmx_set_cr0(protected.vmx, X86_CR0_ET)
    assert 0x123 == read(protected, "GUEST_SS_SELECTOR")
    assert 0x9B == read(protected, "GUEST_CS_AR_BYTES")
    assert ["mmu_reset_context"] == protected.log.events


def test_the_code_segment_of_a_reset_moves_below_1m(protected: Machine) -> None:
    """vmx.c:2806-2808."""
    write(protected, GUEST_CS_BASE=0xFFFF0000)
    vmx_set_cr0(protected.vmx, X86_CR0_ET)
    assert 0xF0000 == read(protected, "GUEST_CS_BASE")
    assert 0xF000 == read(protected, "GUEST_CS_SELECTOR")


def test_a_missing_tss_address_is_chosen_without_the_lock_on_guest_memory(
    protected: Machine,
) -> None:
    """vmx.c:2768-2774."""
    protected.vmx.kvm.tss_addr = 0
    protected.log.events = []
    vmx_set_cr0(protected.vmx, X86_CR0_ET)
    assert ["srcu_read_unlock", "srcu_read_lock", "mmu_reset_context"] == protected.log.events
    assert 0xFEFFD000 == protected.vmx.kvm.tss_addr == read(protected, "GUEST_TR_BASE")


def test_an_unrestricted_guest_needs_no_disguise() -> None:
    """vmx.c:2758-2759."""
    machine = Machine(Setup(l1_cr0=0x60000010, l1_cr4=0, l1_efer=0))
    assert 0 == machine.vmx.rmode.vm86_active


def test_rflags_hide_virtual_8086_mode_and_show_the_iopl_of_the_guest(machine: Machine) -> None:
    """vmx.c:1592-1600."""
    write(machine, GUEST_RFLAGS=0x23202)
    machine.vmx.rmode.save_rflags = 0x1002
    machine.vmx.arch.regs_avail &= ~(1 << VCPU_EXREG_RFLAGS)
    assert 0x1202 == vmx_get_rflags(machine.vmx)


SAVED = kvm_save_segment(selector=0x30, base=0x7000, limit=0x3FF, ar=0xC093)


@pytest.mark.parametrize(
    ("register", "name"),
    [(VCPU_SREG_ES, "ES"), (VCPU_SREG_DS, "DS"), (VCPU_SREG_FS, "FS"), (VCPU_SREG_GS, "GS")],
)
def test_a_segment_register_reads_as_it_was_before_until_it_is_loaded(
    machine: Machine, register: int, name: str
) -> None:
    """vmx.c:3076-3100."""
    setattr(machine.vmx.rmode, name.lower(), SAVED)
    write(machine, **{f"GUEST_{name}_SELECTOR": 0x30, f"GUEST_{name}_BASE": 0x300})
    var = vmx_get_segment(machine.vmx, register)
    assert (0x30, 0x7000, 0x3FF, 3, 1, 1) == (
        var.selector,
        var.base,
        var.limit,
        var.type,
        var.db,
        var.g,
    )
    assert 0x7000 == vmx_get_segment_base(machine.vmx, register)

    write(machine, **{f"GUEST_{name}_SELECTOR": 0x31, f"GUEST_{name}_LIMIT": 0xFFFF})
    var = vmx_get_segment(machine.vmx, register)
    assert (0x31, 0x300, 0xFFFF) == (var.selector, var.base, var.limit)
    assert 0x300 == vmx_get_segment_base(machine.vmx, register)


def test_the_task_register_always_reads_as_it_was_before(machine: Machine) -> None:
    """vmx.c:3093-3095."""
    machine.vmx.rmode.tr = kvm_save_segment(selector=0x40, base=0x5000, limit=0x67, ar=0x8B)
    write(machine, GUEST_TR_SELECTOR=0x48)
    var = vmx_get_segment(machine.vmx, VCPU_SREG_TR)
    assert (0x40, 0x5000, 0x67, 11, 1) == (
        var.selector,
        var.base,
        var.limit,
        var.type,
        var.present,
    )


def test_the_task_register_is_loaded_behind_the_disguise(machine: Machine) -> None:
    """vmx.c:3179-3186: the VMCS gets the selector only."""
    base = read(machine, "GUEST_TR_BASE")
    tr = kvm_segment(base=0x8000, limit=0x67, selector=0x48, type=11, present=1)
    vmx_set_segment(machine.vmx, tr, VCPU_SREG_TR)
    saved = machine.vmx.rmode.tr
    assert (0x48, base) == (read(machine, "GUEST_TR_SELECTOR"), read(machine, "GUEST_TR_BASE"))
    assert (0x48, 0x8000, 0x67, 0x8B) == (saved.selector, saved.base, saved.limit, saved.ar)


@pytest.mark.parametrize(
    ("base", "selector", "stored"),
    [(0xFFFF0000, 0xF000, 0xF0000), (0xFFFF0000, 0xE000, 0xFFFF0000), (0x1230, 0x123, 0x1230)],
)
def test_a_segment_that_is_loaded_looks_like_one_of_virtual_8086_mode(
    machine: Machine, base: int, selector: int, stored: int
) -> None:
    """vmx.c:3190-3197."""
    cs = kvm_segment(base=base, limit=0xFFFF, selector=selector, type=11, s=1, present=1)
    vmx_set_segment(machine.vmx, cs, VCPU_SREG_CS)
    assert (stored, selector, 0xF3) == (
        read(machine, "GUEST_CS_BASE"),
        read(machine, "GUEST_CS_SELECTOR"),
        read(machine, "GUEST_CS_AR_BYTES"),
    )


@pytest.mark.parametrize(("emulation", "unusable", "type_"), [(False, 0, 0), (True, 1, 3)])
def test_an_unusable_segment_reads_as_zero_unless_there_is_emulation(
    emulation: bool, unusable: int, type_: int
) -> None:
    """vmx.c:3102-3112."""
    machine = Machine()
    machine.vmx.module.emulate_invalid_guest_state = emulation
    write(machine, GUEST_LDTR_AR_BYTES=0x10003)
    var = vmx_get_segment(machine.vmx, VCPU_SREG_LDTR)
    assert (unusable, type_) == (var.unusable, var.type)


@pytest.mark.parametrize(
    ("segment", "access_rights"),
    [
        (kvm_segment(), 0x10000),
        (kvm_segment(unusable=1, type=3, s=1, present=1), 0x10000),
        (kvm_segment(type=11, s=1, dpl=3, present=1, avl=1, l=1, db=1, g=1), 0xF0FB),
    ],
)
def test_access_rights_of_zero_mean_unusable(segment: kvm_segment, access_rights: int) -> None:
    """vmx.c:3148-3168."""
    assert access_rights == vmx_segment_access_rights(segment)


def test_segment_registers_are_read_from_the_vmcs_once_per_run(machine: Machine) -> None:
    """vmx.c:1133-1167: a second look at each field finds it in the cache."""
    write(machine, GUEST_CS_LIMIT=0x123, GUEST_CS_AR_BYTES=0x9B)
    first = vmx_get_segment(machine.vmx, VCPU_SREG_CS)
    fields = machine.processor.vmcs
    fields.write(0x4802, 0x456)
    fields.write(0x4816, 0xF3)
    assert first == vmx_get_segment(machine.vmx, VCPU_SREG_CS)
    assert (0x123, 11) == (first.limit, first.type)


def inject_exception(vcpu: kvm_vcpu) -> None:
    """Inject #GP."""
    vmx_queue_exception(vcpu, 13, True, 0, False)


@pytest.mark.parametrize("inject", [inject_exception, vmx_inject_irq, vmx_inject_nmi])
@pytest.mark.parametrize("fails", [False, True])
def test_an_event_that_cannot_be_delivered_in_real_mode_is_a_triple_fault(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    inject: Callable[[kvm_vcpu], None],
    fails: bool,
) -> None:
    """vmx.c:1708-1709, 4002-4003, 4040-4041: only the emulator can deliver it."""
    if fails:
        monkeypatch.setattr(
            event_injection, "kvm_inject_realmode_interrupt", lambda *_: EMULATE_FAIL
        )
    machine.vmx.requests = 0
    before = read(machine, "VM_ENTRY_INTR_INFO_FIELD")
    inject(machine.vmx)
    assert fails == requested(machine, KVM_REQ_TRIPLE_FAULT)
    assert before == read(machine, "VM_ENTRY_INTR_INFO_FIELD")


@pytest.mark.parametrize(("halt", "mp_state"), [(1, 3), (0, 0)])
def test_an_instruction_that_faults_in_real_mode_may_turn_out_to_be_hlt(
    machine: Machine, halt: int, mp_state: int
) -> None:
    """vmx.c:4134-4136, 4252-4260: #GP with error code 0 stands for an instruction to emulate."""
    machine.vmx.exit_intr_info = 0x80000B0D
    machine.vmx.arch.halt_request = halt
    assert 1 == handle_exception(machine.vmx)
    assert 0 == machine.vmx.arch.halt_request
    assert mp_state == machine.vmx.arch.mp_state
