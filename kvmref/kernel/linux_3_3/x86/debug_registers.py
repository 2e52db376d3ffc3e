# SPDX-License-Identifier: GPL-2.0-only
"""``x86.c``, debug registers: what a guest reads from and writes to DR0 to DR7.

While user space debugs the guest with hardware breakpoints, the guest's values are kept, but its
breakpoints are not armed.
"""

from __future__ import annotations

from kvmref.integers import s32, u64
from kvmref.kernel.linux_3_3.include.kvm import KVM_GUESTDBG_USE_HW_BP
from kvmref.kernel.linux_3_3.include.kvm_host import UD_VECTOR, kvm_vcpu
from kvmref.kernel.linux_3_3.include.processor_flags import (
    DR6_FIXED_1,
    DR6_VOLATILE,
    DR7_BP_EN_MASK,
    DR7_FIXED_1,
    DR7_VOLATILE,
    X86_CR4_DE,
)
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_read_cr4_bits
from kvmref.kernel.linux_3_3.x86.exceptions import kvm_inject_gp, kvm_queue_exception


def __kvm_set_dr(vcpu: kvm_vcpu, dr: s32, val: u64) -> int:
    """Store a debug register; return 0, 1 for #UD, -1 for #GP.

    DR4 and DR5 are DR6 and DR7, unless CR4.DE says that they do not exist.

    Source: arch/x86/kvm/x86.c:679-712
    """
    if 0 <= dr <= 3:
        vcpu.arch.db[dr] = val
        if not vcpu.guest_debug & KVM_GUESTDBG_USE_HW_BP:
            vcpu.arch.eff_db[dr] = val
    elif dr in (4, 6):
        if dr == 4 and kvm_read_cr4_bits(vcpu, X86_CR4_DE):
            return 1
        if val & 0xFFFFFFFF00000000:
            return -1
        vcpu.arch.dr6 = (val & DR6_VOLATILE) | DR6_FIXED_1
    else:
        if dr == 5 and kvm_read_cr4_bits(vcpu, X86_CR4_DE):
            return 1
        if val & 0xFFFFFFFF00000000:
            return -1
        vcpu.arch.dr7 = (val & DR7_VOLATILE) | DR7_FIXED_1
        if not vcpu.guest_debug & KVM_GUESTDBG_USE_HW_BP:
            vcpu.kvm_x86_ops.set_dr7(vcpu, vcpu.arch.dr7)
            vcpu.arch.switch_db_regs = val & DR7_BP_EN_MASK

    return 0


def kvm_set_dr(vcpu: kvm_vcpu, dr: s32, val: u64) -> int:
    """Store a debug register, or queue the exception that the attempt raises and return nonzero.

    Source: arch/x86/kvm/x86.c:714-725
    """
    res: s32

    res = __kvm_set_dr(vcpu, dr, val)
    if res > 0:
        kvm_queue_exception(vcpu, UD_VECTOR)
    elif res < 0:
        kvm_inject_gp(vcpu, 0)

    return res


def _kvm_get_dr(vcpu: kvm_vcpu, dr: s32) -> tuple[int, u64]:
    """Return 0 and a debug register, or 1 and nothing for #UD.

    Source: arch/x86/kvm/x86.c:728-751
    """
    if 0 <= dr <= 3:
        return 0, vcpu.arch.db[dr]
    if dr in (4, 6):
        if dr == 4 and kvm_read_cr4_bits(vcpu, X86_CR4_DE):
            return 1, 0
        return 0, vcpu.arch.dr6
    if dr == 5 and kvm_read_cr4_bits(vcpu, X86_CR4_DE):
        return 1, 0
    return 0, vcpu.arch.dr7


def kvm_get_dr(vcpu: kvm_vcpu, dr: s32) -> tuple[int, u64]:
    """Return 0 and a debug register, or queue #UD and return 1 and nothing.

    Source: arch/x86/kvm/x86.c:753-760
    """
    ret, val = _kvm_get_dr(vcpu, dr)
    if ret:
        kvm_queue_exception(vcpu, UD_VECTOR)
        return 1, 0
    return 0, val
