# SPDX-License-Identifier: GPL-2.0-only
"""VMCSs and the CPUs that they are loaded on (vmx.c:936-987, 2567-2587)."""

from __future__ import annotations

from kvmref.kernel.linux_3_3.outside.allocator import alloc_vmcs_cpu, free_vmcs
from kvmref.kernel.linux_3_3.outside.environment import Environment
from kvmref.kernel.linux_3_3.outside.host import raw_smp_processor_id, smp_call_function_single
from kvmref.kernel.linux_3_3.vmx.structs import struct_loaded_vmcs, vcpu_vmx
from kvmref.processor.vmcs import Vmcs


def vmcs_clear(env: Environment, vmcs: Vmcs) -> None:
    """Execute VMCLEAR."""
    env.trace.event(("vmclear", vmcs.name))
    env.processor.vmclear(vmcs)


def vmcs_load(env: Environment, vmcs: Vmcs) -> None:
    """Execute VMPTRLD."""
    env.trace.event(("vmptrld", vmcs.name))
    env.processor.vmptrld(vmcs)


def loaded_vmcs_init(env: Environment, loaded_vmcs: struct_loaded_vmcs) -> None:
    """Clear a VMCS, so that it is loaded nowhere and must be launched.

    Source: arch/x86/kvm/vmx.c:949-954
    """
    assert loaded_vmcs.vmcs is not None
    vmcs_clear(env, loaded_vmcs.vmcs)
    loaded_vmcs.cpu = -1
    loaded_vmcs.launched = 0


def __loaded_vmcs_clear(vmx: vcpu_vmx, loaded_vmcs: struct_loaded_vmcs) -> None:
    """Clear a VMCS that is loaded on the CPU that executes this.

    Source: arch/x86/kvm/vmx.c:969-980
    """
    cpu = raw_smp_processor_id(vmx.env)

    if loaded_vmcs.cpu != cpu:
        return
    if vmx.module.current_vmcs[cpu] is loaded_vmcs.vmcs:
        vmx.module.current_vmcs[cpu] = None
    vmx.module.loaded_vmcss_on_cpu[cpu].remove(loaded_vmcs)
    loaded_vmcs_init(vmx.env, loaded_vmcs)


def loaded_vmcs_clear(vmx: vcpu_vmx, loaded_vmcs: struct_loaded_vmcs) -> None:
    """Clear a VMCS on the CPU where it is loaded, if it is.

    Source: arch/x86/kvm/vmx.c:982-987
    """
    if loaded_vmcs.cpu != -1:
        smp_call_function_single(
            vmx.env, loaded_vmcs.cpu, lambda arg: __loaded_vmcs_clear(vmx, arg), loaded_vmcs
        )


def alloc_vmcs(env: Environment) -> Vmcs | None:
    """Allocate a VMCS on this CPU; ``None`` if there is no memory.

    Source: arch/x86/kvm/vmx.c:2567-2570
    """
    return alloc_vmcs_cpu(env, raw_smp_processor_id(env))


def free_loaded_vmcs(vmx: vcpu_vmx, loaded_vmcs: struct_loaded_vmcs) -> None:
    """Free a VMCS, after it was cleared where it is loaded.

    Source: arch/x86/kvm/vmx.c:2580-2587
    """
    if loaded_vmcs.vmcs is None:
        return
    loaded_vmcs_clear(vmx, loaded_vmcs)
    free_vmcs(vmx.env, loaded_vmcs.vmcs)
    loaded_vmcs.vmcs = None
