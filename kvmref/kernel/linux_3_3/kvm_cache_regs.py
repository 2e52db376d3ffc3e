# SPDX-License-Identifier: GPL-2.0-only
"""``kvm_cache_regs.h``: guest registers, behind a cache that is filled on demand.

A bit of ``regs_avail`` says that the copy of a register in `kvm_vcpu_arch` is the register; a bit
of ``regs_dirty`` says that the copy has to be written back before the guest runs. What is not
available is fetched through `kvm_x86_ops`; nothing here knows where from.
"""

from __future__ import annotations

from typing import Final

from kvmref.integers import U32, U64, u64
from kvmref.kernel.linux_3_3.include.kvm_host import (
    HF_GUEST_MASK,
    VCPU_EXREG_CR3,
    VCPU_REGS_RAX,
    VCPU_REGS_RDX,
    VCPU_REGS_RIP,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.include.processor_flags import (
    X86_CR0_TS,
    X86_CR4_DE,
    X86_CR4_OSFXSR,
    X86_CR4_OSXMMEXCPT,
    X86_CR4_PCE,
    X86_CR4_PGE,
    X86_CR4_PVI,
)

KVM_POSSIBLE_CR0_GUEST_BITS: Final = X86_CR0_TS
"""Bits of CR0 that a guest may be allowed to change without an exit."""

KVM_POSSIBLE_CR4_GUEST_BITS: Final = (
    X86_CR4_PVI | X86_CR4_DE | X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_PGE
)
"""Bits of CR4 that a guest may be allowed to change without an exit."""


def kvm_register_read(vcpu: kvm_vcpu, reg: int) -> u64:
    """Return a general-purpose register or RIP, fetching it first if the copy is not valid.

    Source: arch/x86/kvm/kvm_cache_regs.h:9-16
    """
    if not vcpu.arch.regs_avail & (1 << reg):
        vcpu.kvm_x86_ops.cache_reg(vcpu, reg)

    return vcpu.arch.regs[reg]


def kvm_register_write(vcpu: kvm_vcpu, reg: int, val: u64) -> None:
    """Store a general-purpose register or RIP, to be written back before the guest runs.

    Source: arch/x86/kvm/kvm_cache_regs.h:18-25
    """
    vcpu.arch.regs[reg] = val
    vcpu.arch.regs_dirty |= 1 << reg
    vcpu.arch.regs_avail |= 1 << reg


def kvm_rip_read(vcpu: kvm_vcpu) -> u64:
    """Return RIP.

    Source: arch/x86/kvm/kvm_cache_regs.h:27-30
    """
    return kvm_register_read(vcpu, VCPU_REGS_RIP)


def kvm_rip_write(vcpu: kvm_vcpu, val: u64) -> None:
    """Store RIP.

    Source: arch/x86/kvm/kvm_cache_regs.h:32-35
    """
    kvm_register_write(vcpu, VCPU_REGS_RIP, val)


def kvm_read_cr0_bits(vcpu: kvm_vcpu, mask: u64) -> u64:
    """Return the bits *mask* of CR0; the copy is brought up to date if the guest owns one of them.

    Source: arch/x86/kvm/kvm_cache_regs.h:48-54
    """
    tmask: u64 = mask & KVM_POSSIBLE_CR0_GUEST_BITS
    if tmask & vcpu.arch.cr0_guest_owned_bits:
        vcpu.kvm_x86_ops.decache_cr0_guest_bits(vcpu)
    return vcpu.arch.cr0 & mask


def kvm_read_cr0(vcpu: kvm_vcpu) -> u64:
    """Return CR0.

    Source: arch/x86/kvm/kvm_cache_regs.h:56-59
    """
    return kvm_read_cr0_bits(vcpu, U64)


def kvm_read_cr4_bits(vcpu: kvm_vcpu, mask: u64) -> u64:
    """Return the bits *mask* of CR4; the copy is brought up to date if the guest owns one of them.

    Source: arch/x86/kvm/kvm_cache_regs.h:61-67
    """
    tmask: u64 = mask & KVM_POSSIBLE_CR4_GUEST_BITS
    if tmask & vcpu.arch.cr4_guest_owned_bits:
        vcpu.kvm_x86_ops.decache_cr4_guest_bits(vcpu)
    return vcpu.arch.cr4 & mask


def kvm_read_cr3(vcpu: kvm_vcpu) -> u64:
    """Return CR3, fetching it first if the copy is not valid.

    Source: arch/x86/kvm/kvm_cache_regs.h:69-74
    """
    if not vcpu.arch.regs_avail & (1 << VCPU_EXREG_CR3):
        vcpu.kvm_x86_ops.decache_cr3(vcpu)
    return vcpu.arch.cr3


def kvm_read_cr4(vcpu: kvm_vcpu) -> u64:
    """Return CR4.

    Source: arch/x86/kvm/kvm_cache_regs.h:76-79
    """
    return kvm_read_cr4_bits(vcpu, U64)


def kvm_read_edx_eax(vcpu: kvm_vcpu) -> u64:
    """Return EDX and EAX as one 64-bit value, EDX being the upper half.

    Source: arch/x86/kvm/kvm_cache_regs.h:81-85
    """
    return (kvm_register_read(vcpu, VCPU_REGS_RAX) & U32) | (
        (kvm_register_read(vcpu, VCPU_REGS_RDX) & U32) << 32
    )


def enter_guest_mode(vcpu: kvm_vcpu) -> None:
    """Note that from now on L2 is what runs.

    Source: arch/x86/kvm/kvm_cache_regs.h:87-90
    """
    vcpu.arch.hflags |= HF_GUEST_MASK


def leave_guest_mode(vcpu: kvm_vcpu) -> None:
    """Note that from now on L1 is what runs.

    Source: arch/x86/kvm/kvm_cache_regs.h:92-95
    """
    vcpu.arch.hflags &= ~HF_GUEST_MASK


def is_guest_mode(vcpu: kvm_vcpu) -> bool:
    """Tell whether L2 is what runs.

    Source: arch/x86/kvm/kvm_cache_regs.h:97-100
    """
    return vcpu.arch.hflags & HF_GUEST_MASK != 0
