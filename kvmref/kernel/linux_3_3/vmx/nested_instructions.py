# SPDX-License-Identifier: GPL-2.0-only
"""The VMX instructions of L1, but for VM entries (vmx.c:5024-5274, 5298-5564)."""

from __future__ import annotations

from typing import Final

from kvmref.integers import U64, u32, u64
from kvmref.kernel.linux_3_3.include.asm_vmx import (
    VMXERR_UNSUPPORTED_VMCS_COMPONENT,
    VMXERR_VMCLEAR_INVALID_ADDRESS,
    VMXERR_VMPTRLD_INCORRECT_VMCS_REVISION_ID,
    VMXERR_VMPTRLD_INVALID_ADDRESS,
    VMXERR_VMWRITE_READ_ONLY_VMCS_COMPONENT,
)
from kvmref.kernel.linux_3_3.include.kvm_host import (
    KVM_REQ_TRIPLE_FAULT,
    PAGE_SIZE,
    UD_VECTOR,
    VCPU_SREG_CS,
    kvm_make_request,
    kvm_vcpu,
    x86_exception,
)
from kvmref.kernel.linux_3_3.include.processor_flags import (
    X86_CR0_PE,
    X86_CR4_VMXE,
    X86_EFLAGS_AF,
    X86_EFLAGS_CF,
    X86_EFLAGS_OF,
    X86_EFLAGS_PF,
    X86_EFLAGS_SF,
    X86_EFLAGS_VM,
    X86_EFLAGS_ZF,
)
from kvmref.kernel.linux_3_3.kvm_cache_regs import (
    kvm_read_cr0_bits,
    kvm_read_cr4_bits,
    kvm_register_read,
    kvm_register_write,
)
from kvmref.kernel.linux_3_3.outside.memory import kunmap
from kvmref.kernel.linux_3_3.vmx.nested_pages import (
    get_vmcs12,
    kmap_vmcs12,
    nested_get_page,
    nested_release_page,
    nested_release_page_clean,
)
from kvmref.kernel.linux_3_3.vmx.nested_vmcs02 import (
    nested_free_all_saved_vmcss,
    nested_free_vmcs02,
)
from kvmref.kernel.linux_3_3.vmx.rflags import (
    skip_emulated_instruction,
    vmx_get_rflags,
    vmx_set_rflags,
)
from kvmref.kernel.linux_3_3.vmx.segments import vmx_get_cpl, vmx_get_segment, vmx_get_segment_base
from kvmref.kernel.linux_3_3.vmx.structs import NO_VMPTR, to_vmx, vcpu_vmx
from kvmref.kernel.linux_3_3.vmx.vmcs12 import VMCS12_REVISION, vmcs_field_to_offset
from kvmref.kernel.linux_3_3.vmx.vmcs_access import vmcs_read32, vmcs_readl
from kvmref.kernel.linux_3_3.x86.exceptions import (
    kvm_inject_gp,
    kvm_inject_page_fault,
    kvm_queue_exception,
)
from kvmref.kernel.linux_3_3.x86.guest_memory import (
    kvm_read_guest_virt,
    kvm_write_guest_virt_system,
)
from kvmref.kernel.linux_3_3.x86_h import is_long_mode
from kvmref.processor.vmcs_fields import EXIT_QUALIFICATION, VMX_INSTRUCTION_INFO


def handle_vmon(vcpu: kvm_vcpu) -> int:
    """Execute VMXON. Its operand is not looked at, and it sets no flags.

    Source: arch/x86/kvm/vmx.c:5024-5059
    """
    vmx = to_vmx(vcpu)

    if (
        not kvm_read_cr4_bits(vcpu, X86_CR4_VMXE)
        or not kvm_read_cr0_bits(vcpu, X86_CR0_PE)
        or vmx_get_rflags(vcpu) & X86_EFLAGS_VM
    ):
        kvm_queue_exception(vcpu, UD_VECTOR)
        return 1

    cs = vmx_get_segment(vcpu, VCPU_SREG_CS)
    if is_long_mode(vcpu) and not cs.l:
        kvm_queue_exception(vcpu, UD_VECTOR)
        return 1

    if vmx_get_cpl(vcpu):
        kvm_inject_gp(vcpu, 0)
        return 1

    # A second VMXON comes here too; the vmcs02 that the pool had is lost then.
    vmx.nested.vmcs02_pool = []
    vmx.nested.vmcs02_num = 0

    vmx.nested.vmxon = True

    skip_emulated_instruction(vcpu)
    return 1


def nested_vmx_check_permission(vcpu: kvm_vcpu) -> int:
    """Tell whether L1 may execute a VMX instruction other than VMXON; if not, it gets its fault.

    Source: arch/x86/kvm/vmx.c:5066-5089
    """
    vmx = to_vmx(vcpu)

    if not vmx.nested.vmxon:
        kvm_queue_exception(vcpu, UD_VECTOR)
        return 0

    cs = vmx_get_segment(vcpu, VCPU_SREG_CS)
    if vmx_get_rflags(vcpu) & X86_EFLAGS_VM or (is_long_mode(vcpu) and not cs.l):
        kvm_queue_exception(vcpu, UD_VECTOR)
        return 0

    if vmx_get_cpl(vcpu):
        kvm_inject_gp(vcpu, 0)
        return 0

    return 1


def free_nested(vmx: vcpu_vmx) -> None:
    """Free what nested VMX holds, when L1 stops using VMX or goes down.

    Source: arch/x86/kvm/vmx.c:5095-5113
    """
    if not vmx.nested.vmxon:
        return
    vmx.nested.vmxon = False
    if vmx.nested.current_vmptr != NO_VMPTR:
        _release_current_vmcs12(vmx)
        vmx.nested.current_vmptr = NO_VMPTR
        vmx.nested.current_vmcs12 = None
    if vmx.nested.apic_access_page is not None:
        nested_release_page(vmx.nested.apic_access_page)
        vmx.nested.apic_access_page = None

    nested_free_all_saved_vmcss(vmx)


def _release_current_vmcs12(vmx: vcpu_vmx) -> None:
    """Let go of the page of the current vmcs12, as VMPTRLD, VMCLEAR and VMXOFF all do."""
    page = vmx.nested.current_vmcs12_page
    assert page is not None
    kunmap(page)
    nested_release_page(page)


def handle_vmoff(vcpu: kvm_vcpu) -> int:
    """Execute VMXOFF, which sets no flags.

    Source: arch/x86/kvm/vmx.c:5116-5123
    """
    if not nested_vmx_check_permission(vcpu):
        return 1
    free_nested(to_vmx(vcpu))
    skip_emulated_instruction(vcpu)
    return 1


def get_vmx_mem_address(
    vcpu: kvm_vcpu, exit_qualification: u64, vmx_instruction_info: u32
) -> tuple[int, u64]:
    """Return 0 and the linear address of the memory operand of a VMX instruction.

    The parts of the address are in the instruction information, its displacement is the exit
    qualification. A register operand gives 1 and #UD; nothing else is checked.

    Source: arch/x86/kvm/vmx.c:5131-5176
    """
    scaling = vmx_instruction_info & 3
    addr_size = (vmx_instruction_info >> 7) & 7
    is_reg = vmx_instruction_info & (1 << 10)
    seg_reg = (vmx_instruction_info >> 15) & 7
    index_reg = (vmx_instruction_info >> 18) & 0xF
    index_is_valid = not vmx_instruction_info & (1 << 22)
    base_reg = (vmx_instruction_info >> 23) & 0xF
    base_is_valid = not vmx_instruction_info & (1 << 27)

    if is_reg:
        kvm_queue_exception(vcpu, UD_VECTOR)
        return 1, 0

    ret = vmx_get_segment_base(vcpu, seg_reg)
    if base_is_valid:
        ret = (ret + kvm_register_read(vcpu, base_reg)) & U64
    if index_is_valid:
        ret = (ret + (kvm_register_read(vcpu, index_reg) << scaling)) & U64
    ret = (ret + exit_qualification) & U64

    if addr_size == 1:
        ret &= 0xFFFFFFFF

    return 0, ret


def nested_vmx_succeed(vcpu: kvm_vcpu) -> None:
    """Set the flags for VMsucceed.

    Source: arch/x86/kvm/vmx.c:5183-5188
    """
    vmx_set_rflags(
        vcpu,
        vmx_get_rflags(vcpu)
        & ~(
            X86_EFLAGS_CF
            | X86_EFLAGS_PF
            | X86_EFLAGS_AF
            | X86_EFLAGS_ZF
            | X86_EFLAGS_SF
            | X86_EFLAGS_OF
        ),
    )


def nested_vmx_failInvalid(vcpu: kvm_vcpu) -> None:
    """Set the flags for VMfailInvalid.

    Source: arch/x86/kvm/vmx.c:5190-5196
    """
    vmx_set_rflags(
        vcpu,
        (
            vmx_get_rflags(vcpu)
            & ~(X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | X86_EFLAGS_SF | X86_EFLAGS_OF)
        )
        | X86_EFLAGS_CF,
    )


def nested_vmx_failValid(vcpu: kvm_vcpu, vm_instruction_error: u32) -> None:
    """Set the flags for VMfailValid, and the error in vmcs12; without one, VMfailInvalid.

    Source: arch/x86/kvm/vmx.c:5198-5214
    """
    if to_vmx(vcpu).nested.current_vmptr == NO_VMPTR:
        nested_vmx_failInvalid(vcpu)
        return
    vmx_set_rflags(
        vcpu,
        (
            vmx_get_rflags(vcpu)
            & ~(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_SF | X86_EFLAGS_OF)
        )
        | X86_EFLAGS_ZF,
    )
    get_vmcs12(vcpu).vm_instruction_error = vm_instruction_error


def _read_vmptr(vcpu: kvm_vcpu) -> u64 | None:
    """Read the operand of VMCLEAR or VMPTRLD; ``None`` after a fault, which has been queued."""
    err, gva = get_vmx_mem_address(
        vcpu, vmcs_readl(vcpu, EXIT_QUALIFICATION), vmcs_read32(vcpu, VMX_INSTRUCTION_INFO)
    )
    if err:
        return None

    e = x86_exception()
    err, data = kvm_read_guest_virt(vcpu, gva, 8, e)
    if err:
        kvm_inject_page_fault(vcpu, e)
        return None
    return int.from_bytes(data, "little")


def handle_vmclear(vcpu: kvm_vcpu) -> int:
    """Execute VMCLEAR. Beyond memory, the guest is shut down.

    Source: arch/x86/kvm/vmx.c:5217-5274
    """
    vmx = to_vmx(vcpu)

    if not nested_vmx_check_permission(vcpu):
        return 1

    vmptr = _read_vmptr(vcpu)
    if vmptr is None:
        return 1

    if vmptr & (PAGE_SIZE - 1):
        nested_vmx_failValid(vcpu, VMXERR_VMCLEAR_INVALID_ADDRESS)
        skip_emulated_instruction(vcpu)
        return 1

    if vmptr == vmx.nested.current_vmptr:
        _release_current_vmcs12(vmx)
        vmx.nested.current_vmptr = NO_VMPTR
        vmx.nested.current_vmcs12 = None

    page = nested_get_page(vcpu, vmptr)
    if page is None:
        # A processor would do nothing, but a bug of L0 could have led here.
        kvm_make_request(KVM_REQ_TRIPLE_FAULT, vcpu)
        return 1
    vmcs12 = kmap_vmcs12(page)
    vmcs12.launch_state = 0
    kunmap(page)
    nested_release_page(page)

    nested_free_vmcs02(vmx, vmptr)

    skip_emulated_instruction(vcpu)
    nested_vmx_succeed(vcpu)
    return 1


VMCS_FIELD_TYPE_U16: Final = 0
VMCS_FIELD_TYPE_U64: Final = 1
VMCS_FIELD_TYPE_U32: Final = 2
VMCS_FIELD_TYPE_NATURAL_WIDTH: Final = 3

_FIELD_BYTES: Final = (2, 8, 4, 8)
"""Bytes of a field, by VMCS_FIELD_TYPE_*; there is no fifth type for C's default case to meet."""


def vmcs_field_type(field: u64) -> int:
    """Return the type, that is the width, of the VMCS field with the encoding *field*.

    Source: arch/x86/kvm/vmx.c:5298-5303
    """
    if 0x1 & field:
        return VMCS_FIELD_TYPE_U32
    return (field >> 13) & 0x3


def vmcs_field_readonly(field: u64) -> bool:
    """Tell whether the encoding *field* is of a read-only data field.

    Source: arch/x86/kvm/vmx.c:5305-5308
    """
    return ((field >> 10) & 0x3) == 1


def vmcs12_read_any(vcpu: kvm_vcpu, field: u64) -> tuple[bool, u64]:
    """Read the VMCS field with the encoding *field* from vmcs12: whether there is one, its value.

    Source: arch/x86/kvm/vmx.c:5317-5344
    """
    offset = vmcs_field_to_offset(field)

    if offset < 0:
        return False, 0

    page = to_vmx(vcpu).nested.current_vmcs12_page
    assert page is not None
    length = _FIELD_BYTES[vmcs_field_type(field)]
    return True, int.from_bytes(page.data[offset : offset + length], "little")


def nested_vmx_check_vmcs12(vcpu: kvm_vcpu) -> int:
    """Tell whether L1 has a current VMCS; if not, its instruction fails.

    Source: arch/x86/kvm/vmx.c:5350-5359
    """
    if to_vmx(vcpu).nested.current_vmptr == NO_VMPTR:
        nested_vmx_failInvalid(vcpu)
        skip_emulated_instruction(vcpu)
        return 0
    return 1


def handle_vmread(vcpu: kvm_vcpu) -> int:
    """Execute VMREAD.

    How much is stored depends on L1's mode, not on the field. A store that faults is forgotten.

    Source: arch/x86/kvm/vmx.c:5361-5401
    """
    exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)
    vmx_instruction_info = vmcs_read32(vcpu, VMX_INSTRUCTION_INFO)

    if not nested_vmx_check_permission(vcpu) or not nested_vmx_check_vmcs12(vcpu):
        return 1

    field = kvm_register_read(vcpu, (vmx_instruction_info >> 28) & 0xF)
    found, field_value = vmcs12_read_any(vcpu, field)
    if not found:
        nested_vmx_failValid(vcpu, VMXERR_UNSUPPORTED_VMCS_COMPONENT)
        skip_emulated_instruction(vcpu)
        return 1
    if vmx_instruction_info & (1 << 10):
        kvm_register_write(vcpu, (vmx_instruction_info >> 3) & 0xF, field_value)
    else:
        err, gva = get_vmx_mem_address(vcpu, exit_qualification, vmx_instruction_info)
        if err:
            return 1
        length = 8 if is_long_mode(vcpu) else 4
        kvm_write_guest_virt_system(vcpu, gva, field_value.to_bytes(8, "little")[:length], None)

    nested_vmx_succeed(vcpu)
    skip_emulated_instruction(vcpu)
    return 1


def handle_vmwrite(vcpu: kvm_vcpu) -> int:
    """Execute VMWRITE. Whether a field is read-only is asked before whether it exists.

    Source: arch/x86/kvm/vmx.c:5404-5478
    """
    exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)
    vmx_instruction_info = vmcs_read32(vcpu, VMX_INSTRUCTION_INFO)

    if not nested_vmx_check_permission(vcpu) or not nested_vmx_check_vmcs12(vcpu):
        return 1

    if vmx_instruction_info & (1 << 10):
        field_value = kvm_register_read(vcpu, (vmx_instruction_info >> 3) & 0xF)
    else:
        err, gva = get_vmx_mem_address(vcpu, exit_qualification, vmx_instruction_info)
        if err:
            return 1
        e = x86_exception()
        err, data = kvm_read_guest_virt(vcpu, gva, 8 if is_long_mode(vcpu) else 4, e)
        if err:
            kvm_inject_page_fault(vcpu, e)
            return 1
        field_value = int.from_bytes(data, "little")

    field = kvm_register_read(vcpu, (vmx_instruction_info >> 28) & 0xF)
    if vmcs_field_readonly(field):
        nested_vmx_failValid(vcpu, VMXERR_VMWRITE_READ_ONLY_VMCS_COMPONENT)
        skip_emulated_instruction(vcpu)
        return 1

    offset = vmcs_field_to_offset(field)
    if offset < 0:
        nested_vmx_failValid(vcpu, VMXERR_UNSUPPORTED_VMCS_COMPONENT)
        skip_emulated_instruction(vcpu)
        return 1

    page = to_vmx(vcpu).nested.current_vmcs12_page
    assert page is not None
    length = _FIELD_BYTES[vmcs_field_type(field)]
    page.data[offset : offset + length] = field_value.to_bytes(8, "little")[:length]

    nested_vmx_succeed(vcpu)
    skip_emulated_instruction(vcpu)
    return 1


def handle_vmptrld(vcpu: kvm_vcpu) -> int:
    """Execute VMPTRLD.

    Source: arch/x86/kvm/vmx.c:5481-5538
    """
    vmx = to_vmx(vcpu)

    if not nested_vmx_check_permission(vcpu):
        return 1

    vmptr = _read_vmptr(vcpu)
    if vmptr is None:
        return 1

    if vmptr & (PAGE_SIZE - 1):
        nested_vmx_failValid(vcpu, VMXERR_VMPTRLD_INVALID_ADDRESS)
        skip_emulated_instruction(vcpu)
        return 1

    if vmx.nested.current_vmptr != vmptr:
        page = nested_get_page(vcpu, vmptr)
        if page is None:
            nested_vmx_failInvalid(vcpu)
            skip_emulated_instruction(vcpu)
            return 1
        new_vmcs12 = kmap_vmcs12(page)
        if new_vmcs12.revision_id != VMCS12_REVISION:
            kunmap(page)
            nested_release_page_clean(page)
            nested_vmx_failValid(vcpu, VMXERR_VMPTRLD_INCORRECT_VMCS_REVISION_ID)
            skip_emulated_instruction(vcpu)
            return 1
        if vmx.nested.current_vmptr != NO_VMPTR:
            _release_current_vmcs12(vmx)

        vmx.nested.current_vmptr = vmptr
        vmx.nested.current_vmcs12 = new_vmcs12
        vmx.nested.current_vmcs12_page = page

    nested_vmx_succeed(vcpu)
    skip_emulated_instruction(vcpu)
    return 1


def handle_vmptrst(vcpu: kvm_vcpu) -> int:
    """Execute VMPTRST.

    Source: arch/x86/kvm/vmx.c:5541-5564
    """
    exit_qualification = vmcs_readl(vcpu, EXIT_QUALIFICATION)
    vmx_instruction_info = vmcs_read32(vcpu, VMX_INSTRUCTION_INFO)

    if not nested_vmx_check_permission(vcpu):
        return 1

    err, vmcs_gva = get_vmx_mem_address(vcpu, exit_qualification, vmx_instruction_info)
    if err:
        return 1
    e = x86_exception()
    if kvm_write_guest_virt_system(
        vcpu, vmcs_gva, to_vmx(vcpu).nested.current_vmptr.to_bytes(8, "little"), e
    ):
        kvm_inject_page_fault(vcpu, e)
        return 1
    nested_vmx_succeed(vcpu)
    skip_emulated_instruction(vcpu)
    return 1
