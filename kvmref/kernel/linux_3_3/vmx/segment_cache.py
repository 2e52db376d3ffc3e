# SPDX-License-Identifier: GPL-2.0-only
"""The cache of segment registers (vmx.c:1113-1167).

It is emptied lazily: `vmx_segment_cache_test_set` does so when it finds that the guest has run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kvmref.integers import u16, u32, u64
from kvmref.kernel.linux_3_3.include.kvm_host import VCPU_EXREG_SEGMENTS
from kvmref.kernel.linux_3_3.vmx.structs import (
    SEG_FIELD_AR,
    SEG_FIELD_BASE,
    SEG_FIELD_LIMIT,
    SEG_FIELD_NR,
    SEG_FIELD_SEL,
    vcpu_vmx,
)
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_read16, vmcs_read32, vmcs_readl
from kvmref.processor.vmcs_fields import (
    GUEST_CS_AR_BYTES,
    GUEST_CS_BASE,
    GUEST_CS_LIMIT,
    GUEST_CS_SELECTOR,
    GUEST_DS_AR_BYTES,
    GUEST_DS_BASE,
    GUEST_DS_LIMIT,
    GUEST_DS_SELECTOR,
    GUEST_ES_AR_BYTES,
    GUEST_ES_BASE,
    GUEST_ES_LIMIT,
    GUEST_ES_SELECTOR,
    GUEST_FS_AR_BYTES,
    GUEST_FS_BASE,
    GUEST_FS_LIMIT,
    GUEST_FS_SELECTOR,
    GUEST_GS_AR_BYTES,
    GUEST_GS_BASE,
    GUEST_GS_LIMIT,
    GUEST_GS_SELECTOR,
    GUEST_LDTR_AR_BYTES,
    GUEST_LDTR_BASE,
    GUEST_LDTR_LIMIT,
    GUEST_LDTR_SELECTOR,
    GUEST_SS_AR_BYTES,
    GUEST_SS_BASE,
    GUEST_SS_LIMIT,
    GUEST_SS_SELECTOR,
    GUEST_TR_AR_BYTES,
    GUEST_TR_BASE,
    GUEST_TR_LIMIT,
    GUEST_TR_SELECTOR,
)


@dataclass(slots=True, frozen=True)
class kvm_vmx_segment_field:
    """The VMCS fields of a segment register (``struct kvm_vmx_segment_field``)."""

    selector: u32
    base: u32
    limit: u32
    ar_bytes: u32


kvm_vmx_segment_fields: Final = (
    kvm_vmx_segment_field(GUEST_ES_SELECTOR, GUEST_ES_BASE, GUEST_ES_LIMIT, GUEST_ES_AR_BYTES),
    kvm_vmx_segment_field(GUEST_CS_SELECTOR, GUEST_CS_BASE, GUEST_CS_LIMIT, GUEST_CS_AR_BYTES),
    kvm_vmx_segment_field(GUEST_SS_SELECTOR, GUEST_SS_BASE, GUEST_SS_LIMIT, GUEST_SS_AR_BYTES),
    kvm_vmx_segment_field(GUEST_DS_SELECTOR, GUEST_DS_BASE, GUEST_DS_LIMIT, GUEST_DS_AR_BYTES),
    kvm_vmx_segment_field(GUEST_FS_SELECTOR, GUEST_FS_BASE, GUEST_FS_LIMIT, GUEST_FS_AR_BYTES),
    kvm_vmx_segment_field(GUEST_GS_SELECTOR, GUEST_GS_BASE, GUEST_GS_LIMIT, GUEST_GS_AR_BYTES),
    kvm_vmx_segment_field(GUEST_TR_SELECTOR, GUEST_TR_BASE, GUEST_TR_LIMIT, GUEST_TR_AR_BYTES),
    kvm_vmx_segment_field(
        GUEST_LDTR_SELECTOR, GUEST_LDTR_BASE, GUEST_LDTR_LIMIT, GUEST_LDTR_AR_BYTES
    ),
)
"""The VMCS fields of each segment register, indexed by VCPU_SREG_*."""


def vmx_segment_cache_clear(vmx: vcpu_vmx) -> None:
    """Empty the cache.

    Source: arch/x86/kvm/vmx.c:1113-1116
    """
    vmx.segment_cache.bitmask = 0


def vmx_segment_cache_test_set(vmx: vcpu_vmx, seg: u32, field: u32) -> bool:
    """Tell whether a field of the segment register *seg* is cached, and note that now it is.

    Source: arch/x86/kvm/vmx.c:1118-1131
    """
    mask = 1 << (seg * SEG_FIELD_NR + field)

    if not vmx.arch.regs_avail & (1 << VCPU_EXREG_SEGMENTS):
        vmx.arch.regs_avail |= 1 << VCPU_EXREG_SEGMENTS
        vmx.segment_cache.bitmask = 0
    ret = bool(vmx.segment_cache.bitmask & mask)
    vmx.segment_cache.bitmask |= mask
    return ret


def vmx_read_guest_seg_selector(vmx: vcpu_vmx, seg: u32) -> u16:
    """Return the selector of the segment register *seg*.

    Source: arch/x86/kvm/vmx.c:1133-1140
    """
    p = vmx.segment_cache.seg[seg]

    if not vmx_segment_cache_test_set(vmx, seg, SEG_FIELD_SEL):
        p.selector = vmcs_read16(vmx, kvm_vmx_segment_fields[seg].selector)
    return p.selector


def vmx_read_guest_seg_base(vmx: vcpu_vmx, seg: u32) -> u64:
    """Return the base address of the segment register *seg*.

    Source: arch/x86/kvm/vmx.c:1142-1149
    """
    p = vmx.segment_cache.seg[seg]

    if not vmx_segment_cache_test_set(vmx, seg, SEG_FIELD_BASE):
        p.base = vmcs_readl(vmx, kvm_vmx_segment_fields[seg].base)
    return p.base


def vmx_read_guest_seg_limit(vmx: vcpu_vmx, seg: u32) -> u32:
    """Return the limit of the segment register *seg*.

    Source: arch/x86/kvm/vmx.c:1151-1158
    """
    p = vmx.segment_cache.seg[seg]

    if not vmx_segment_cache_test_set(vmx, seg, SEG_FIELD_LIMIT):
        p.limit = vmcs_read32(vmx, kvm_vmx_segment_fields[seg].limit)
    return p.limit


def vmx_read_guest_seg_ar(vmx: vcpu_vmx, seg: u32) -> u32:
    """Return the access rights of the segment register *seg*, in the format of a VMCS.

    Source: arch/x86/kvm/vmx.c:1160-1167
    """
    p = vmx.segment_cache.seg[seg]

    if not vmx_segment_cache_test_set(vmx, seg, SEG_FIELD_AR):
        p.ar = vmcs_read32(vmx, kvm_vmx_segment_fields[seg].ar_bytes)
    return p.ar
