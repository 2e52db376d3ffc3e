# SPDX-License-Identifier: GPL-2.0-only
"""``x86.c``, one pass through the guest: requests, injection, VM entry, VM exit.

`vcpu_enter_guest` is where everything meets. Requests are consumed first; then events are handed to
the vendor's code for injection; then, with interrupts off, there is a last look for reasons not to
enter; then the guest runs, and its exit is handled.

A pass can end before the guest is entered. What was consumed until then stays consumed, except that
an event that was to be injected is queued again.
"""

from __future__ import annotations

from kvmref.integers import U8, U32, s32, sign_extend_32, u32
from kvmref.kernel.linux_3_3.include.kvm import KVM_EXIT_SHUTDOWN, KVM_EXIT_TPR_ACCESS
from kvmref.kernel.linux_3_3.include.kvm_host import (
    EXITING_GUEST_MODE,
    IN_GUEST_MODE,
    KVM_REQ_APF_HALT,
    KVM_REQ_CLOCK_UPDATE,
    KVM_REQ_DEACTIVATE_FPU,
    KVM_REQ_EVENT,
    KVM_REQ_IMMEDIATE_EXIT,
    KVM_REQ_MIGRATE_TIMER,
    KVM_REQ_MMU_RELOAD,
    KVM_REQ_MMU_SYNC,
    KVM_REQ_NMI,
    KVM_REQ_PMI,
    KVM_REQ_PMU,
    KVM_REQ_REPORT_TPR_ACCESS,
    KVM_REQ_STEAL_UPDATE,
    KVM_REQ_TLB_FLUSH,
    KVM_REQ_TRIPLE_FAULT,
    OUTSIDE_GUEST_MODE,
    kvm_check_request,
    kvm_make_request,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.outside.host import (
    hw_breakpoint_active,
    hw_breakpoint_restore,
    kvm_guest_enter,
    kvm_guest_exit,
    local_irq_disable,
    local_irq_enable,
    need_resched,
    preempt_disable,
    preempt_enable,
    set_debugreg,
    signal_pending,
    smp_mb,
    smp_send_reschedule,
    smp_wmb,
    srcu_read_lock,
    srcu_read_unlock,
)
from kvmref.kernel.linux_3_3.outside.irqchip import (
    irqchip_in_kernel,
    kvm_cpu_get_interrupt,
    kvm_cpu_has_interrupt,
    kvm_lapic_enabled,
    kvm_lapic_find_highest_irr,
    kvm_lapic_get_cr8,
    kvm_lapic_sync_from_vapic,
    kvm_lapic_sync_to_vapic,
)
from kvmref.kernel.linux_3_3.outside.mmu import (
    kvm_mmu_reload,
    kvm_mmu_sync_roots,
    kvm_mmu_unload,
)
from kvmref.kernel.linux_3_3.outside.pmu import kvm_deliver_pmi, kvm_handle_pmu_event
from kvmref.kernel.linux_3_3.outside.time import (
    __kvm_migrate_timers,
    kvm_guest_time_update,
    record_steal_time,
)
from kvmref.kernel.linux_3_3.x86.fpu import kvm_load_guest_fpu, kvm_load_guest_xcr0
from kvmref.kernel.linux_3_3.x86_h import kvm_queue_interrupt


def update_cr8_intercept(vcpu: kvm_vcpu) -> None:
    """Tell the vendor's code the TPR and the priority class of the highest interrupt that waits.

    Source: arch/x86/kvm/x86.c:5036-5057
    """
    max_irr: s32
    tpr: s32

    if vcpu.kvm_x86_ops.update_cr8_intercept is None:
        return

    if vcpu.arch.apic is None:
        return

    if not vcpu.arch.apic.vapic_addr:
        max_irr = kvm_lapic_find_highest_irr(vcpu)
    else:
        max_irr = -1

    if max_irr != -1:
        max_irr >>= 4

    tpr = sign_extend_32(kvm_lapic_get_cr8(vcpu))

    vcpu.kvm_x86_ops.update_cr8_intercept(vcpu, tpr, max_irr)


def inject_pending_event(vcpu: kvm_vcpu) -> None:
    """Hand the most urgent event to the vendor's code: first what was queued, then what is new.

    A new NMI comes before a new interrupt, even while NMIs are blocked.

    Source: arch/x86/kvm/x86.c:5059-5097
    """
    if vcpu.arch.exception.pending:
        vcpu.kvm_x86_ops.queue_exception(
            vcpu,
            vcpu.arch.exception.nr,
            vcpu.arch.exception.has_error_code,
            vcpu.arch.exception.error_code,
            vcpu.arch.exception.reinject,
        )
        return

    if vcpu.arch.nmi_injected:
        vcpu.kvm_x86_ops.set_nmi(vcpu)
        return

    if vcpu.arch.interrupt.pending:
        vcpu.kvm_x86_ops.set_irq(vcpu)
        return

    if vcpu.arch.nmi_pending:
        if vcpu.kvm_x86_ops.nmi_allowed(vcpu):
            vcpu.arch.nmi_pending -= 1
            vcpu.arch.nmi_injected = True
            vcpu.kvm_x86_ops.set_nmi(vcpu)
    elif kvm_cpu_has_interrupt(vcpu):
        if vcpu.kvm_x86_ops.interrupt_allowed(vcpu):
            kvm_queue_interrupt(vcpu, kvm_cpu_get_interrupt(vcpu) & U8, False)
            vcpu.kvm_x86_ops.set_irq(vcpu)


def process_nmi(vcpu: kvm_vcpu) -> None:
    """Turn the NMIs that were sent into NMIs that wait, of which there are at most two.

    While an NMI is being handled, or about to be, one more can wait.

    Source: arch/x86/kvm/x86.c:5118-5133
    """
    limit: u32 = 2

    if vcpu.kvm_x86_ops.get_nmi_mask(vcpu) or vcpu.arch.nmi_injected:
        limit = 1

    vcpu.arch.nmi_pending = (vcpu.arch.nmi_pending + vcpu.arch.nmi_queued) & U32
    vcpu.arch.nmi_queued = 0
    vcpu.arch.nmi_pending = min(vcpu.arch.nmi_pending, limit)
    kvm_make_request(KVM_REQ_EVENT, vcpu)


def vcpu_enter_guest(vcpu: kvm_vcpu) -> int:
    """Enter the guest once, unless there is a reason not to, and handle its exit.

    Returns 1 to go on, 0 to leave to user space (``vcpu.run`` says why), or a negative error. The
    kernel's profiler, which C feeds with the guest's RIP, is off.

    Source: arch/x86/kvm/x86.c:5135-5298
    """
    r: s32
    req_int_win = not irqchip_in_kernel(vcpu.kvm) and vcpu.run.request_interrupt_window != 0
    req_immediate_exit = False

    if vcpu.requests:
        if kvm_check_request(KVM_REQ_MMU_RELOAD, vcpu):
            kvm_mmu_unload(vcpu)
        if kvm_check_request(KVM_REQ_MIGRATE_TIMER, vcpu):
            __kvm_migrate_timers(vcpu)
        if kvm_check_request(KVM_REQ_CLOCK_UPDATE, vcpu):
            r = kvm_guest_time_update(vcpu)
            if r:
                return r
        if kvm_check_request(KVM_REQ_MMU_SYNC, vcpu):
            kvm_mmu_sync_roots(vcpu)
        if kvm_check_request(KVM_REQ_TLB_FLUSH, vcpu):
            vcpu.kvm_x86_ops.tlb_flush(vcpu)
        if kvm_check_request(KVM_REQ_REPORT_TPR_ACCESS, vcpu):
            vcpu.run.exit_reason = KVM_EXIT_TPR_ACCESS
            return 0
        if kvm_check_request(KVM_REQ_TRIPLE_FAULT, vcpu):
            vcpu.run.exit_reason = KVM_EXIT_SHUTDOWN
            return 0
        if kvm_check_request(KVM_REQ_DEACTIVATE_FPU, vcpu):
            vcpu.fpu_active = 0
            vcpu.kvm_x86_ops.fpu_deactivate(vcpu)
        if kvm_check_request(KVM_REQ_APF_HALT, vcpu):
            vcpu.arch.apf.halted = True
            return 1
        if kvm_check_request(KVM_REQ_STEAL_UPDATE, vcpu):
            record_steal_time(vcpu)
        if kvm_check_request(KVM_REQ_NMI, vcpu):
            process_nmi(vcpu)
        req_immediate_exit = kvm_check_request(KVM_REQ_IMMEDIATE_EXIT, vcpu)
        if kvm_check_request(KVM_REQ_PMU, vcpu):
            kvm_handle_pmu_event(vcpu)
        if kvm_check_request(KVM_REQ_PMI, vcpu):
            kvm_deliver_pmi(vcpu)

    r = kvm_mmu_reload(vcpu)
    if r:
        return r

    if kvm_check_request(KVM_REQ_EVENT, vcpu) or req_int_win:
        inject_pending_event(vcpu)

        if vcpu.arch.nmi_pending:
            vcpu.kvm_x86_ops.enable_nmi_window(vcpu)
        elif kvm_cpu_has_interrupt(vcpu) or req_int_win:
            vcpu.kvm_x86_ops.enable_irq_window(vcpu)

        if kvm_lapic_enabled(vcpu):
            update_cr8_intercept(vcpu)
            kvm_lapic_sync_to_vapic(vcpu)

    env = vcpu.env
    preempt_disable(env)

    vcpu.kvm_x86_ops.prepare_guest_switch(vcpu)
    if vcpu.fpu_active:
        kvm_load_guest_fpu(vcpu)
    kvm_load_guest_xcr0(vcpu)

    vcpu.mode = IN_GUEST_MODE

    # Who makes a request looks at the mode afterwards: either the request is seen below, or the
    # kick arrives.
    smp_mb(env)

    local_irq_disable(env)

    if vcpu.mode == EXITING_GUEST_MODE or vcpu.requests or need_resched(env) or signal_pending(env):
        vcpu.mode = OUTSIDE_GUEST_MODE
        smp_wmb(env)
        local_irq_enable(env)
        preempt_enable(env)
        vcpu.kvm_x86_ops.cancel_injection(vcpu)
        return 1

    srcu_read_unlock(env)

    # Interrupts are off, so this one stays pending until the guest has been entered.
    if req_immediate_exit:
        smp_send_reschedule(env, vcpu.cpu)

    kvm_guest_enter(env)

    if vcpu.arch.switch_db_regs:
        set_debugreg(env, 0, 7)
        set_debugreg(env, vcpu.arch.eff_db[0], 0)
        set_debugreg(env, vcpu.arch.eff_db[1], 1)
        set_debugreg(env, vcpu.arch.eff_db[2], 2)
        set_debugreg(env, vcpu.arch.eff_db[3], 3)

    vcpu.kvm_x86_ops.run(vcpu)

    if hw_breakpoint_active(env):
        hw_breakpoint_restore(env)

    vcpu.arch.last_guest_tsc = vcpu.kvm_x86_ops.read_l1_tsc(vcpu)

    vcpu.mode = OUTSIDE_GUEST_MODE
    smp_wmb(env)
    local_irq_enable(env)

    vcpu.stat.exits += 1

    kvm_guest_exit(env)

    preempt_enable(env)

    srcu_read_lock(env)

    kvm_lapic_sync_from_vapic(vcpu)

    return vcpu.kvm_x86_ops.handle_exit(vcpu)
