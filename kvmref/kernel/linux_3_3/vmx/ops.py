# SPDX-License-Identifier: GPL-2.0-only
"""The table of VMX's functions for the code that is common to all vendors (vmx.c:7104-7193)."""

from __future__ import annotations

from kvmref.kernel.linux_3_3.include.kvm_host import struct_kvm_x86_ops
from kvmref.kernel.linux_3_3.vmx.complete_interrupts import (
    update_cr8_intercept,
    vmx_cancel_injection,
)
from kvmref.kernel.linux_3_3.vmx.control_registers import (
    vmx_decache_cr0_guest_bits,
    vmx_decache_cr3,
    vmx_decache_cr4_guest_bits,
    vmx_set_cr0,
    vmx_set_cr3,
    vmx_set_cr4,
    vmx_set_efer,
)
from kvmref.kernel.linux_3_3.vmx.event_injection import (
    enable_irq_window,
    enable_nmi_window,
    vmx_get_nmi_mask,
    vmx_inject_irq,
    vmx_inject_nmi,
    vmx_interrupt_allowed,
    vmx_nmi_allowed,
    vmx_queue_exception,
)
from kvmref.kernel.linux_3_3.vmx.fpu import vmx_fpu_deactivate
from kvmref.kernel.linux_3_3.vmx.handle_exit import vmx_handle_exit
from kvmref.kernel.linux_3_3.vmx.host_state import vmx_save_host_state, vmx_vcpu_load, vmx_vcpu_put
from kvmref.kernel.linux_3_3.vmx.register_cache import vmx_cache_reg
from kvmref.kernel.linux_3_3.vmx.register_exits import vmx_set_dr7
from kvmref.kernel.linux_3_3.vmx.rflags import skip_emulated_instruction, vmx_get_rflags
from kvmref.kernel.linux_3_3.vmx.run import vmx_vcpu_run
from kvmref.kernel.linux_3_3.vmx.segments import vmx_get_cpl, vmx_get_cs_db_l_bits
from kvmref.kernel.linux_3_3.vmx.tlb import vmx_flush_tlb
from kvmref.kernel.linux_3_3.vmx.tsc import (
    vmx_compute_tsc_offset,
    vmx_read_l1_tsc,
    vmx_write_tsc_offset,
)
from kvmref.kernel.linux_3_3.vmx.vcpu_setup import vmx_cpuid_update


def vmx_x86_ops() -> struct_kvm_x86_ops:
    """Return a new table; `hardware_setup` may take an entry out of it."""
    return struct_kvm_x86_ops(
        prepare_guest_switch=vmx_save_host_state,
        vcpu_load=vmx_vcpu_load,
        vcpu_put=vmx_vcpu_put,
        get_cpl=vmx_get_cpl,
        get_cs_db_l_bits=vmx_get_cs_db_l_bits,
        decache_cr0_guest_bits=vmx_decache_cr0_guest_bits,
        decache_cr3=vmx_decache_cr3,
        decache_cr4_guest_bits=vmx_decache_cr4_guest_bits,
        set_cr0=vmx_set_cr0,
        set_cr3=vmx_set_cr3,
        set_cr4=vmx_set_cr4,
        set_efer=vmx_set_efer,
        set_dr7=vmx_set_dr7,
        cache_reg=vmx_cache_reg,
        get_rflags=vmx_get_rflags,
        fpu_deactivate=vmx_fpu_deactivate,
        tlb_flush=vmx_flush_tlb,
        run=vmx_vcpu_run,
        handle_exit=vmx_handle_exit,
        skip_emulated_instruction=skip_emulated_instruction,
        set_irq=vmx_inject_irq,
        set_nmi=vmx_inject_nmi,
        queue_exception=vmx_queue_exception,
        cancel_injection=vmx_cancel_injection,
        interrupt_allowed=vmx_interrupt_allowed,
        nmi_allowed=vmx_nmi_allowed,
        get_nmi_mask=vmx_get_nmi_mask,
        enable_nmi_window=enable_nmi_window,
        enable_irq_window=enable_irq_window,
        update_cr8_intercept=update_cr8_intercept,
        cpuid_update=vmx_cpuid_update,
        write_tsc_offset=vmx_write_tsc_offset,
        compute_tsc_offset=vmx_compute_tsc_offset,
        read_l1_tsc=vmx_read_l1_tsc,
    )
