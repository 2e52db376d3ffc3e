# SPDX-License-Identifier: GPL-2.0-only
"""MSRs that differ between host and guest (vmx.c:890-934, 1197-1347, 1732-1789, 6081-6097).

Three ways to switch them: VMCS controls made for one MSR, the MSR-load areas, and ``guest_msrs``,
which the host switches lazily.
"""

from __future__ import annotations

from kvmref.integers import U64, u32, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    VM_ENTRY_LOAD_IA32_EFER,
    VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL,
    VM_EXIT_LOAD_IA32_EFER,
    VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL,
)
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu
from kvmref.kernel.linux_3_3.include.msr_index import (
    EFER_LMA,
    EFER_LME,
    EFER_NX,
    EFER_SCE,
    MSR_CORE_PERF_GLOBAL_CTRL,
    MSR_CSTAR,
    MSR_EFER,
    MSR_LSTAR,
    MSR_STAR,
    MSR_SYSCALL_MASK,
    MSR_TSC_AUX,
)
from kvmref.kernel.linux_3_3.outside.host import MSR_BITMAP_LEGACY_PA, MSR_BITMAP_LONGMODE_PA
from kvmref.kernel.linux_3_3.outside.pmu import perf_guest_get_msrs
from kvmref.kernel.linux_3_3.vmx.capabilities import cpu_has_vmx_msr_bitmap
from kvmref.kernel.linux_3_3.vmx.module import vmx_msr_index
from kvmref.kernel.linux_3_3.vmx.structs import (
    NR_AUTOLOAD_MSRS,
    shared_msr_entry,
    vcpu_vmx,
    vmx_msr_entry,
)
from kvmref.kernel.linux_3_3.vmx.vmcs_access import (
    vmcs_clear_bits,
    vmcs_set_bits,
    vmcs_write32,
    vmcs_write64,
)
from kvmref.kernel.linux_3_3.x86_h import is_long_mode
from kvmref.processor.vmcs_fields import (
    GUEST_IA32_EFER,
    GUEST_IA32_PERF_GLOBAL_CTRL,
    HOST_IA32_EFER,
    HOST_IA32_PERF_GLOBAL_CTRL,
    MSR_BITMAP,
    VM_ENTRY_CONTROLS,
    VM_ENTRY_MSR_LOAD_COUNT,
    VM_EXIT_CONTROLS,
    VM_EXIT_MSR_LOAD_COUNT,
)


def __find_msr_index(vmx: vcpu_vmx, msr: u32) -> int:
    """Return the position of *msr* in ``guest_msrs``, or -1.

    Source: arch/x86/kvm/vmx.c:890-898
    """
    for i in range(vmx.nmsrs):
        if vmx_msr_index[vmx.guest_msrs[i].index] == msr:
            return i
    return -1


def find_msr_entry(vmx: vcpu_vmx, msr: u32) -> shared_msr_entry | None:
    """Return the entry of *msr* in ``guest_msrs``, if it has one.

    Source: arch/x86/kvm/vmx.c:926-934
    """
    i = __find_msr_index(vmx, msr)
    if i >= 0:
        return vmx.guest_msrs[i]
    return None


def clear_atomic_switch_msr_special(vcpu: kvm_vcpu, entry: u32, exit: u32) -> None:
    """Stop switching an MSR by the VM-entry and VM-exit controls *entry* and *exit*.

    Source: arch/x86/kvm/vmx.c:1197-1202
    """
    vmcs_clear_bits(vcpu, VM_ENTRY_CONTROLS, entry)
    vmcs_clear_bits(vcpu, VM_EXIT_CONTROLS, exit)


def clear_atomic_switch_msr(vmx: vcpu_vmx, msr: u32) -> None:
    """Stop switching *msr* at VM entry and VM exit.

    Source: arch/x86/kvm/vmx.c:1204-1238
    """
    m = vmx.msr_autoload

    if msr == MSR_EFER:
        if vmx.module.cpu_has_load_ia32_efer:
            clear_atomic_switch_msr_special(vmx, VM_ENTRY_LOAD_IA32_EFER, VM_EXIT_LOAD_IA32_EFER)
            return
    elif msr == MSR_CORE_PERF_GLOBAL_CTRL:
        if vmx.module.cpu_has_load_perf_global_ctrl:
            clear_atomic_switch_msr_special(
                vmx, VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL, VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL
            )
            return

    i = 0
    while i < m.nr:
        if m.guest[i].index == msr:
            break
        i += 1

    if i == m.nr:
        return
    m.nr -= 1
    _copy_msr_entry(m.guest[i], m.guest[m.nr])
    _copy_msr_entry(m.host[i], m.host[m.nr])
    vmcs_write32(vmx, VM_ENTRY_MSR_LOAD_COUNT, m.nr)
    vmcs_write32(vmx, VM_EXIT_MSR_LOAD_COUNT, m.nr)


def _copy_msr_entry(to: vmx_msr_entry, source: vmx_msr_entry) -> None:
    """Assign one entry of an MSR-load area to another, as C assigns structs."""
    to.index = source.index
    to.value = source.value


def add_atomic_switch_msr_special(
    vcpu: kvm_vcpu,
    entry: u32,
    exit: u32,
    guest_val_vmcs: u32,
    host_val_vmcs: u32,
    guest_val: u64,
    host_val: u64,
) -> None:
    """Switch an MSR by the controls *entry* and *exit* and the VMCS fields for its values.

    Source: arch/x86/kvm/vmx.c:1240-1248
    """
    vmcs_write64(vcpu, guest_val_vmcs, guest_val)
    vmcs_write64(vcpu, host_val_vmcs, host_val)
    vmcs_set_bits(vcpu, VM_ENTRY_CONTROLS, entry)
    vmcs_set_bits(vcpu, VM_EXIT_CONTROLS, exit)


def add_atomic_switch_msr(vmx: vcpu_vmx, msr: u32, guest_val: u64, host_val: u64) -> None:
    """Switch *msr* at VM entry to *guest_val*, and at VM exit to *host_val*.

    A full MSR-load area has no room for another MSR; then nothing happens.

    Source: arch/x86/kvm/vmx.c:1250-1298
    """
    m = vmx.msr_autoload

    if msr == MSR_EFER:
        if vmx.module.cpu_has_load_ia32_efer:
            add_atomic_switch_msr_special(
                vmx,
                VM_ENTRY_LOAD_IA32_EFER,
                VM_EXIT_LOAD_IA32_EFER,
                GUEST_IA32_EFER,
                HOST_IA32_EFER,
                guest_val,
                host_val,
            )
            return
    elif msr == MSR_CORE_PERF_GLOBAL_CTRL:
        if vmx.module.cpu_has_load_perf_global_ctrl:
            add_atomic_switch_msr_special(
                vmx,
                VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL,
                VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL,
                GUEST_IA32_PERF_GLOBAL_CTRL,
                HOST_IA32_PERF_GLOBAL_CTRL,
                guest_val,
                host_val,
            )
            return

    i = 0
    while i < m.nr:
        if m.guest[i].index == msr:
            break
        i += 1

    if i == NR_AUTOLOAD_MSRS:
        return
    if i == m.nr:
        m.nr += 1
        vmcs_write32(vmx, VM_ENTRY_MSR_LOAD_COUNT, m.nr)
        vmcs_write32(vmx, VM_EXIT_MSR_LOAD_COUNT, m.nr)

    m.guest[i].index = msr
    m.guest[i].value = guest_val
    m.host[i].index = msr
    m.host[i].value = host_val


def update_transition_efer(vmx: vcpu_vmx, efer_offset: int) -> bool:
    """Decide how EFER is switched; tell whether lazily, by ``guest_msrs[efer_offset]``.

    NX is emulated, LMA and LME are the processor's business, and SCE means nothing outside long
    mode; only a difference in NX under EPT needs a switch at VM entry and VM exit.

    Source: arch/x86/kvm/vmx.c:1313-1347
    """
    host_efer = vmx.module.host_efer
    guest_efer = vmx.arch.efer

    ignore_bits = EFER_NX | EFER_SCE
    ignore_bits |= EFER_LMA | EFER_LME
    if guest_efer & EFER_LMA:
        ignore_bits &= ~EFER_SCE
    guest_efer &= ~ignore_bits
    guest_efer |= host_efer & ignore_bits
    vmx.guest_msrs[efer_offset].data = guest_efer
    vmx.guest_msrs[efer_offset].mask = ~ignore_bits & U64

    clear_atomic_switch_msr(vmx, MSR_EFER)
    if vmx.module.enable_ept and ((vmx.arch.efer ^ host_efer) & EFER_NX):
        guest_efer = vmx.arch.efer
        if not guest_efer & EFER_LMA:
            guest_efer &= ~EFER_LME
        add_atomic_switch_msr(vmx, MSR_EFER, guest_efer, host_efer)
        return False

    return True


def move_msr_up(vmx: vcpu_vmx, from_: int, to: int) -> None:
    """Swap two entries of ``guest_msrs``.

    Source: arch/x86/kvm/vmx.c:1732-1739
    """
    tmp = vmx.guest_msrs[to]
    vmx.guest_msrs[to] = vmx.guest_msrs[from_]
    vmx.guest_msrs[from_] = tmp


def setup_msrs(vmx: vcpu_vmx) -> None:
    """Bring to the front of ``guest_msrs`` those that the guest's mode needs, and count them.

    Source: arch/x86/kvm/vmx.c:1746-1789
    """
    save_nmsrs = 0
    if is_long_mode(vmx):
        index = __find_msr_index(vmx, MSR_SYSCALL_MASK)
        if index >= 0:
            move_msr_up(vmx, index, save_nmsrs)
            save_nmsrs += 1
        index = __find_msr_index(vmx, MSR_LSTAR)
        if index >= 0:
            move_msr_up(vmx, index, save_nmsrs)
            save_nmsrs += 1
        index = __find_msr_index(vmx, MSR_CSTAR)
        if index >= 0:
            move_msr_up(vmx, index, save_nmsrs)
            save_nmsrs += 1
        index = __find_msr_index(vmx, MSR_TSC_AUX)
        if index >= 0 and vmx.rdtscp_enabled:
            move_msr_up(vmx, index, save_nmsrs)
            save_nmsrs += 1
        index = __find_msr_index(vmx, MSR_STAR)
        if index >= 0 and vmx.arch.efer & EFER_SCE:
            move_msr_up(vmx, index, save_nmsrs)
            save_nmsrs += 1
    index = __find_msr_index(vmx, MSR_EFER)
    if index >= 0 and update_transition_efer(vmx, index):
        move_msr_up(vmx, index, save_nmsrs)
        save_nmsrs += 1

    vmx.save_nmsrs = save_nmsrs

    if cpu_has_vmx_msr_bitmap(vmx.module):
        if is_long_mode(vmx):
            msr_bitmap = MSR_BITMAP_LONGMODE_PA
        else:
            msr_bitmap = MSR_BITMAP_LEGACY_PA

        vmcs_write64(vmx, MSR_BITMAP, msr_bitmap)


def atomic_switch_perf_msrs(vmx: vcpu_vmx) -> None:
    """Switch the performance-monitoring MSRs that differ between host and guest.

    Source: arch/x86/kvm/vmx.c:6081-6097
    """
    for msr in perf_guest_get_msrs():
        if msr.host == msr.guest:
            clear_atomic_switch_msr(vmx, msr.msr)
        else:
            add_atomic_switch_msr(vmx, msr.msr, msr.guest, msr.host)
