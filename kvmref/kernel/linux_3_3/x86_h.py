# SPDX-License-Identifier: GPL-2.0-only
"""``x86.h``: the queues of events that wait for injection, and the mode that the guest is in.

Nothing here injects anything; the functions are one-liners over `kvm_vcpu_arch`.
"""

from __future__ import annotations

from kvmref.integers import u8, u32
from kvmref.kernel.linux_3_3.include.kvm_host import BP_VECTOR, OF_VECTOR, kvm_vcpu
from kvmref.kernel.linux_3_3.include.msr_index import EFER_LMA
from kvmref.kernel.linux_3_3.include.processor_flags import (
    X86_CR0_PE,
    X86_CR0_PG,
    X86_CR4_PAE,
    X86_CR4_PSE,
)
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_read_cr0_bits, kvm_read_cr4_bits


def kvm_clear_exception_queue(vcpu: kvm_vcpu) -> None:
    """Forget the exception that waits for injection.

    Source: arch/x86/kvm/x86.h:7-10
    """
    vcpu.arch.exception.pending = False


def kvm_queue_interrupt(vcpu: kvm_vcpu, vector: u8, soft: bool) -> None:
    """Make an interrupt wait for injection; *soft* is one that an INT instruction raised.

    Source: arch/x86/kvm/x86.h:12-18
    """
    vcpu.arch.interrupt.pending = True
    vcpu.arch.interrupt.soft = soft
    vcpu.arch.interrupt.nr = vector


def kvm_clear_interrupt_queue(vcpu: kvm_vcpu) -> None:
    """Forget the interrupt that waits for injection.

    Source: arch/x86/kvm/x86.h:20-23
    """
    vcpu.arch.interrupt.pending = False


def kvm_event_needs_reinjection(vcpu: kvm_vcpu) -> bool:
    """Tell whether an exception, an interrupt or an NMI waits to be injected.

    Source: arch/x86/kvm/x86.h:25-29
    """
    return vcpu.arch.exception.pending or vcpu.arch.interrupt.pending or vcpu.arch.nmi_injected


def kvm_exception_is_soft(nr: u32) -> bool:
    """Tell whether the exception *nr* is raised by an instruction made for it: INT3 or INTO.

    Source: arch/x86/kvm/x86.h:31-34
    """
    return nr == BP_VECTOR or nr == OF_VECTOR


def is_protmode(vcpu: kvm_vcpu) -> bool:
    """Tell whether the guest is in protected mode.

    Source: arch/x86/kvm/x86.h:36-39
    """
    return kvm_read_cr0_bits(vcpu, X86_CR0_PE) != 0


def is_long_mode(vcpu: kvm_vcpu) -> int:
    """Return nonzero if the guest is in IA-32e mode.

    Source: arch/x86/kvm/x86.h:41-48
    """
    return vcpu.arch.efer & EFER_LMA


def is_pae(vcpu: kvm_vcpu) -> int:
    """Return nonzero if the guest has set CR4.PAE.

    Source: arch/x86/kvm/x86.h:55-58
    """
    return kvm_read_cr4_bits(vcpu, X86_CR4_PAE)


def is_pse(vcpu: kvm_vcpu) -> int:
    """Return nonzero if the guest has set CR4.PSE.

    Source: arch/x86/kvm/x86.h:60-63
    """
    return kvm_read_cr4_bits(vcpu, X86_CR4_PSE)


def is_paging(vcpu: kvm_vcpu) -> int:
    """Return nonzero if the guest uses paging; in C the nonzero value is negative.

    Source: arch/x86/kvm/x86.h:65-68
    """
    return kvm_read_cr0_bits(vcpu, X86_CR0_PG)


def bit(bitno: int) -> u32:
    """Return the mask of a CPUID feature within its register.

    Source: arch/x86/kvm/x86.h:70-73
    """
    return 1 << (bitno & 31)
