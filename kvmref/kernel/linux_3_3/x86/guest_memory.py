# SPDX-License-Identifier: GPL-2.0-only
"""``x86.c``, linear memory of the guest: reading and writing it as an instruction of it would.

An access is split at page boundaries, and each piece is translated on its own. What was accessed
before a piece that fails stays accessed.
"""

from __future__ import annotations

from kvmref.integers import U64, s32, u32, u64
from kvmref.kernel.linux_3_3.include.kvm_host import (
    PAGE_SIZE,
    PFERR_USER_MASK,
    PFERR_WRITE_MASK,
    UNMAPPED_GVA,
    X86EMUL_CONTINUE,
    X86EMUL_IO_NEEDED,
    X86EMUL_PROPAGATE_FAULT,
    kvm_vcpu,
    x86_exception,
)
from kvmref.kernel.linux_3_3.outside.memory import kvm_read_guest, kvm_write_guest
from kvmref.kernel.linux_3_3.outside.mmu import gva_to_gpa


def kvm_read_guest_virt_helper(
    addr: u64, nbytes: u32, vcpu: kvm_vcpu, access: u32, exception: x86_exception | None
) -> tuple[int, bytes]:
    """Read *nbytes* bytes at the linear address *addr*; what could not be read is zero.

    Returns an X86EMUL code with them; with X86EMUL_PROPAGATE_FAULT, *exception* says what failed.

    Source: arch/x86/kvm/x86.c:3500-3528
    """
    data = bytearray()
    missing = nbytes
    r: s32 = X86EMUL_CONTINUE

    while missing:
        gpa: u64 = gva_to_gpa(vcpu, addr, access, exception)
        offset: u32 = addr & (PAGE_SIZE - 1)
        toread: u32 = min(missing, PAGE_SIZE - offset)

        if gpa == UNMAPPED_GVA:
            r = X86EMUL_PROPAGATE_FAULT
            break
        ret, piece = kvm_read_guest(vcpu.env, gpa, toread)
        if ret < 0:
            r = X86EMUL_IO_NEEDED
            break

        missing -= toread
        data += piece
        addr = (addr + toread) & U64
    return r, bytes(data) + bytes(missing)


def kvm_read_guest_virt(
    vcpu: kvm_vcpu, addr: u64, nbytes: u32, exception: x86_exception | None
) -> tuple[int, bytes]:
    """Read linear memory with the privilege of the guest.

    Returns what `kvm_read_guest_virt_helper` returns.

    Source: arch/x86/kvm/x86.c:3543-3552
    """
    access: u32 = PFERR_USER_MASK if vcpu.kvm_x86_ops.get_cpl(vcpu) == 3 else 0

    return kvm_read_guest_virt_helper(addr, nbytes, vcpu, access, exception)


def kvm_write_guest_virt_system(
    vcpu: kvm_vcpu, addr: u64, data: bytes, exception: x86_exception | None
) -> int:
    """Write *data* at the linear address *addr* with supervisor privilege; return an X86EMUL code.

    With X86EMUL_PROPAGATE_FAULT, *exception*, if it is there, says what failed.

    Source: arch/x86/kvm/x86.c:3563-3594
    """
    r: s32 = X86EMUL_CONTINUE

    while data:
        gpa: u64 = gva_to_gpa(vcpu, addr, PFERR_WRITE_MASK, exception)
        offset: u32 = addr & (PAGE_SIZE - 1)
        towrite: u32 = min(len(data), PAGE_SIZE - offset)

        if gpa == UNMAPPED_GVA:
            return X86EMUL_PROPAGATE_FAULT
        ret = kvm_write_guest(vcpu.env, gpa, data[:towrite])
        if ret < 0:
            r = X86EMUL_IO_NEEDED
            break

        data = data[towrite:]
        addr = (addr + towrite) & U64
    return r
