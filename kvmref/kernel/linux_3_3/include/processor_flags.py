# SPDX-License-Identifier: GPL-2.0-only
"""Constants of ``asm/processor-flags.h``, and what ``asm/kvm_host.h`` derives from them.

Bits of EFLAGS and of the control registers, and of the debug registers. The complement of a C
constant depends on the constant's type; where that matters the place that complements it says so.
"""

from __future__ import annotations

from typing import Final

from kvmref.integers import U64

X86_EFLAGS_CF: Final = 0x00000001
X86_EFLAGS_PF: Final = 0x00000004
X86_EFLAGS_AF: Final = 0x00000010
X86_EFLAGS_ZF: Final = 0x00000040
X86_EFLAGS_SF: Final = 0x00000080
X86_EFLAGS_TF: Final = 0x00000100
X86_EFLAGS_IF: Final = 0x00000200
X86_EFLAGS_OF: Final = 0x00000800
X86_EFLAGS_IOPL: Final = 0x00003000
X86_EFLAGS_VM: Final = 0x00020000

X86_CR0_PE: Final = 0x00000001
X86_CR0_MP: Final = 0x00000002
X86_CR0_EM: Final = 0x00000004
X86_CR0_TS: Final = 0x00000008
X86_CR0_ET: Final = 0x00000010
X86_CR0_NE: Final = 0x00000020
X86_CR0_WP: Final = 0x00010000
X86_CR0_AM: Final = 0x00040000
X86_CR0_NW: Final = 0x20000000
X86_CR0_CD: Final = 0x40000000
X86_CR0_PG: Final = 0x80000000

X86_CR4_VME: Final = 0x00000001
X86_CR4_PVI: Final = 0x00000002
X86_CR4_TSD: Final = 0x00000004
X86_CR4_DE: Final = 0x00000008
X86_CR4_PSE: Final = 0x00000010
X86_CR4_PAE: Final = 0x00000020
X86_CR4_MCE: Final = 0x00000040
X86_CR4_PGE: Final = 0x00000080
X86_CR4_PCE: Final = 0x00000100
X86_CR4_OSFXSR: Final = 0x00000200
X86_CR4_OSXMMEXCPT: Final = 0x00000400
X86_CR4_VMXE: Final = 0x00002000
X86_CR4_RDWRGSFS: Final = 0x00010000
X86_CR4_OSXSAVE: Final = 0x00040000
X86_CR4_SMEP: Final = 0x00100000

X86_CR8_TPR: Final = 0xF

CR0_RESERVED_BITS: Final = U64 & ~(
    X86_CR0_PE
    | X86_CR0_MP
    | X86_CR0_EM
    | X86_CR0_TS
    | X86_CR0_ET
    | X86_CR0_NE
    | X86_CR0_WP
    | X86_CR0_AM
    | X86_CR0_NW
    | X86_CR0_CD
    | X86_CR0_PG
)
CR3_PAE_RESERVED_BITS: Final = (0x8 | 0x10) - 1
CR3_L_MODE_RESERVED_BITS: Final = (0xFFF & ~(0x8 | 0x10)) | 0xFFFFFF0000000000
CR4_RESERVED_BITS: Final = U64 & ~(
    X86_CR4_VME
    | X86_CR4_PVI
    | X86_CR4_TSD
    | X86_CR4_DE
    | X86_CR4_PSE
    | X86_CR4_PAE
    | X86_CR4_MCE
    | X86_CR4_PGE
    | X86_CR4_PCE
    | X86_CR4_OSFXSR
    | X86_CR4_OSXSAVE
    | X86_CR4_SMEP
    | X86_CR4_RDWRGSFS
    | X86_CR4_OSXMMEXCPT
    | X86_CR4_VMXE
)
CR8_RESERVED_BITS: Final = U64 & ~X86_CR8_TPR

DR6_BD: Final = 1 << 13
DR6_FIXED_1: Final = 0xFFFF0FF0
DR6_VOLATILE: Final = 0x0000E00F
DR7_BP_EN_MASK: Final = 0x000000FF
DR7_GD: Final = 1 << 13
DR7_FIXED_1: Final = 0x00000400
DR7_VOLATILE: Final = 0xFFFF23FF
