# SPDX-License-Identifier: GPL-2.0-only
"""What stands for the host's kernel: scheduling, interrupts, CPUs, and where its things are.

Most functions only say that they were called. Those that touch interrupts act on the processor:
an interrupt that the host takes can happen in the middle of the port.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from kvmref.integers import U32, s32, u16, u32, u64

if TYPE_CHECKING:
    from kvmref.kernel.linux_3_3.outside.environment import Environment
    from kvmref.processor.interface import Processor

T = TypeVar("T")

HOST_RIP_VALUE: Final[u64] = 0xFFFFFFFFA0061234
"""What HOST_RIP is set to: the address at which the host goes on after a VM exit."""

HOST_RSP_VALUE: Final[u64] = 0xFFFF880012345C78
"""What HOST_RSP is set to: the stack pointer of the host at a VM entry."""

BOOT_CPU_FAMILY: Final = 6
"""Family of the host's processors, in the sense of CPUID; the following likewise."""
BOOT_CPU_MODEL: Final = 42
BOOT_CPU_HAS_NX: Final = True
"""The host's processors have the execute-disable bit."""

KERNEL_CS: Final[u16] = 0x10
"""``__KERNEL_CS``."""
KERNEL_DS: Final[u16] = 0x18
"""``__KERNEL_DS``."""
GDT_ENTRY_TSS: Final = 8
"""Entry of the GDT that describes the TSS."""

IO_BITMAP_A_PA: Final[u64] = 0x11000
"""``__pa(vmx_io_bitmap_a)``; the following likewise."""
IO_BITMAP_B_PA: Final[u64] = 0x12000
MSR_BITMAP_LEGACY_PA: Final[u64] = 0x13000
MSR_BITMAP_LONGMODE_PA: Final[u64] = 0x14000
MSR_AUTOLOAD_HOST_PA: Final[u64] = 0x15000
MSR_AUTOLOAD_GUEST_PA: Final[u64] = 0x16000
APIC_REGS_PA: Final[u64] = 0x17000

APIC_ACCESS_PAGE: Final[u64] = 0x2FEE00000
"""Host-physical address of ``kvm->arch.apic_access_page``."""
TSS_ADDR: Final = 0xFEFFD000
"""``kvm->arch.tss_addr``, as user space sets it."""
EPT_IDENTITY_MAP_ADDR: Final[u64] = 0xFFFBC000
"""``kvm->arch.ept_identity_map_addr``, as user space sets it."""

_PER_CPU: Final = 0x100000
"""Distance between the per-CPU areas of two CPUs."""


def preempt_disable(env: Environment) -> None:
    """Keep the thread on its CPU."""
    env.trace.event("preempt_disable")


def preempt_enable(env: Environment) -> None:
    """Let the thread be preempted again."""
    env.trace.event("preempt_enable")


def get_cpu(env: Environment) -> s32:
    """Keep the thread on its CPU, and return which one that is."""
    env.trace.event("get_cpu")
    return env.processor.cpu


def put_cpu(env: Environment) -> None:
    """Let the thread be preempted again."""
    env.trace.event("put_cpu")


def raw_smp_processor_id(env: Environment) -> s32:
    """Return the number of the CPU that the thread runs on."""
    return env.processor.cpu


def local_irq_disable(env: Environment) -> None:
    """Keep interrupts of the host pending from now on."""
    env.processor.cli()
    env.trace.event("local_irq_disable")


def local_irq_enable(env: Environment) -> None:
    """Take interrupts of the host again, beginning with the one that is pending."""
    env.trace.event("local_irq_enable")
    env.processor.sti()


def reschedule_interrupt(env: Environment) -> None:
    """Take an interrupt of the host."""
    env.trace.event("reschedule_interrupt")


def smp_send_reschedule(env: Environment, cpu: s32) -> None:
    """Interrupt *cpu*; nothing is modelled of an interrupt that another CPU gets."""
    env.trace.event(("smp_send_reschedule", cpu))
    if cpu == env.processor.cpu:
        env.processor.interrupt()


def smp_call_function_single(
    env: Environment, cpu: s32, func: Callable[[T], None], info: T
) -> None:
    """Run ``func(info)`` on *cpu*, and wait for it."""
    env.trace.event(("smp_call", cpu))
    processor = env.processor
    caller = processor.cpu
    processor.move_to(cpu)
    func(info)
    processor.move_to(caller)


def srcu_read_lock(env: Environment) -> None:
    """Keep the layout of guest memory as it is."""
    env.trace.event("srcu_read_lock")


def srcu_read_unlock(env: Environment) -> None:
    """Let the layout of guest memory change."""
    env.trace.event("srcu_read_unlock")


def smp_mb(env: Environment) -> None:
    """Order memory accesses: a place where other CPUs are seen to act."""
    env.trace.point("smp_mb")


def smp_wmb(env: Environment) -> None:
    """Order stores: a place where other CPUs are seen to act."""
    env.trace.point("smp_wmb")


def need_resched(env: Environment) -> bool:
    """Tell whether the thread should give up the CPU."""
    env.trace.point("need_resched")
    return env.need_resched


def schedule(env: Environment) -> None:
    """Give up the CPU; when this returns, the thread has it again and need not give it up."""
    env.need_resched = False


def signal_pending(env: Environment) -> bool:
    """Tell whether a signal waits for the thread."""
    env.trace.point("signal_pending")
    return env.signal_pending


def kvm_guest_enter(env: Environment) -> None:
    """Account time to the guest from now on."""
    env.trace.event("kvm_guest_enter")


def kvm_guest_exit(env: Environment) -> None:
    """Account time to the host from now on."""
    env.trace.event("kvm_guest_exit")


def rdmsr(processor: Processor, msr: u32) -> tuple[u32, u32]:
    """Return the low and the high half of an MSR of the host."""
    value = processor.rdmsr(msr)
    return value & U32, value >> 32


def rdmsr_safe(processor: Processor, msr: u32) -> tuple[int, u32, u32]:
    """Return 0 and the halves of an MSR of the host, or -EIO for one that it lacks; it has all."""
    return 0, *rdmsr(processor, msr)


def wrmsr_safe(msr: u32, low: u32, high: u32) -> int:
    """Return 0 if the host has an MSR and takes a value for it, else -EIO; it takes all.

    Nothing is stored: what is written here is what has just been read.
    """
    return 0


def kvm_cpu_vmxon(env: Environment) -> None:
    """Execute VMXON of the host; it is in VMX operation all the time here."""


def kvm_cpu_vmxoff(env: Environment) -> None:
    """Execute VMXOFF of the host; it is in VMX operation all the time here."""


def set_debugreg(env: Environment, value: u64, n: int) -> None:
    """Load debug register *n* of the processor."""
    env.trace.event(("set_debugreg", n, value))


def hw_breakpoint_active(env: Environment) -> bool:
    """Tell whether the host uses hardware breakpoints; it does not."""
    return False


def hw_breakpoint_restore(env: Environment) -> None:
    """Load the host's hardware breakpoints, of which there are none."""


def host_gdt_address(cpu: s32) -> u64:
    """Return the base of the GDT of *cpu* (``per_cpu(host_gdt, cpu).address``)."""
    return 0xFFFF88003FC04000 + cpu * _PER_CPU


def kvm_read_tr_base(env: Environment) -> u64:
    """Return the base of the TSS of the CPU that the thread runs on."""
    return 0xFFFF88003FC11000 + env.processor.cpu * _PER_CPU


def native_store_idt() -> u64:
    """Return the base of the IDT."""
    return 0xFFFFFFFF81DD6000


def read_cr0() -> u64:
    """Return CR0 of the host."""
    return 0x80050033


def read_cr3() -> u64:
    """Return CR3 of the host."""
    return 0x1234000


def read_cr4() -> u64:
    """Return CR4 of the host."""
    return 0x26F0


def savesegment_fs() -> u16:
    """Return the selector in FS of the host."""
    return 0


def savesegment_gs() -> u16:
    """Return the selector in GS of the host."""
    return 0


def kvm_read_ldt() -> u16:
    """Return the selector in LDTR of the host."""
    return 0
