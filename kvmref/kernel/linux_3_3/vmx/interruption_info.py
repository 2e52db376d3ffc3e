# SPDX-License-Identifier: GPL-2.0-only
"""Questions about interruption information: what kind of event it describes (vmx.c:688-883)."""

from __future__ import annotations

from typing import Final

from kvmref.integers import u32
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    INTR_INFO_INTR_TYPE_MASK,
    INTR_INFO_VALID_MASK,
    INTR_INFO_VECTOR_MASK,
    INTR_TYPE_HARD_EXCEPTION,
)
from kvmref.kernel.linux_3_3.include.kvm_host import MC_VECTOR, NM_VECTOR, PF_VECTOR, UD_VECTOR

_KIND: Final = INTR_INFO_INTR_TYPE_MASK | INTR_INFO_VECTOR_MASK | INTR_INFO_VALID_MASK


def is_page_fault(intr_info: u32) -> bool:
    """Tell whether *intr_info* describes #PF.

    Source: arch/x86/kvm/vmx.c:688-693
    """
    return (intr_info & _KIND) == (INTR_TYPE_HARD_EXCEPTION | PF_VECTOR | INTR_INFO_VALID_MASK)


def is_no_device(intr_info: u32) -> bool:
    """Tell whether *intr_info* describes #NM.

    Source: arch/x86/kvm/vmx.c:695-700
    """
    return (intr_info & _KIND) == (INTR_TYPE_HARD_EXCEPTION | NM_VECTOR | INTR_INFO_VALID_MASK)


def is_invalid_opcode(intr_info: u32) -> bool:
    """Tell whether *intr_info* describes #UD.

    Source: arch/x86/kvm/vmx.c:702-707
    """
    return (intr_info & _KIND) == (INTR_TYPE_HARD_EXCEPTION | UD_VECTOR | INTR_INFO_VALID_MASK)


def is_machine_check(intr_info: u32) -> bool:
    """Tell whether *intr_info* describes #MC.

    Source: arch/x86/kvm/vmx.c:715-720
    """
    return (intr_info & _KIND) == (INTR_TYPE_HARD_EXCEPTION | MC_VECTOR | INTR_INFO_VALID_MASK)


def is_exception(intr_info: u32) -> bool:
    """Tell whether *intr_info* describes a hardware exception.

    Source: arch/x86/kvm/vmx.c:879-883
    """
    return (intr_info & (INTR_INFO_INTR_TYPE_MASK | INTR_INFO_VALID_MASK)) == (
        INTR_TYPE_HARD_EXCEPTION | INTR_INFO_VALID_MASK
    )
