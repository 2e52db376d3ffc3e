# SPDX-License-Identifier: GPL-2.0-only
"""``x86.c``, exceptions and NMIs: queueing them for the guest.

Queueing is not injecting: an event that is queued here waits in `kvm_vcpu_arch` until
`kvmref.kernel.linux_3_3.x86.enter_guest` gives it to the vendor's code. There is room for one
exception; a second one makes a double fault of the two or replaces the first.
"""

from __future__ import annotations

from typing import Final

from kvmref.integers import U8, s32, u32
from kvmref.kernel.linux_3_3.include.kvm_host import (
    DE_VECTOR,
    DF_VECTOR,
    GP_VECTOR,
    KVM_REQ_EVENT,
    KVM_REQ_NMI,
    KVM_REQ_TRIPLE_FAULT,
    NP_VECTOR,
    PF_VECTOR,
    SS_VECTOR,
    TS_VECTOR,
    kvm_make_request,
    kvm_vcpu,
    x86_exception,
)

EXCPT_BENIGN: Final = 0
EXCPT_CONTRIBUTORY: Final = 1
EXCPT_PF: Final = 2


def exception_class(vector: s32) -> int:
    """Return the class that decides what two exceptions in a row become (SDM volume 3, table 6-4).

    Source: arch/x86/kvm/x86.c:265-280
    """
    if vector == PF_VECTOR:
        return EXCPT_PF
    if vector in (DE_VECTOR, TS_VECTOR, NP_VECTOR, SS_VECTOR, GP_VECTOR):
        return EXCPT_CONTRIBUTORY
    return EXCPT_BENIGN


def kvm_multiple_exception(
    vcpu: kvm_vcpu, nr: u32, has_error: bool, error_code: u32, reinject: bool
) -> None:
    """Queue an exception, combining it with the one that is already queued.

    A second exception becomes a double fault, a triple fault, or replaces the first, hoping that
    the first will be raised again when its instruction is executed again.

    Source: arch/x86/kvm/x86.c:282-322
    """
    prev_nr: u32
    class1: s32
    class2: s32

    kvm_make_request(KVM_REQ_EVENT, vcpu)

    exception = vcpu.arch.exception
    if exception.pending:
        prev_nr = exception.nr
        if prev_nr == DF_VECTOR:
            kvm_make_request(KVM_REQ_TRIPLE_FAULT, vcpu)
            return
        class1 = exception_class(prev_nr)
        class2 = exception_class(nr)
        if (class1 == EXCPT_CONTRIBUTORY and class2 == EXCPT_CONTRIBUTORY) or (
            class1 == EXCPT_PF and class2 != EXCPT_BENIGN
        ):
            exception.pending = True
            exception.has_error_code = True
            exception.nr = DF_VECTOR
            exception.error_code = 0
            return

    exception.pending = True
    exception.has_error_code = has_error
    exception.nr = nr & U8
    exception.error_code = error_code
    exception.reinject = reinject


def kvm_queue_exception(vcpu: kvm_vcpu, nr: u32) -> None:
    """Queue the exception *nr*, without an error code.

    Source: arch/x86/kvm/x86.c:324-327
    """
    kvm_multiple_exception(vcpu, nr, False, 0, False)


def kvm_requeue_exception(vcpu: kvm_vcpu, nr: u32) -> None:
    """Queue the exception *nr*, whose delivery was interrupted, without an error code.

    Source: arch/x86/kvm/x86.c:330-333
    """
    kvm_multiple_exception(vcpu, nr, False, 0, True)


def kvm_complete_insn_gp(vcpu: kvm_vcpu, err: s32) -> None:
    """End an emulated instruction: with #GP(0) if *err*, else by advancing RIP.

    Source: arch/x86/kvm/x86.c:336-342
    """
    if err:
        kvm_inject_gp(vcpu, 0)
    else:
        vcpu.kvm_x86_ops.skip_emulated_instruction(vcpu)


def kvm_inject_page_fault(vcpu: kvm_vcpu, fault: x86_exception) -> None:
    """Queue #PF with the address and the error code of *fault*, whatever its vector.

    Source: arch/x86/kvm/x86.c:345-350
    """
    vcpu.stat.pf_guest += 1
    vcpu.arch.cr2 = fault.address
    kvm_queue_exception_e(vcpu, PF_VECTOR, fault.error_code)


def kvm_inject_nmi(vcpu: kvm_vcpu) -> None:
    """Send an NMI to the virtual CPU.

    Source: arch/x86/kvm/x86.c:361-365
    """
    vcpu.arch.nmi_queued += 1
    kvm_make_request(KVM_REQ_NMI, vcpu)


def kvm_queue_exception_e(vcpu: kvm_vcpu, nr: u32, error_code: u32) -> None:
    """Queue the exception *nr*, with an error code.

    Source: arch/x86/kvm/x86.c:368-371
    """
    kvm_multiple_exception(vcpu, nr, True, error_code, False)


def kvm_requeue_exception_e(vcpu: kvm_vcpu, nr: u32, error_code: u32) -> None:
    """Queue the exception *nr*, whose delivery was interrupted, with an error code.

    Source: arch/x86/kvm/x86.c:374-377
    """
    kvm_multiple_exception(vcpu, nr, True, error_code, True)


def kvm_inject_gp(vcpu: kvm_vcpu, error_code: u32) -> None:
    """Queue #GP.

    Source: arch/x86/include/asm/kvm_host.h:852-855
    """
    kvm_queue_exception_e(vcpu, GP_VECTOR, error_code)


def kvm_require_cpl(vcpu: kvm_vcpu, required_cpl: s32) -> bool:
    """Tell whether the guest runs with *required_cpl* or more privilege; if not, queue #GP(0).

    Source: arch/x86/kvm/x86.c:384-390
    """
    if vcpu.kvm_x86_ops.get_cpl(vcpu) <= required_cpl:
        return True
    kvm_queue_exception_e(vcpu, GP_VECTOR, 0)
    return False
