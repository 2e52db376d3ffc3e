# SPDX-License-Identifier: GPL-2.0-only
"""The names that a vector may use instead of numbers, for each kind of value.

Nothing is listed here twice: every table is made from the constants of the port, with the prefix of
the constants cut off (``CPU_BASED_HLT_EXITING`` is ``HLT_EXITING`` in a value of the primary
processor-based controls). `names_of` says which names a key, a member of ``struct vmcs12`` or a
field of a VMCS takes.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Final

from kvmref.kernel.linux_3_3.include import asm_vmx, kvm_host, msr_index, processor_flags

KERNELS: Final = ("3.3",)
"""Kernels that a vector can be for."""

LEVELS: Final = ("l0", "l1")
"""Levels that a vector can have."""


@dataclass(slots=True, frozen=True)
class Names:
    """The names of one kind of value."""

    what: str
    """What a name of this kind is called in messages."""
    flags: Mapping[str, int] = field(default_factory=dict)
    """Names of bits or of groups of bits; a value is a list of them."""
    choices: Mapping[str, int] = field(default_factory=dict)
    """Names of whole values; in a list, at most one of them."""
    event: bool = False
    """The value is interruption information, and can be written by its parts."""

    @property
    def all(self) -> dict[str, int]:
        """Everything that can stand in a list."""
        return {**self.choices, **self.flags}


def constants(module: ModuleType, prefix: str, suffix: str = "") -> dict[str, int]:
    """Return the constants of *module* that are called *prefix* ... *suffix*, by what is between.

    They come in the order of their values.
    """
    found = {
        name[len(prefix) : len(name) - len(suffix)]: value
        for name, value in vars(module).items()
        if name.startswith(prefix) and name.endswith(suffix) and isinstance(value, int)
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _without(names: Mapping[str, int], *excluded: str) -> dict[str, int]:
    return {name: value for name, value in names.items() if name not in excluded}


VECTORS: Final = constants(kvm_host, "", "_VECTOR")
"""Vectors of exceptions and of the NMI."""

EVENT_TYPES: Final = {
    "external interrupt": asm_vmx.INTR_TYPE_EXT_INTR,
    "NMI": asm_vmx.INTR_TYPE_NMI_INTR,
    "hardware exception": asm_vmx.INTR_TYPE_HARD_EXCEPTION,
    "software interrupt": asm_vmx.INTR_TYPE_SOFT_INTR,
    "software exception": asm_vmx.INTR_TYPE_SOFT_EXCEPTION,
}
"""Types of events in interruption information, in the SDM's words."""

EVENT_PARTS: Final = {
    "error_code": asm_vmx.INTR_INFO_DELIVER_CODE_MASK,
    "unblock_nmi": asm_vmx.INTR_INFO_UNBLOCK_NMI,
    "valid": asm_vmx.INTR_INFO_VALID_MASK,
}
"""Flags of interruption information, by the names of its parts."""

REQUESTS: Final = {name: bit for bit, name in enumerate(kvm_host.REQUEST_NAMES)}
"""Numbers of the request bits."""

REASONS: Final = constants(asm_vmx, "EXIT_REASON_")
"""Basic exit reasons."""

_REQUEST_FLAGS: Final = Names("request", {name: 1 << bit for name, bit in REQUESTS.items()})
_RFLAGS: Final = Names("flag of RFLAGS", constants(processor_flags, "X86_EFLAGS_"))
_CR0: Final = Names("bit of CR0", constants(processor_flags, "X86_CR0_"))
_CR4: Final = Names("bit of CR4", constants(processor_flags, "X86_CR4_"))
_EFER: Final = Names("bit of EFER", constants(msr_index, "EFER_"))
_EVENT: Final = Names("part of interruption information", event=True)
_REASON: Final = Names(
    "exit reason", {"FAILED_VMENTRY": asm_vmx.VMX_EXIT_REASONS_FAILED_VMENTRY}, REASONS
)
_VECTOR: Final = Names("vector", choices=VECTORS)
_BITMAP: Final = Names("exception", {name: 1 << vector for name, vector in VECTORS.items()})

_BY_FIELD: Final[dict[str, Names]] = {
    "pin_based_vm_exec_control": Names("pin-based control", constants(asm_vmx, "PIN_BASED_")),
    "cpu_based_vm_exec_control": Names(
        "primary processor-based control", constants(asm_vmx, "CPU_BASED_")
    ),
    "secondary_vm_exec_control": Names(
        "secondary processor-based control", constants(asm_vmx, "SECONDARY_EXEC_")
    ),
    "vm_exit_controls": Names("VM-exit control", constants(asm_vmx, "VM_EXIT_")),
    "vm_entry_controls": Names("VM-entry control", constants(asm_vmx, "VM_ENTRY_")),
    "exception_bitmap": _BITMAP,
    "vm_entry_intr_info_field": _EVENT,
    "vm_exit_intr_info": _EVENT,
    "idt_vectoring_info_field": _EVENT,
    "vm_exit_reason": _REASON,
    "vm_instruction_error": Names("VM-instruction error", choices=constants(asm_vmx, "VMXERR_")),
    "guest_interruptibility_info": Names(
        "bit of the interruptibility state", constants(asm_vmx, "GUEST_INTR_STATE_")
    ),
    "guest_activity_state": Names("activity state", choices=constants(asm_vmx, "GUEST_ACTIVITY_")),
    "guest_rflags": _RFLAGS,
    "guest_ia32_efer": _EFER,
    "host_ia32_efer": _EFER,
    **{f"{who}_cr0": _CR0 for who in ("guest", "host")},
    **{f"{who}_cr4": _CR4 for who in ("guest", "host")},
    "cr0_guest_host_mask": _CR0,
    "cr0_read_shadow": _CR0,
    "cr4_guest_host_mask": _CR4,
    "cr4_read_shadow": _CR4,
}
"""Names by member of ``struct vmcs12``; the fields of a VMCS have the same names in capitals."""

_BY_KEY: Final[dict[str, Names]] = {
    "requests": _REQUEST_FLAGS,
    "rflags": _RFLAGS,
    "arch.rflags": _RFLAGS,
    "cr0": _CR0,
    "arch.cr0": _CR0,
    "arch.cr0_guest_owned_bits": _CR0,
    "cr4": _CR4,
    "arch.cr4": _CR4,
    "arch.cr4_guest_owned_bits": _CR4,
    "efer": _EFER,
    "exception.nr": _VECTOR,
    "vmx.exit_reason": _REASON,
    "vmx.exit_intr_info": _EVENT,
    "vmx.idt_vectoring_info": _EVENT,
}
"""Names by observation key, for keys that are not in a VMCS."""

_BY_ARGUMENT: Final[dict[tuple[str, str], Names]] = {
    ("exit", "reason"): _REASON,
    ("exit", "intr_info"): _EVENT,
    ("exit", "idt_info"): _EVENT,
    ("exception", "vector"): _VECTOR,
    ("request", "bit"): Names("request", choices=REQUESTS),
    ("clear_request", "bit"): Names("request", choices=REQUESTS),
    ("vmentry", "intr_info"): _EVENT,
    ("vmexit", "reason"): _REASON,
}
"""Names by operation and argument, and by event of a log and argument."""

_BY_SETUP: Final[dict[str, Names]] = {
    "l1_cr0": _CR0,
    "l1_cr4": _CR4,
    "l1_efer": _EFER,
    "l1_rflags": _RFLAGS,
    "host_efer": _EFER,
}

NO_NAMES: Final = Names("number")
"""For values that are just numbers."""


def names_of_field(name: str) -> Names:
    """Return the names for a member of ``struct vmcs12`` or a field of a VMCS."""
    return _BY_FIELD.get(name.lower(), NO_NAMES)


def names_of_key(key: str) -> Names:
    """Return the names for an observation key."""
    region, _, name = key.partition(".")
    if region in ("vmcs01", "vmcs02", "vmcs12"):
        return names_of_field(name)
    return _BY_KEY.get(key, NO_NAMES)


def names_of_argument(owner: str, argument: str) -> Names:
    """Return the names for an *argument* of *owner*: an operation, or an event of a log."""
    return _BY_ARGUMENT.get((owner, argument), NO_NAMES)


def names_of_register(name: str) -> Names:
    """Return the names for a register that a step writes."""
    return _RFLAGS if name == "rflags" else NO_NAMES


def names_of_setup(name: str) -> Names:
    """Return the names for a field of `Setup`."""
    return _BY_SETUP.get(name, NO_NAMES)


def names_by_user() -> dict[str, Names]:
    """Return every kind of names by who uses it: fields, keys, arguments, members of a setup."""
    return {
        **{f"vmcs12.{name}": names for name, names in _BY_FIELD.items()},
        **_BY_KEY,
        **{f"{owner}: {argument}": names for (owner, argument), names in _BY_ARGUMENT.items()},
        **{f"setup.{name}": names for name, names in _BY_SETUP.items()},
    }


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of *known* that *name* is most likely a misspelling of, if there is one."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold()[:100], by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about the unknown *name*: the nearest valid one, if any."""
    candidate = nearest(name, known)
    return "" if candidate is None else f", did you mean {json.dumps(candidate)}?"
