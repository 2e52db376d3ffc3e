# SPDX-License-Identifier: GPL-2.0-only
"""``mmu.c``: the reserved bits of guest page-table entries.

The one part of the MMU that is ported, because loading PDPTEs checks reserved bits. Everything else
of the MMU stands in, in `kvmref.kernel.linux_3_3.outside.mmu`.
"""

from __future__ import annotations

from kvmref.integers import U64, s32, u64
from kvmref.kernel.linux_3_3.include.kvm_host import (
    PT32_ROOT_LEVEL,
    PT32E_ROOT_LEVEL,
    PT64_ROOT_LEVEL,
    kvm_mmu,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.outside.cpuid import cpuid_maxphyaddr, is_cpuid_PSE36
from kvmref.kernel.linux_3_3.x86_h import is_pse


def rsvd_bits(s: s32, e: s32) -> u64:
    """Return a mask of the bits *s* to *e*, both included.

    Source: arch/x86/kvm/mmu.c:230-233
    """
    return (((1 << (e - s + 1)) - 1) << s) & U64


def reset_rsvds_bits_mask(vcpu: kvm_vcpu, context: kvm_mmu, level: s32) -> None:
    """Compute which bits are reserved at each level of page tables that are *level* levels deep.

    ``rsvd_bits_mask[0]`` is for entries that refer to a table or to a 4K page, indexed by level
    minus 1, ``rsvd_bits_mask[1]`` for entries that map a large page.

    Source: arch/x86/kvm/mmu.c:3192-3252
    """
    maxphyaddr: s32 = cpuid_maxphyaddr(vcpu)
    exb_bit_rsvd: u64 = 0

    if not context.nx:
        exb_bit_rsvd = rsvd_bits(63, 63)
    if level == PT32_ROOT_LEVEL:
        context.rsvd_bits_mask[0][1] = 0
        context.rsvd_bits_mask[0][0] = 0
        context.rsvd_bits_mask[1][0] = context.rsvd_bits_mask[0][0]

        if not is_pse(vcpu):
            context.rsvd_bits_mask[1][1] = 0
            return

        if is_cpuid_PSE36():
            context.rsvd_bits_mask[1][1] = rsvd_bits(17, 21)
        else:
            context.rsvd_bits_mask[1][1] = rsvd_bits(13, 21)
    elif level == PT32E_ROOT_LEVEL:
        context.rsvd_bits_mask[0][2] = rsvd_bits(maxphyaddr, 63) | rsvd_bits(7, 8) | rsvd_bits(1, 2)
        context.rsvd_bits_mask[0][1] = exb_bit_rsvd | rsvd_bits(maxphyaddr, 62)
        context.rsvd_bits_mask[0][0] = exb_bit_rsvd | rsvd_bits(maxphyaddr, 62)
        context.rsvd_bits_mask[1][1] = exb_bit_rsvd | rsvd_bits(maxphyaddr, 62) | rsvd_bits(13, 20)
        context.rsvd_bits_mask[1][0] = context.rsvd_bits_mask[0][0]
    elif level == PT64_ROOT_LEVEL:
        context.rsvd_bits_mask[0][3] = exb_bit_rsvd | rsvd_bits(maxphyaddr, 51) | rsvd_bits(7, 8)
        context.rsvd_bits_mask[0][2] = exb_bit_rsvd | rsvd_bits(maxphyaddr, 51) | rsvd_bits(7, 8)
        context.rsvd_bits_mask[0][1] = exb_bit_rsvd | rsvd_bits(maxphyaddr, 51)
        context.rsvd_bits_mask[0][0] = exb_bit_rsvd | rsvd_bits(maxphyaddr, 51)
        context.rsvd_bits_mask[1][3] = context.rsvd_bits_mask[0][3]
        context.rsvd_bits_mask[1][2] = exb_bit_rsvd | rsvd_bits(maxphyaddr, 51) | rsvd_bits(13, 29)
        context.rsvd_bits_mask[1][1] = exb_bit_rsvd | rsvd_bits(maxphyaddr, 51) | rsvd_bits(13, 20)
        context.rsvd_bits_mask[1][0] = context.rsvd_bits_mask[0][0]
