# SPDX-License-Identifier: GPL-2.0-only
"""A machine: the kernel on a processor, behind the step API.

``reset`` makes a machine from a `Setup`, ``step`` does one thing to it, ``observe`` looks at it
without changing anything. A machine is deterministic: the same setup and the same steps give the
same logs and the same state. ``fork`` makes an independent copy that goes on identically.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

from kvmref.errors import UnknownKeyError, UnsupportedStepError
from kvmref.kernel.linux_3_3.boot import capability_msrs, create_vcpu
from kvmref.kernel.linux_3_3.include.kvm_host import (
    IN_GUEST_MODE,
    KVM_REQ_EVENT,
    PAGE_SHIFT,
    VCPU_REGS_RIP,
    kvm_make_request,
    kvm_vcpu_exiting_guest_mode,
)
from kvmref.kernel.linux_3_3.kvm_cache_regs import kvm_register_write
from kvmref.kernel.linux_3_3.outside.environment import Environment
from kvmref.kernel.linux_3_3.outside.host import reschedule_interrupt
from kvmref.kernel.linux_3_3.outside.memory import PAGES, gfn_to_memslot
from kvmref.kernel.linux_3_3.vmx.event_injection import vmx_set_nmi_mask
from kvmref.kernel.linux_3_3.vmx.host_state import vmx_vcpu_load, vmx_vcpu_put
from kvmref.kernel.linux_3_3.vmx.nested_instructions import free_nested
from kvmref.kernel.linux_3_3.vmx.nested_pages import kmap_vmcs12
from kvmref.kernel.linux_3_3.vmx.rflags import vmx_set_interrupt_shadow, vmx_set_rflags
from kvmref.kernel.linux_3_3.vmx.structs import vcpu_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs12 import VMCS12_MEMBERS, VMCS12_REVISION, struct_vmcs12
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_writel
from kvmref.kernel.linux_3_3.x86.enter_guest import vcpu_enter_guest
from kvmref.kernel.linux_3_3.x86.exceptions import (
    kvm_inject_nmi,
    kvm_queue_exception,
    kvm_queue_exception_e,
    kvm_requeue_exception,
    kvm_requeue_exception_e,
)
from kvmref.kernel.linux_3_3.x86.fpu import kvm_put_guest_fpu
from kvmref.kernel.linux_3_3.x86_h import kvm_queue_interrupt
from kvmref.kernel.setup import Setup
from kvmref.machine.keys import GPR_NAMES, KEYS, Value
from kvmref.machine.log import Hook, Log
from kvmref.machine.steps import (
    AllocFail,
    At,
    ClearExits,
    ClearHooks,
    ClearRequest,
    Destroy,
    Dump,
    Enter,
    Events,
    Exit,
    HostIrq,
    HostIrqNow,
    Irq,
    Kick,
    Ktime,
    Map,
    Mem,
    MmuFail,
    Nmi,
    PokeVmcs12,
    QueueException,
    Request,
    Resched,
    Sched,
    Set,
    Signal,
    Step,
    StepResult,
    TimeFail,
    Tsc,
    Unmap,
    WriteRegisters,
    WriteVmcs,
    WriteVmcs12,
)
from kvmref.processor.scripted import Outcome, ScriptedProcessor
from kvmref.processor.vmcs import Vmcs
from kvmref.processor.vmcs_fields import VMCS_FIELDS

DEFAULT_SETUP: Final = Setup()
"""A 64-bit L1 on a host with EPT and VPID."""

_REGISTERS: Final = {name: number for number, name in enumerate(GPR_NAMES)} | {"rip": VCPU_REGS_RIP}


class Machine:
    """Linux 3.3.8's KVM on a scripted processor, with one virtual CPU."""

    __slots__ = ("env", "log", "processor", "setup", "vmx")

    def __init__(self, setup: Setup = DEFAULT_SETUP) -> None:
        """Make a machine from *setup*; the same as `reset`.

        Raises `kvmref.kernel.linux_3_3.boot.UnsupportedHostError` if KVM cannot load there.
        """
        self.reset(setup)

    def reset(self, setup: Setup = DEFAULT_SETUP) -> None:
        """Start anew from *setup*: L1 is about to run for the first time, without VMXON."""
        self.setup = setup
        self.log = Log()
        self.processor = ScriptedProcessor(capability_msrs(setup), setup.tsc, self.log)
        self.env = Environment(trace=self.log, processor=self.processor, setup=setup)
        self._connect()
        self.vmx: vcpu_vmx = create_vcpu(setup, self.env)
        self.log.events = []

    def _connect(self) -> None:
        """Tell the processor whom to call."""
        env = self.env
        self.processor.on_interrupt = lambda: reschedule_interrupt(env)
        self.processor.on_outcome = self._steer

    def _steer(self, outcome: Outcome) -> None:
        """Let what an outcome says about the emulator and the MMU hold until the next run."""
        env = self.env
        env.emul = outcome.emul
        env.pf = outcome.pf
        env.pferr = outcome.pferr

    def fork(self) -> Machine:
        """Return a copy that shares nothing with this machine, and goes on identically."""
        return copy.deepcopy(self)

    def __deepcopy__(self, memo: dict[int, object]) -> Machine:
        """Copy guest memory first, so that every view of a guest page becomes one of the copy."""
        copied = Machine.__new__(Machine)
        memo[id(self)] = copied
        copy.deepcopy(self.env.memory, memo)
        copied.setup = self.setup
        copied.log = copy.deepcopy(self.log, memo)
        copied.processor = copy.deepcopy(self.processor, memo)
        copied.env = copy.deepcopy(self.env, memo)
        copied.vmx = copy.deepcopy(self.vmx, memo)
        copied._connect()
        return copied

    def step(self, step: Step) -> StepResult:
        """Do *step*, and return what came of it."""
        self.log.events = []
        ret = self._perform(step)
        return StepResult(ret, self.log.events)

    def _perform(self, step: Step) -> int | None:
        """Do *step*, within another one if a hook asks for it; return what ``Enter`` returns."""
        vmx = self.vmx
        env = self.env
        processor = self.processor
        match step:
            case Enter():
                self.log.events = []
                return vcpu_enter_guest(vmx)
            case Exit(outcome):
                processor.outcomes.append(outcome)
            case Mem(gpa, size, value):
                env.memory.store(gpa, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))
            case WriteRegisters(regs):
                self._write_registers(regs)
            case Irq(vector, noreq):
                self._interrupt(vector, noreq)
            case Request(bit):
                kvm_make_request(bit, vmx)
            case ClearRequest(bit):
                vmx.requests &= ~(1 << bit)
            case Dump():
                pass
            case ClearExits():
                processor.outcomes.clear()
            case Nmi():
                kvm_inject_nmi(vmx)
                self._kick()
            case QueueException():
                self._queue_exception(step)
            case Kick():
                self._kick()
            case Signal(pending):
                env.signal_pending = pending
            case Resched(needed):
                env.need_resched = needed
            case HostIrq():
                processor.device_interrupt = True
            case HostIrqNow():
                processor.interrupt()
            case Sched(cpu):
                self._schedule(processor.cpu if cpu is None else cpu)
            case Unmap(gva):
                env.unmapped.add((gva >> PAGE_SHIFT) % PAGES)
            case Map(gva):
                env.unmapped.discard((gva >> PAGE_SHIFT) % PAGES)
            case WriteVmcs12(gpa, fields, zero):
                self._write_vmcs12(gpa, fields, zero)
            case PokeVmcs12(fields):
                if vmx.nested.current_vmcs12 is not None:
                    _store_members(vmx.nested.current_vmcs12, fields)
            case WriteVmcs(by_encoding):
                for encoding, value in by_encoding.items():
                    vmcs_writel(vmx, encoding, value)
            case Set(values):
                self._set(values)
            case Events(shadow, nmi_masked):
                if shadow is not None:
                    vmx_set_interrupt_shadow(vmx, shadow)
                if nmi_masked is not None:
                    vmx_set_nmi_mask(vmx, nmi_masked)
                kvm_make_request(KVM_REQ_EVENT, vmx)
            case Tsc(value):
                processor.tsc = value
            case Ktime(ns):
                env.ktime = ns
            case MmuFail():
                env.mmu_fail = True
            case TimeFail():
                env.time_fail = True
            case AllocFail(what):
                env.alloc_fail = what
            case At(event, action, count):
                self.log.hooks.insert(0, Hook(event, count, self._hook(action)))
            case ClearHooks():
                self.log.hooks.clear()
            case Destroy():
                self.log.events = []
                free_nested(vmx)
            case _ as unknown:
                _not_a_step(unknown)
        return None

    def _hook(self, action: Step) -> Callable[[], None]:
        """Return what a hook calls to do *action*."""
        return _HookAction(self, action)

    def _kick(self) -> None:
        """Make the virtual CPU leave its guest, if it is in guest mode."""
        if kvm_vcpu_exiting_guest_mode(self.vmx) == IN_GUEST_MODE:
            self.log.event("kick_ipi")
            self.processor.interrupt()

    def _interrupt(self, vector: int, noreq: bool) -> None:
        """Let an interrupt for L1 arrive."""
        if not self.vmx.kvm.irqchip_in_kernel:
            kvm_queue_interrupt(self.vmx, vector, False)
            kvm_make_request(KVM_REQ_EVENT, self.vmx)
            return
        self.env.irr |= 1 << vector
        if not noreq:
            kvm_make_request(KVM_REQ_EVENT, self.vmx)
        self._kick()

    def _queue_exception(self, step: QueueException) -> None:
        """Queue an exception for the guest that runs."""
        if step.err is None:
            queue = kvm_requeue_exception if step.reinject else kvm_queue_exception
            queue(self.vmx, step.vector)
        else:
            queue_e = kvm_requeue_exception_e if step.reinject else kvm_queue_exception_e
            queue_e(self.vmx, step.vector, step.err)

    def _schedule(self, cpu: int) -> None:
        """Take the thread off its CPU, and put it on *cpu*."""
        vmx_vcpu_put(self.vmx)
        kvm_put_guest_fpu(self.vmx)
        self.processor.move_to(cpu)
        vmx_vcpu_load(self.vmx, cpu)
        self.vmx.cpu = cpu

    def _write_vmcs12(self, gpa: int, fields: dict[str, int], zero: bool) -> None:
        """Store members of ``struct vmcs12`` on the guest page at *gpa*, if there is one."""
        if not gfn_to_memslot(self.env, gpa >> PAGE_SHIFT):
            return
        page = self.env.memory.page_at(gpa >> PAGE_SHIFT)
        if zero:
            page.data[:] = bytes(len(page.data))
        _store_members(kmap_vmcs12(page), fields)

    def _write_registers(self, regs: dict[str, int]) -> None:
        """Write registers of the guest, by name."""
        vmx = self.vmx
        for name, value in regs.items():
            if name == "rflags":
                vmx_set_rflags(vmx, value)
            elif name == "cr2":
                vmx.arch.cr2 = value
            elif name in _REGISTERS:
                kvm_register_write(vmx, _REGISTERS[name], value)
            else:
                raise UnsupportedStepError(f"no register is called {name!r}")

    def _set(self, values: dict[str, int]) -> None:
        """Store into variables of L0, by name."""
        vmx = self.vmx
        arch = vmx.arch
        for name, value in values.items():
            match name:
                case "guest_debug":
                    vmx.guest_debug = value
                case "cr8":
                    arch.cr8 = value
                case "xcr0":
                    arch.xcr0 = value
                case "dr7":
                    arch.dr7 = value
                case "mp_state":
                    arch.mp_state = value
                case "switch_db_regs":
                    arch.switch_db_regs = value
                case "nmi_pending":
                    arch.nmi_pending = value
                case "apf_halted":
                    arch.apf.halted = bool(value)
                case "riw":
                    vmx.run.request_interrupt_window = value
                case "run_exit_reason":
                    vmx.run.exit_reason = value
                case _:
                    raise UnsupportedStepError(f"no variable is called {name!r}")

    def observe(self, keys: Iterable[str]) -> dict[str, Value]:
        """Return the values of *keys*, in their order.

        Fields of a VMCS that is not there are ``None``. Raises `UnknownKeyError`.
        """
        return {key: self._observe(key) for key in keys}

    def _observe(self, key: str) -> Value:
        known = KEYS.get(key)
        if known is not None:
            return known.read(self.vmx)
        region, _, field = key.partition(".")
        if region == "vmcs12" and field in VMCS12_MEMBERS:
            vmcs12 = self.vmx.nested.current_vmcs12
            if vmcs12 is None:
                return None
            member: int = getattr(vmcs12, field)
            return member
        if region in ("vmcs01", "vmcs02") and field in VMCS_FIELDS:
            vmcs = self.vmx.vmcs01.vmcs if region == "vmcs01" else self._vmcs02()
            return None if vmcs is None else vmcs.fields[VMCS_FIELDS[field]]
        raise UnknownKeyError(key)

    def state(self) -> dict[str, Value]:
        """Return the complete state: every key, and of the VMCSs the fields that are not zero.

        ``vmcs01``, ``vmcs02`` and ``vmcs12`` themselves map to an empty dict if the VMCS is there,
        and to ``None`` if it is not.
        """
        vmx = self.vmx
        state: dict[str, Value] = {name: key.read(vmx) for name, key in KEYS.items()}
        for region, vmcs in (("vmcs01", vmx.vmcs01.vmcs), ("vmcs02", self._vmcs02())):
            if vmcs is None:
                state[region] = None
            else:
                state[region] = {}
                for name, value in vmcs.nonzero().items():
                    state[f"{region}.{name}"] = value
        vmcs12 = vmx.nested.current_vmcs12
        if vmcs12 is None:
            state["vmcs12"] = None
        else:
            state["vmcs12"] = {}
            for member in VMCS12_MEMBERS:
                value = getattr(vmcs12, member)
                if value:
                    state[f"vmcs12.{member}"] = value
        return state

    def _vmcs02(self) -> Vmcs | None:
        """Return the VMCS of the first entry of the pool, if there is one."""
        nested = self.vmx.nested
        if not nested.vmxon or not nested.vmcs02_pool:
            return None
        return nested.vmcs02_pool[0].vmcs02.vmcs

    def pinned(self) -> list[list[int]]:
        """Return the guest pages that somebody holds: address and number of references."""
        return [[gpa, references] for gpa, references in self.env.memory.pinned()]

    def effective(self) -> dict[str, int]:
        """Return what module parameters and feature flags have come to on this host."""
        module = self.vmx.module
        return {
            "enable_ept": int(module.enable_ept),
            "enable_vpid": int(module.enable_vpid),
            "enable_unrestricted_guest": int(module.enable_unrestricted_guest),
            "flexpriority_enabled": int(module.flexpriority_enabled),
            "ple_gap": module.ple_gap,
            "cpu_has_load_ia32_efer": int(module.cpu_has_load_ia32_efer),
            "cpu_has_load_perf_global_ctrl": int(module.cpu_has_load_perf_global_ctrl),
            "efer_reserved_bits": self.vmx.kvm.efer_reserved_bits,
        }

    def vmcs_config(self) -> dict[str, int]:
        """Return the control words that L0 uses."""
        config = self.vmx.module.vmcs_config
        return {
            "pin": config.pin_based_exec_ctrl,
            "cpu": config.cpu_based_exec_ctrl,
            "cpu2": config.cpu_based_2nd_exec_ctrl,
            "vmexit": config.vmexit_ctrl,
            "vmentry": config.vmentry_ctrl,
        }

    def ctls(self) -> dict[str, int]:
        """Return the control words that L1 may use, and the revision of its VMCSs."""
        ctls = self.vmx.module.nested_vmx
        return {
            "VMCS12_REVISION": VMCS12_REVISION,
            "nested_vmx_procbased_ctls_low": ctls.procbased_ctls_low,
            "nested_vmx_procbased_ctls_high": ctls.procbased_ctls_high,
            "nested_vmx_secondary_ctls_low": ctls.secondary_ctls_low,
            "nested_vmx_secondary_ctls_high": ctls.secondary_ctls_high,
            "nested_vmx_pinbased_ctls_low": ctls.pinbased_ctls_low,
            "nested_vmx_pinbased_ctls_high": ctls.pinbased_ctls_high,
            "nested_vmx_exit_ctls_low": ctls.exit_ctls_low,
            "nested_vmx_exit_ctls_high": ctls.exit_ctls_high,
            "nested_vmx_entry_ctls_low": ctls.entry_ctls_low,
            "nested_vmx_entry_ctls_high": ctls.entry_ctls_high,
        }


class _HookAction:
    """What a hook does: a step within a step. An object, so that copies of a machine copy it."""

    __slots__ = ("action", "machine")

    def __init__(self, machine: Machine, action: Step) -> None:
        self.machine = machine
        self.action = action

    def __call__(self) -> None:
        self.machine._perform(self.action)


def _store_members(vmcs12: struct_vmcs12, fields: dict[str, int]) -> None:
    """Store members of ``struct vmcs12``, truncated to their sizes."""
    for name, value in fields.items():
        if name not in VMCS12_MEMBERS:
            raise UnsupportedStepError(f"struct vmcs12 has no member {name!r}")
        setattr(vmcs12, name, value & ((1 << 8 * VMCS12_MEMBERS[name]) - 1))


def _not_a_step(step: NoReturn) -> NoReturn:
    """Refuse what is not a step; a type checker makes sure that no step comes here."""
    raise UnsupportedStepError(f"{step!r} is not a step")
