# SPDX-License-Identifier: GPL-2.0-only
"""``include/linux/kvm_host.h`` and ``asm/kvm_host.h``: a virtual CPU and its requests.

The classes mirror the C structs member by member, as far as the port reaches the members. Pointers
to functions are in `kvm_x86_ops`, the table that keeps the code common to all vendors from knowing
of VMX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kvmref.integers import s32, u8, u16, u32, u64

if TYPE_CHECKING:
    from kvmref.kernel.linux_3_3.outside.environment import Environment
    from kvmref.processor.interface import Processor

# Bits of ``kvm_vcpu.requests`` (include/linux/kvm_host.h:39-56).
KVM_REQ_TLB_FLUSH: Final = 0
KVM_REQ_MIGRATE_TIMER: Final = 1
KVM_REQ_REPORT_TPR_ACCESS: Final = 2
KVM_REQ_MMU_RELOAD: Final = 3
KVM_REQ_TRIPLE_FAULT: Final = 4
KVM_REQ_PENDING_TIMER: Final = 5
KVM_REQ_UNHALT: Final = 6
KVM_REQ_MMU_SYNC: Final = 7
KVM_REQ_CLOCK_UPDATE: Final = 8
KVM_REQ_KICK: Final = 9
KVM_REQ_DEACTIVATE_FPU: Final = 10
KVM_REQ_EVENT: Final = 11
KVM_REQ_APF_HALT: Final = 12
KVM_REQ_STEAL_UPDATE: Final = 13
KVM_REQ_NMI: Final = 14
KVM_REQ_IMMEDIATE_EXIT: Final = 15
KVM_REQ_PMU: Final = 16
KVM_REQ_PMI: Final = 17

REQUEST_NAMES: Final = (
    "TLB_FLUSH",
    "MIGRATE_TIMER",
    "REPORT_TPR_ACCESS",
    "MMU_RELOAD",
    "TRIPLE_FAULT",
    "PENDING_TIMER",
    "UNHALT",
    "MMU_SYNC",
    "CLOCK_UPDATE",
    "KICK",
    "DEACTIVATE_FPU",
    "EVENT",
    "APF_HALT",
    "STEAL_UPDATE",
    "NMI",
    "IMMEDIATE_EXIT",
    "PMU",
    "PMI",
)
"""Names of the requests, without KVM_REQ, in the order of their bits."""

# Values of ``kvm_vcpu.mode``.
OUTSIDE_GUEST_MODE: Final = 0
IN_GUEST_MODE: Final = 1
EXITING_GUEST_MODE: Final = 2

# Vectors of exceptions and of the NMI.
DE_VECTOR: Final = 0
DB_VECTOR: Final = 1
NMI_VECTOR: Final = 2
BP_VECTOR: Final = 3
OF_VECTOR: Final = 4
BR_VECTOR: Final = 5
UD_VECTOR: Final = 6
NM_VECTOR: Final = 7
DF_VECTOR: Final = 8
TS_VECTOR: Final = 10
NP_VECTOR: Final = 11
SS_VECTOR: Final = 12
GP_VECTOR: Final = 13
PF_VECTOR: Final = 14
MF_VECTOR: Final = 16
MC_VECTOR: Final = 18

# ``enum kvm_reg``: indices of ``kvm_vcpu_arch.regs``, bits of ``regs_avail`` and ``regs_dirty``.
VCPU_REGS_RAX: Final = 0
VCPU_REGS_RCX: Final = 1
VCPU_REGS_RDX: Final = 2
VCPU_REGS_RBX: Final = 3
VCPU_REGS_RSP: Final = 4
VCPU_REGS_RBP: Final = 5
VCPU_REGS_RSI: Final = 6
VCPU_REGS_RDI: Final = 7
VCPU_REGS_R8: Final = 8
VCPU_REGS_R15: Final = 15
VCPU_REGS_RIP: Final = 16
NR_VCPU_REGS: Final = 17
VCPU_EXREG_PDPTR: Final = 17
VCPU_EXREG_CR3: Final = 18
VCPU_EXREG_RFLAGS: Final = 19
VCPU_EXREG_CPL: Final = 20
VCPU_EXREG_SEGMENTS: Final = 21

# Segment registers, as the SDM numbers them.
VCPU_SREG_ES: Final = 0
VCPU_SREG_CS: Final = 1
VCPU_SREG_SS: Final = 2
VCPU_SREG_DS: Final = 3
VCPU_SREG_FS: Final = 4
VCPU_SREG_GS: Final = 5
VCPU_SREG_TR: Final = 6
VCPU_SREG_LDTR: Final = 7

HF_GUEST_MASK: Final = 1 << 5
"""Bit of ``kvm_vcpu_arch.hflags``: L2 runs."""

KVM_X86_SHADOW_INT_MOV_SS: Final = 1
KVM_X86_SHADOW_INT_STI: Final = 2

PFERR_WRITE_MASK: Final = 1 << 1
PFERR_USER_MASK: Final = 1 << 2

PT32_ROOT_LEVEL: Final = 2
PT32E_ROOT_LEVEL: Final = 3
PT64_ROOT_LEVEL: Final = 4

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
PAGE_MASK: Final = 0xFFFFFFFFFFFFF000
INVALID_PAGE: Final = 0xFFFFFFFFFFFFFFFF
UNMAPPED_GVA: Final = 0xFFFFFFFFFFFFFFFF

SELECTOR_TI_MASK: Final = 1 << 2
SELECTOR_RPL_MASK: Final = 0x03

TASK_SWITCH_GATE: Final = 3

XCR_XFEATURE_ENABLED_MASK: Final = 0
XSTATE_FP: Final = 0x1
XSTATE_SSE: Final = 0x2
XSTATE_YMM: Final = 0x4

EMULATE_DONE: Final = 0
EMULATE_DO_MMIO: Final = 1
EMULATE_FAIL: Final = 2
EMULTYPE_TRAP_UD: Final = 1 << 1

X86EMUL_CONTINUE: Final = 0
X86EMUL_PROPAGATE_FAULT: Final = 2
X86EMUL_IO_NEEDED: Final = 5

RMODE_TSS_SIZE: Final = 0x68 + 256 // 8 + 65536 // 8 + 1
"""Bytes of the TSS for emulated real mode: TSS, redirection bitmap, I/O bitmap, end byte."""


@dataclass(slots=True, eq=False, repr=False)
class x86_exception:
    """An exception that an access to guest memory met (``struct x86_exception``)."""

    vector: u8 = 0
    error_code_valid: bool = False
    error_code: u16 = 0
    address: u64 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_queued_exception:
    """The exception that is to be injected (``struct kvm_queued_exception``)."""

    pending: bool = False
    has_error_code: bool = False
    reinject: bool = False
    nr: u8 = 0
    error_code: u32 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_queued_interrupt:
    """The interrupt that is to be injected (``struct kvm_queued_interrupt``)."""

    pending: bool = False
    soft: bool = False
    nr: u8 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_mmu:
    """What the port touches of the MMU context (``struct kvm_mmu``)."""

    root_hpa: u64 = INVALID_PAGE
    pdptrs: list[u64] = field(default_factory=lambda: [0] * 4)
    rsvd_bits_mask: list[list[u64]] = field(default_factory=lambda: [[0] * 4, [0] * 4])
    nx: bool = False


@dataclass(slots=True, eq=False, repr=False)
class kvm_lapic:
    """The in-kernel local APIC, as far as the port knows it (``struct kvm_lapic``)."""

    vapic_addr: u64 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_async_pf_state:
    """State of asynchronous page faults (the member ``apf`` of ``struct kvm_vcpu_arch``)."""

    halted: bool = False


@dataclass(slots=True, eq=False, repr=False)
class kvm_vcpu_arch:
    """The architectural part of a virtual CPU (``struct kvm_vcpu_arch``)."""

    regs: list[u64] = field(default_factory=lambda: [0] * NR_VCPU_REGS)
    regs_avail: u32 = 0
    regs_dirty: u32 = 0
    cr0: u64 = 0
    cr0_guest_owned_bits: u64 = 0
    cr2: u64 = 0
    cr3: u64 = 0
    cr4: u64 = 0
    cr4_guest_owned_bits: u64 = 0
    cr8: u64 = 0
    hflags: u32 = 0
    efer: u64 = 0
    apic_base: u64 = 0
    apic: kvm_lapic | None = None
    mp_state: s32 = 0
    sipi_vector: s32 = 0
    mmu: kvm_mmu = field(default_factory=kvm_mmu)
    exception: kvm_queued_exception = field(default_factory=kvm_queued_exception)
    interrupt: kvm_queued_interrupt = field(default_factory=kvm_queued_interrupt)
    halt_request: s32 = 0
    xcr0: u64 = 0
    apf: kvm_async_pf_state = field(default_factory=kvm_async_pf_state)
    nmi_queued: s32 = 0
    nmi_pending: u32 = 0
    nmi_injected: bool = False
    switch_db_regs: s32 = 0
    db: list[u64] = field(default_factory=lambda: [0] * 4)
    dr6: u64 = 0
    dr7: u64 = 0
    eff_db: list[u64] = field(default_factory=lambda: [0] * 4)
    pat: u32 = 0
    event_exit_inst_len: u8 = 0
    last_guest_tsc: u64 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_vcpu_stat:
    """Statistics of a virtual CPU (``struct kvm_vcpu_stat``)."""

    exits: u32 = 0
    io_exits: u32 = 0
    irq_exits: u32 = 0
    irq_window_exits: u32 = 0
    nmi_window_exits: u32 = 0
    irq_injections: u32 = 0
    nmi_injections: u32 = 0
    halt_exits: u32 = 0
    tlb_flush: u32 = 0
    pf_guest: u32 = 0
    host_state_reload: u32 = 0
    fpu_reload: u32 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_run_hw:
    """KVM_EXIT_UNKNOWN."""

    hardware_exit_reason: u64 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_run_fail_entry:
    """KVM_EXIT_FAIL_ENTRY."""

    hardware_entry_failure_reason: u64 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_run_ex:
    """KVM_EXIT_EXCEPTION."""

    exception: u32 = 0
    error_code: u32 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_debug_exit_arch:
    """KVM_EXIT_DEBUG."""

    exception: u32 = 0
    pc: u64 = 0
    dr6: u64 = 0
    dr7: u64 = 0


@dataclass(slots=True, eq=False, repr=False)
class kvm_run_internal:
    """KVM_EXIT_INTERNAL_ERROR."""

    suberror: u32 = 0
    ndata: u32 = 0
    data: list[u64] = field(default_factory=lambda: [0] * 16)


@dataclass(slots=True, eq=False, repr=False)
class kvm_run:
    """What KVM shares with user space (``struct kvm_run``).

    In C the members from ``hw`` on are a union; here each keeps what was last stored in it.
    """

    request_interrupt_window: u8 = 0
    exit_reason: u32 = 0
    hw: kvm_run_hw = field(default_factory=kvm_run_hw)
    fail_entry: kvm_run_fail_entry = field(default_factory=kvm_run_fail_entry)
    ex: kvm_run_ex = field(default_factory=kvm_run_ex)
    debug: kvm_debug_exit_arch = field(default_factory=kvm_debug_exit_arch)
    internal: kvm_run_internal = field(default_factory=kvm_run_internal)


@dataclass(slots=True, eq=False, repr=False, kw_only=True)
class struct_kvm:
    """A virtual machine (``struct kvm`` and ``struct kvm_arch``), with the globals of ``x86.c``.

    Called ``struct_kvm`` because `kvm_vcpu` has a member ``kvm``.
    """

    irqchip_in_kernel: bool
    tss_addr: u32
    apic_access_page_addr: u64
    """``page_to_phys`` of ``kvm->arch.apic_access_page``."""
    ept_identity_map_addr: u64
    bsp_vcpu_id: u32 = 0
    """``vcpu_id`` of the bootstrap processor."""
    efer_reserved_bits: u64 = 0xFFFFFFFFFFFFFAFE
    """Global of ``x86.c``: bits of EFER that a guest may not set."""
    host_xcr0: u64 = 7
    """Global of ``x86.c``: XCR0 of the host."""


@dataclass(slots=True, eq=False, repr=False, kw_only=True)
class kvm_vcpu:
    """A virtual CPU (``struct kvm_vcpu``).

    The last three members are not the struct's: in C they are reached without a pointer.
    """

    kvm: struct_kvm
    cpu: s32 = -1
    vcpu_id: s32 = 0
    mode: s32 = OUTSIDE_GUEST_MODE
    requests: u64 = 0
    guest_debug: u64 = 0
    fpu_active: s32 = 0
    guest_fpu_loaded: s32 = 0
    guest_xcr0_loaded: s32 = 0
    run: kvm_run = field(default_factory=kvm_run)
    stat: kvm_vcpu_stat = field(default_factory=kvm_vcpu_stat)
    arch: kvm_vcpu_arch = field(default_factory=kvm_vcpu_arch)
    kvm_x86_ops: struct_kvm_x86_ops
    """The vendor's functions (a global in C)."""
    processor: Processor
    """The processor that executes this code."""
    env: Environment
    """Everything outside the port: memory, time, scheduling, the parts of KVM that stand in."""


@dataclass(slots=True, eq=False, repr=False, kw_only=True)
class struct_kvm_x86_ops:
    """The vendor's functions that the common code calls (``struct kvm_x86_ops``).

    Functions that the port never calls have no entry.
    """

    prepare_guest_switch: Callable[[kvm_vcpu], None]
    vcpu_load: Callable[[kvm_vcpu, int], None]
    vcpu_put: Callable[[kvm_vcpu], None]
    get_cpl: Callable[[kvm_vcpu], int]
    get_cs_db_l_bits: Callable[[kvm_vcpu], tuple[int, int]]
    decache_cr0_guest_bits: Callable[[kvm_vcpu], None]
    decache_cr3: Callable[[kvm_vcpu], None]
    decache_cr4_guest_bits: Callable[[kvm_vcpu], None]
    set_cr0: Callable[[kvm_vcpu, u64], None]
    set_cr3: Callable[[kvm_vcpu, u64], None]
    set_cr4: Callable[[kvm_vcpu, u64], int]
    set_efer: Callable[[kvm_vcpu, u64], None]
    set_dr7: Callable[[kvm_vcpu, u64], None]
    cache_reg: Callable[[kvm_vcpu, int], None]
    get_rflags: Callable[[kvm_vcpu], u64]
    fpu_deactivate: Callable[[kvm_vcpu], None]
    tlb_flush: Callable[[kvm_vcpu], None]
    run: Callable[[kvm_vcpu], None]
    handle_exit: Callable[[kvm_vcpu], int]
    skip_emulated_instruction: Callable[[kvm_vcpu], None]
    set_irq: Callable[[kvm_vcpu], None]
    set_nmi: Callable[[kvm_vcpu], None]
    queue_exception: Callable[[kvm_vcpu, u32, bool, u32, bool], None]
    cancel_injection: Callable[[kvm_vcpu], None]
    interrupt_allowed: Callable[[kvm_vcpu], int]
    nmi_allowed: Callable[[kvm_vcpu], int]
    get_nmi_mask: Callable[[kvm_vcpu], bool]
    enable_nmi_window: Callable[[kvm_vcpu], None]
    enable_irq_window: Callable[[kvm_vcpu], None]
    update_cr8_intercept: Callable[[kvm_vcpu, int, int], None] | None
    cpuid_update: Callable[[kvm_vcpu], None]
    write_tsc_offset: Callable[[kvm_vcpu, u64], None]
    compute_tsc_offset: Callable[[kvm_vcpu, u64], u64]
    read_l1_tsc: Callable[[kvm_vcpu], u64]


def kvm_vcpu_is_bsp(vcpu: kvm_vcpu) -> bool:
    """Tell whether *vcpu* is the bootstrap processor.

    Source: include/linux/kvm_host.h:774-777
    """
    return vcpu.kvm.bsp_vcpu_id == vcpu.vcpu_id


def kvm_vcpu_exiting_guest_mode(vcpu: kvm_vcpu) -> int:
    """Ask a virtual CPU that runs its guest to leave it; return the mode that it was in.

    Source: include/linux/kvm_host.h:163-166
    """
    old = vcpu.mode
    if old == IN_GUEST_MODE:
        vcpu.mode = EXITING_GUEST_MODE
    return old


def kvm_make_request(req: int, vcpu: kvm_vcpu) -> None:
    """Make the request *req* (a bit number).

    Source: include/linux/kvm_host.h:802-805
    """
    vcpu.requests |= 1 << req


def kvm_check_request(req: int, vcpu: kvm_vcpu) -> bool:
    """Tell whether the request *req* (a bit number) is made, and consume it.

    Source: include/linux/kvm_host.h:807-815
    """
    if vcpu.requests & (1 << req):
        vcpu.requests &= ~(1 << req)
        return True
    return False
