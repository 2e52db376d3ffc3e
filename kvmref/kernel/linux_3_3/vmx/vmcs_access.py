# SPDX-License-Identifier: GPL-2.0-only
"""Reading and writing fields of the current VMCS (vmx.c:1039-1111).

The accessors of C differ in the type of their value. A store keeps what both that type and the
field can hold; which VMCS is current is the processor's business.
"""

from __future__ import annotations

from kvmref.integers import U32, u16, u32, u64
from kvmref.kernel.linux_3_3.include.kvm_host import kvm_vcpu
from kvmref.processor.vmcs_fields import FIELD_MASKS


def vmcs_readl(vcpu: kvm_vcpu, field: u32) -> u64:
    """Read a field of any width; stands for the VMREAD instruction."""
    return vcpu.processor.vmcs.fields[field]


def vmcs_read16(vcpu: kvm_vcpu, field: u32) -> u16:
    """Read a 16-bit field."""
    return vcpu.processor.vmcs.fields[field] & 0xFFFF


def vmcs_read32(vcpu: kvm_vcpu, field: u32) -> u32:
    """Read a 32-bit field."""
    return vcpu.processor.vmcs.fields[field] & 0xFFFFFFFF


def vmcs_read64(vcpu: kvm_vcpu, field: u32) -> u64:
    """Read a 64-bit field."""
    return vcpu.processor.vmcs.fields[field]


def vmcs_writel(vcpu: kvm_vcpu, field: u32, value: u64) -> None:
    """Write a field of any width; stands for the VMWRITE instruction."""
    vcpu.processor.vmcs.fields[field] = value & FIELD_MASKS[field]


def vmcs_write16(vcpu: kvm_vcpu, field: u32, value: u64) -> None:
    """Write the low 16 bits of *value* to a field.

    Source: arch/x86/kvm/vmx.c:1084-1087
    """
    vcpu.processor.vmcs.fields[field] = value & 0xFFFF


def vmcs_write32(vcpu: kvm_vcpu, field: u32, value: u64) -> None:
    """Write the low 32 bits of *value* to a field.

    Source: arch/x86/kvm/vmx.c:1089-1092
    """
    vcpu.processor.vmcs.fields[field] = value & 0xFFFFFFFF


def vmcs_write64(vcpu: kvm_vcpu, field: u32, value: u64) -> None:
    """Write a 64-bit field.

    Source: arch/x86/kvm/vmx.c:1094-1101
    """
    vcpu.processor.vmcs.fields[field] = value


def vmcs_clear_bits(vcpu: kvm_vcpu, field: u32, mask: u32) -> None:
    """Clear the bits of *mask* in a field, and in a wider field the bits from 32 on.

    The complement of a 32-bit mask is a 32-bit number.

    Source: arch/x86/kvm/vmx.c:1103-1106
    """
    vmcs_writel(vcpu, field, vmcs_readl(vcpu, field) & (~mask & U32))


def vmcs_set_bits(vcpu: kvm_vcpu, field: u32, mask: u32) -> None:
    """Set the bits of *mask* in a field.

    Source: arch/x86/kvm/vmx.c:1108-1111
    """
    vmcs_writel(vcpu, field, vmcs_readl(vcpu, field) | mask)
