# SPDX-License-Identifier: GPL-2.0-only
"""CR0, CR3, CR4, EFER, PDPTEs and debug registers: what a guest may load, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from guests import PAE_PAGING, read, write

from kvmref.kernel.linux_3_3 import mmu
from kvmref.kernel.linux_3_3.include.kvm_host import (
    PT32_ROOT_LEVEL,
    UNMAPPED_GVA,
    VCPU_EXREG_CR3,
    VCPU_EXREG_PDPTR,
    VCPU_REGS_RAX,
)
from kvmref.kernel.linux_3_3.include.msr_index import EFER_FFXSR, EFER_LMA, EFER_SVME
from kvmref.kernel.linux_3_3.mmu import reset_rsvds_bits_mask
from kvmref.kernel.linux_3_3.outside.cpuid import kvm_cpuid_entry2
from kvmref.kernel.linux_3_3.vmx.register_cache import vmx_cache_reg
from kvmref.kernel.linux_3_3.x86 import control_registers, efer
from kvmref.kernel.linux_3_3.x86.control_registers import (
    kvm_set_cr0,
    load_pdptrs,
    pdptrs_changed,
)
from kvmref.kernel.linux_3_3.x86.debug_registers import kvm_set_dr
from kvmref.kernel.linux_3_3.x86.efer import kvm_enable_efer_bits, set_efer
from kvmref.kernel.setup import Setup
from kvmref.machine.machine import Machine

BEFORE_LONG_MODE = Setup(l1_efer=0x100, l1_cr0=0x31, l1_cr4=0x20, l1_cs_ar=0xC09B)
"""L1 has set EFER.LME and CR4.PAE, and runs 32-bit code without paging."""

PAGING = 0x80000031
PDPTRS = [0x1001, 0x2001, 0x3001, 0x4001]


def store_pdptrs(machine: Machine, address: int, pdptrs: list[int]) -> None:
    """Store page-directory-pointer-table entries in guest memory."""
    for number, entry in enumerate(pdptrs):
        machine.env.memory.store(address + 8 * number, entry.to_bytes(8, "little"))


def test_paging_with_lme_is_long_mode() -> None:
    """x86.c:509-519; vmx.c:2987-2989."""
    machine = Machine(BEFORE_LONG_MODE)
    assert 0 == kvm_set_cr0(machine.vmx, PAGING)
    assert EFER_LMA == machine.vmx.arch.efer & EFER_LMA


@pytest.mark.parametrize(
    "setup",
    [
        pytest.param(replace(BEFORE_LONG_MODE, l1_cr4=0), id="without PAE"),
        pytest.param(replace(BEFORE_LONG_MODE, l1_cs_ar=0xA09B), id="from 64-bit code"),
    ],
)
def test_long_mode_cannot_be_entered(setup: Setup) -> None:
    """x86.c:514-518."""
    machine = Machine(setup)
    assert 1 == kvm_set_cr0(machine.vmx, PAGING)
    assert 0 == machine.vmx.arch.efer & EFER_LMA


@pytest.mark.parametrize(("type_", "fixed"), [(0x8B, 0x8B), (0x83, 0x8B), (0x89, 0x8B)])
def test_long_mode_has_a_busy_64_bit_tss(type_: int, fixed: int) -> None:
    """vmx.c:2856-2863."""
    machine = Machine(BEFORE_LONG_MODE)
    write(machine, GUEST_TR_AR_BYTES=type_)
    kvm_set_cr0(machine.vmx, PAGING)
    assert fixed == read(machine, "GUEST_TR_AR_BYTES")


@pytest.mark.parametrize(
    ("entry", "error"), [(0x1001, 0), (0x1003, 1), (0x1002, 0), (0x10000001001, 1)]
)
def test_pae_paging_loads_the_pdptes(entry: int, error: int) -> None:
    """x86.c:441-448, 521-523: reserved bits of entries that are present."""
    machine = Machine(replace(PAE_PAGING, l1_cr0=0x31))
    machine.vmx.arch.mmu.rsvd_bits_mask[0][2] = 0xFFFFFF00000001E6
    pdptrs = [entry, *PDPTRS[1:]]
    store_pdptrs(machine, 0x2000, pdptrs)
    assert error == kvm_set_cr0(machine.vmx, PAGING)
    assert (pdptrs == machine.vmx.arch.mmu.pdptrs) is (error == 0)


def test_pdptes_behind_an_unmapped_address_are_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """x86.c:406-408, 437-440."""
    machine = Machine(PAE_PAGING)
    machine.vmx.arch.mmu.pdptrs = list(PDPTRS)
    monkeypatch.setattr(control_registers, "translate_gpa", lambda *_: UNMAPPED_GVA)
    assert 0 == load_pdptrs(machine.vmx, machine.vmx.arch.mmu, 0x2000)
    assert PDPTRS == machine.vmx.arch.mmu.pdptrs


def test_pdptes_that_cannot_be_read_count_as_changed() -> None:
    """x86.c:480-481."""
    machine = Machine(PAE_PAGING)
    machine.vmx.arch.regs_avail |= 1 << VCPU_EXREG_PDPTR
    assert not pdptrs_changed(machine.vmx)
    machine.vmx.arch.cr3 = 0x1000000
    assert pdptrs_changed(machine.vmx)


def in_vmcs(machine: Machine) -> None:
    """Store PDPTEs in the VMCS, and others in the MMU context."""
    write(machine, **{f"GUEST_PDPTR{number}": entry for number, entry in enumerate(PDPTRS)})
    machine.vmx.arch.mmu.pdptrs = [5, 6, 7, 8]
    machine.vmx.arch.regs_avail = machine.vmx.arch.regs_dirty = 0


@pytest.mark.parametrize(
    ("setup", "pdptrs"), [(PAE_PAGING, PDPTRS), (Setup(), [5, 6, 7, 8])], ids=["PAE", "long mode"]
)
def test_with_ept_the_pdptes_come_from_the_vmcs(setup: Setup, pdptrs: list[int]) -> None:
    """vmx.c:2247-2249, 2924-2937."""
    machine = Machine(setup)
    in_vmcs(machine)
    vmx_cache_reg(machine.vmx, VCPU_EXREG_PDPTR)
    assert pdptrs == machine.vmx.arch.mmu.pdptrs
    assert 1 << VCPU_EXREG_PDPTR == machine.vmx.arch.regs_avail == machine.vmx.arch.regs_dirty


def test_without_ept_the_pdptes_are_where_they_were_loaded() -> None:
    """vmx.c:2247-2248."""
    machine = Machine(replace(PAE_PAGING, enable_ept=False))
    in_vmcs(machine)
    vmx_cache_reg(machine.vmx, VCPU_EXREG_PDPTR)
    assert [5, 6, 7, 8] == machine.vmx.arch.mmu.pdptrs
    assert 0 == machine.vmx.arch.regs_dirty


@pytest.mark.parametrize("register", [VCPU_REGS_RAX, VCPU_EXREG_CR3])
def test_caching_any_other_register_only_marks_it(register: int) -> None:
    """vmx.c:2238, 2251-2252."""
    machine = Machine()
    machine.vmx.arch.regs_avail = 0
    regs = list(machine.vmx.arch.regs)
    vmx_cache_reg(machine.vmx, register)
    assert 1 << register == machine.vmx.arch.regs_avail
    assert regs == machine.vmx.arch.regs


@pytest.mark.parametrize(
    ("bit", "entry"),
    [
        (EFER_FFXSR, kvm_cpuid_entry2(0x80000001, edx=1 << 25)),
        (EFER_SVME, kvm_cpuid_entry2(0x80000001, ecx=1 << 2)),
    ],
)
def test_efer_bits_of_features_need_the_feature_in_cpuid(
    monkeypatch: pytest.MonkeyPatch, bit: int, entry: kvm_cpuid_entry2
) -> None:
    """x86.c:821-835."""
    machine = Machine()
    before = machine.vmx.arch.efer
    assert 1 == set_efer(machine.vmx, before | bit), "the bit is reserved"
    kvm_enable_efer_bits(machine.vmx.kvm, bit)
    assert 1 == set_efer(machine.vmx, before | bit), "CPUID lacks the feature"
    monkeypatch.setattr(efer, "kvm_find_cpuid_entry", lambda *_: None)
    assert 1 == set_efer(machine.vmx, before | bit), "CPUID lacks the leaf"
    assert before == machine.vmx.arch.efer
    monkeypatch.setattr(efer, "kvm_find_cpuid_entry", lambda *_: entry)
    assert 0 == set_efer(machine.vmx, before | bit)
    assert before | bit == machine.vmx.arch.efer


@pytest.mark.parametrize("number", [4, 5, 6, 7])
def test_dr6_and_dr7_have_32_bits(number: int) -> None:
    """x86.c:687-704, 718-722: bit 32 is a general protection, under either name."""
    machine = Machine(Setup(l1_cr4=0x20A0))
    dr6, dr7 = machine.vmx.arch.dr6, machine.vmx.arch.dr7
    assert -1 == kvm_set_dr(machine.vmx, number, 1 << 32)
    exception = machine.vmx.arch.exception
    assert (True, 13, True, 0) == (
        exception.pending,
        exception.nr,
        exception.has_error_code,
        exception.error_code,
    )
    assert (dr6, dr7) == (machine.vmx.arch.dr6, machine.vmx.arch.dr7)


@pytest.mark.parametrize(("pse36", "mask"), [(True, 0x3E0000), (False, 0x3FE000)])
def test_reserved_bits_of_4m_pages(monkeypatch: pytest.MonkeyPatch, pse36: bool, mask: int) -> None:
    """mmu.c:3213-3218: bits 21:17 with PSE-36, otherwise 21:13."""
    machine = Machine(Setup(l1_cr0=0x80050033, l1_cr4=0x2090, l1_efer=0))
    monkeypatch.setattr(mmu, "is_cpuid_PSE36", lambda: pse36)
    context = machine.vmx.arch.mmu
    reset_rsvds_bits_mask(machine.vmx, context, PT32_ROOT_LEVEL)
    assert mask == context.rsvd_bits_mask[1][1]


def test_paging_with_another_number_of_levels_has_no_reserved_bits() -> None:
    """mmu.c:3201-3251: no case of the switch."""
    machine = Machine()
    context = machine.vmx.arch.mmu
    before = [list(row) for row in context.rsvd_bits_mask]
    reset_rsvds_bits_mask(machine.vmx, context, 1)
    assert before == context.rsvd_bits_mask
