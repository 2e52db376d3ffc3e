# SPDX-License-Identifier: GPL-2.0-only
"""Reading registers that the VMCS holds into the cache (vmx.c:2236-2253)."""

from __future__ import annotations

from kvmref.kernel.linux_3_3.include.kvm_host import (
    VCPU_EXREG_PDPTR,
    VCPU_REGS_RIP,
    VCPU_REGS_RSP,
    kvm_vcpu,
)
from kvmref.kernel.linux_3_3.vmx.control_registers import ept_save_pdptrs
from kvmref.kernel.linux_3_3.vmx.structs import to_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_readl
from kvmref.processor.vmcs_fields import GUEST_RIP, GUEST_RSP


def vmx_cache_reg(vcpu: kvm_vcpu, reg: int) -> None:
    """Read the register *reg* (``enum kvm_reg``) from the VMCS.

    Source: arch/x86/kvm/vmx.c:2236-2253
    """
    vcpu.arch.regs_avail |= 1 << reg
    if reg == VCPU_REGS_RSP:
        vcpu.arch.regs[VCPU_REGS_RSP] = vmcs_readl(vcpu, GUEST_RSP)
    elif reg == VCPU_REGS_RIP:
        vcpu.arch.regs[VCPU_REGS_RIP] = vmcs_readl(vcpu, GUEST_RIP)
    elif reg == VCPU_EXREG_PDPTR:
        if to_vmx(vcpu).module.enable_ept:
            ept_save_pdptrs(vcpu)
