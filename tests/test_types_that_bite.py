# SPDX-License-Identifier: GPL-2.0-only
"""Under the tests, a value outside the width that its annotation states is an error, wherever."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typeguard import TypeCheckError

from kvmref.integers import U64
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu_arch
from kvmref.kernel.linux_3_3.vmx.structs import kvm_save_segment, vcpu_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs12 import struct_vmcs12
from kvmref.kernel.setup import Setup
from kvmref.processor.scripted import Outcome, ScriptedProcessor
from kvmref.processor.vmcs import Vmcs
from kvmref.processor.vmcs_fields import GUEST_CR0, GUEST_CS_SELECTOR, field_width
from kvmref.trace import Discard

SPECIMEN = """
from __future__ import annotations

from typing import TYPE_CHECKING

from kvmref.integers import s32, u8, u32

if TYPE_CHECKING:
    from kvmref.specimen_types import counter, word


def narrowed(value: int) -> u8:
    return value


def annotated(value: int) -> int:
    local: u32 = 0
    local = value
    return local


def added(value: int) -> int:
    total: s32 = 0x7FFFFFFF
    total += value
    return total


def imported_for_typing(value: word) -> word:
    return value


def shadowed(counter: counter) -> counter:
    return counter
"""

SPECIMEN_TYPES = """
from __future__ import annotations

from kvmref.integers import u16
from kvmref.specimen import narrowed

word = u16


class counter:
    value: u16 = narrowed(0)
"""


@pytest.fixture
def specimen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Yield a module of the package that exists for the test only, imported as the others are."""
    import kvmref

    (tmp_path / "specimen.py").write_text(SPECIMEN)
    (tmp_path / "specimen_types.py").write_text(SPECIMEN_TYPES)
    monkeypatch.setattr(kvmref, "__path__", [*kvmref.__path__, str(tmp_path)])
    yield import_module("kvmref.specimen")
    for name in ("specimen", "specimen_types"):
        del sys.modules[f"kvmref.{name}"]
        delattr(kvmref, name)


def pickled(vmcs: Vmcs) -> Vmcs:
    """Return what is left of *vmcs* after a trip to another process."""
    arrived = pickle.loads(pickle.dumps(vmcs))
    assert isinstance(arrived, Vmcs)
    return arrived


class TestFunctions:
    def test_an_argument(self) -> None:
        with pytest.raises(TypeCheckError, match=r'argument "encoding" .* is -0x1, .* not a u32'):
            field_width(-1)

    def test_an_argument_of_another_type(self, specimen: ModuleType) -> None:
        with pytest.raises(TypeCheckError, match=r'argument "value" \(str\) is not an instance'):
            specimen.narrowed("1")

    def test_a_return_value(self, specimen: ModuleType) -> None:
        with pytest.raises(TypeCheckError, match=r"return value .* is 0x100, .* not a u8"):
            specimen.narrowed(0x100)

    def test_a_local_variable(self, specimen: ModuleType) -> None:
        with pytest.raises(TypeCheckError, match=r"assigned to local .* not a u32"):
            specimen.annotated(1 << 32)

    def test_a_local_variable_that_is_added_to(self, specimen: ModuleType) -> None:
        with pytest.raises(TypeCheckError, match=r"assigned to total .* not a s32"):
            specimen.added(1)

    def test_a_type_that_is_imported_for_type_checkers_only(self, specimen: ModuleType) -> None:
        with pytest.raises(TypeCheckError, match="not a u16"):
            specimen.imported_for_typing(0x10000)

    def test_a_type_that_has_the_name_of_the_argument(self, specimen: ModuleType) -> None:
        with pytest.raises(
            TypeCheckError, match=r"not an instance of kvmref\.specimen_types\.counter"
        ):
            specimen.shadowed(1)

    def test_what_fits_passes(self, specimen: ModuleType) -> None:
        assert (0xFF, 0xFFFFFFFF, -1, 0xFFFF) == (
            specimen.narrowed(0xFF),
            specimen.annotated(0xFFFFFFFF),
            specimen.added(-0x80000000),
            specimen.imported_for_typing(0xFFFF),
        )

    def test_a_truth_value_is_an_integer_as_in_c(self, specimen: ModuleType) -> None:
        assert specimen.narrowed(True) is True


class TestAttributes:
    def test_a_member_of_a_struct(self) -> None:
        with pytest.raises(TypeCheckError, match=r"kvm_vcpu_arch\.cr0 is 0x1\d+, .* not a u64"):
            kvm_vcpu_arch().cr0 = U64 + 1

    def test_a_member_that_is_added_to(self) -> None:
        segment = kvm_save_segment(selector=0xFFFF)
        with pytest.raises(TypeCheckError, match="not a u16"):
            segment.selector += 1
        assert 0xFFFF == segment.selector

    def test_a_member_of_another_type(self) -> None:
        exception: Any = kvm_vcpu_arch().exception
        with pytest.raises(TypeCheckError, match=r"pending is not an instance of bool"):
            exception.pending = 1

    def test_an_argument_of_a_constructor(self) -> None:
        with pytest.raises(TypeCheckError, match=r"kvm_save_segment\.limit is -0x1"):
            kvm_save_segment(limit=-1)

    def test_an_argument_of_the_constructor_of_a_frozen_class(self) -> None:
        with pytest.raises(TypeCheckError, match=r"Outcome\.reason is 0x100000000, .* not a u32"):
            Outcome(reason=1 << 32)
        with pytest.raises(TypeCheckError, match=r"Setup\.l1_cs_sel"):
            Setup(l1_cs_sel=0x10000)

    def test_an_attribute_that_only_the_constructor_declares(self) -> None:
        processor = ScriptedProcessor({}, 0, Discard())
        with pytest.raises(TypeCheckError, match=r"ScriptedProcessor\.tsc is -0x1"):
            processor.tsc = -1

    def test_a_member_that_is_inherited(self) -> None:
        vmx = vcpu_vmx.__new__(vcpu_vmx)
        with pytest.raises(TypeCheckError, match=r"vcpu_vmx\.requests is -0x1"):
            vmx.requests = -1

    def test_a_member_of_a_struct_in_guest_memory(self) -> None:
        struct = struct_vmcs12()
        with pytest.raises(TypeCheckError, match=r"struct_vmcs12\.guest_cs_selector is 0x10000"):
            struct.guest_cs_selector = 0x10000
        assert 0 == struct.guest_cs_selector


class TestContainers:
    def test_an_element_of_a_list(self) -> None:
        regs = kvm_vcpu_arch().regs
        with pytest.raises(TypeCheckError, match="is -0x1, which is not a u64"):
            regs[3] = -1
        assert 0 == regs[3]

    def test_an_element_of_a_list_in_a_list(self) -> None:
        with pytest.raises(TypeCheckError, match="not a u64"):
            kvm_vcpu_arch().mmu.rsvd_bits_mask[1][0] = -1

    def test_elements_that_are_added_or_replaced(self) -> None:
        regs = kvm_vcpu_arch().regs
        with pytest.raises(TypeCheckError):
            regs.append(-1)
        with pytest.raises(TypeCheckError):
            regs.insert(0, -1)
        with pytest.raises(TypeCheckError):
            regs.extend([0, -1])
        with pytest.raises(TypeCheckError):
            regs += [-1]
        with pytest.raises(TypeCheckError):
            regs[:2] = [0, -1]
        assert [0] * 17 == regs

    def test_a_field_of_a_vmcs_has_the_width_of_the_field(self) -> None:
        vmcs = Vmcs("01")
        vmcs.fields[GUEST_CR0] = 0x10000
        with pytest.raises(TypeCheckError, match=r"is 0x10000, too wide for GUEST_CS_SELECTOR"):
            vmcs.fields[GUEST_CS_SELECTOR] = 0x10000
        with pytest.raises(TypeCheckError, match="too wide for GUEST_CR0"):
            vmcs.fields[GUEST_CR0] = -1
        assert {"GUEST_CR0": 0x10000} == vmcs.nonzero()

    def test_a_field_that_a_vmcs_does_not_have(self) -> None:
        with pytest.raises(TypeCheckError, match="0x6840, which is not a field"):
            Vmcs("01").fields[0x6840] = 0

    def test_fields_that_are_updated(self) -> None:
        vmcs = Vmcs("01")
        with pytest.raises(TypeCheckError):
            vmcs.fields.update({GUEST_CS_SELECTOR: 0x10000})
        with pytest.raises(TypeCheckError):
            vmcs.fields |= {GUEST_CS_SELECTOR: 0x10000}

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
    def test_a_copy_is_equal_and_is_checked_too(self, copied: Callable[[Vmcs], Vmcs]) -> None:
        vmcs = Vmcs("01")
        vmcs.fields[GUEST_CR0] = 0x31
        other = copied(vmcs)
        assert vmcs.fields == other.fields
        with pytest.raises(TypeCheckError):
            other.fields[GUEST_CS_SELECTOR] = 0x10000
