# SPDX-License-Identifier: GPL-2.0-only
"""What stands for ``kvm_main.c``'s guest memory: 16 MiB from address 0, in pages of 4 KiB.

Pages exist from their first touch on, so that making and copying a memory costs what is used of it.
A page that is mapped into the kernel is the memory itself: who writes through `kmap` writes to the
guest.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

from kvmref.integers import U64, s32, u32, u64
from kvmref.kernel.linux_3_3.include.kvm import EFAULT
from kvmref.kernel.linux_3_3.include.kvm_host import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from kvmref.kernel.linux_3_3.outside.environment import Environment
    from kvmref.kernel.linux_3_3.vmx.vmcs12 import struct_vmcs12

PAGES: Final = 4096
"""How many pages the guest has."""

MEMORY_SIZE: Final = PAGES * PAGE_SIZE
"""First guest-physical address that does not exist."""

HOST_PHYSICAL_BASE: Final = 0x200000000
"""Host-physical address of page 0 of the guest."""

LOGGED_BYTES: Final = 16
"""How many bytes of a write are logged."""


class page:
    """A page of guest memory (``struct page``)."""

    __slots__ = ("data", "gfn", "references", "vmcs12")

    def __init__(self, gfn: u64) -> None:
        """Make the page with the number *gfn*, full of zeroes."""
        self.gfn: u64 = gfn
        """Number of the page: its guest-physical address, without the offset."""
        self.data = bytearray(PAGE_SIZE)
        """Its contents."""
        self.references: s32 = 0
        """How many users have got the page and not released it."""
        self.vmcs12: struct_vmcs12 | None = None
        """The contents as a ``struct vmcs12``, once somebody has needed that."""

    def __deepcopy__(self, memo: dict[int, object]) -> page:
        """Copy the page; whoever refers to the struct in it refers to the copy's afterwards.

        That takes a page to be copied before other references to its struct are met.
        """
        new = page.__new__(page)
        memo[id(self)] = new
        new.gfn = self.gfn
        new.data = bytearray(self.data)
        new.references = self.references
        new.vmcs12 = None
        if self.vmcs12 is not None:
            new.vmcs12 = type(self.vmcs12).from_buffer(new.data)
            memo[id(self.vmcs12)] = new.vmcs12
        return new


class _BadPage(page):
    """The page that stands for "no such page"; copies of machines share it."""

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, object]) -> page:
        """Return the page itself, so that it is still known for what it is."""
        memo[id(self)] = self
        return self


bad_page: Final[page] = _BadPage(PAGES)
"""What `gfn_to_page` returns for a page that the guest does not have."""


class GuestMemory:
    """The memory of the guest, and who holds pages of it."""

    __slots__ = ("_held", "_pages")

    def __init__(self) -> None:
        """Make a memory full of zeroes."""
        self._pages: dict[int, page] = {}
        self._held: dict[int, page] = {}

    def page_at(self, gfn: u64) -> page:
        """Return the page with the number *gfn*, which the guest must have."""
        found = self._pages.get(gfn)
        if found is None:
            found = self._pages[gfn] = page(gfn)
        return found

    def hold(self, gfn: u64) -> page:
        """Return the page with the number *gfn*, with one more reference."""
        held = self._held[gfn] = self.page_at(gfn)
        held.references += 1
        return held

    def pinned(self) -> list[tuple[u64, s32]]:
        """Return guest-physical address and references of every page that is held, ascending."""
        return sorted(
            (gfn << PAGE_SHIFT, held.references)
            for gfn, held in self._held.items()
            if held.references
        )

    def read(self, gpa: u64, length: u32) -> bytes | None:
        """Return *length* bytes, or ``None`` if the guest does not have all of them."""
        if gpa + length > MEMORY_SIZE:
            return None
        data = b""
        while length:
            offset = gpa & (PAGE_SIZE - 1)
            there = min(length, PAGE_SIZE - offset)
            found = self._pages.get(gpa >> PAGE_SHIFT)
            data += bytes(there) if found is None else found.data[offset : offset + there]
            gpa += there
            length -= there
        return data

    def write(self, gpa: u64, data: bytes) -> u32:
        """Write *data*, up to the end of the memory; return how many bytes were written."""
        written: u32 = 0
        while written < len(data) and gpa < MEMORY_SIZE:
            offset = gpa & (PAGE_SIZE - 1)
            piece = data[written : written + PAGE_SIZE - offset]
            self.page_at(gpa >> PAGE_SHIFT).data[offset : offset + len(piece)] = piece
            written += len(piece)
            gpa += len(piece)
        return written

    def store(self, gpa: u64, data: bytes) -> None:
        """Write *data*, dropping what lies beyond the memory; addresses wrap at 64 bits."""
        below = min(len(data), U64 + 1 - gpa)
        self.write(gpa, data[:below])
        self.write(0, data[below:])

    def __deepcopy__(self, memo: dict[int, object]) -> GuestMemory:
        """Copy the pages that were ever touched."""
        new = GuestMemory()
        memo[id(self)] = new
        new._pages = {gfn: copy.deepcopy(found, memo) for gfn, found in self._pages.items()}
        new._held = {gfn: new._pages[gfn] for gfn, held in self._held.items() if held.references}
        return new


def kvm_read_guest(env: Environment, gpa: u64, length: u32) -> tuple[int, bytes]:
    """Read guest-physical memory; return 0, or -EFAULT and zeroes if not all of it is there."""
    data = env.memory.read(gpa, length)
    if data is None:
        return -EFAULT, bytes(length)
    return 0, data


def kvm_write_guest(env: Environment, gpa: u64, data: bytes) -> int:
    """Write guest-physical memory; return 0, or -EFAULT after writing what is there.

    Callers stay within one page.
    """
    env.trace.event(("guest_write", gpa, bytes(data[:LOGGED_BYTES])))
    return 0 if env.memory.write(gpa, data) == len(data) else -EFAULT


def kvm_read_guest_page(env: Environment, gfn: u64, offset: s32, length: s32) -> tuple[int, bytes]:
    """Read from the page *gfn*; return what `kvm_read_guest` returns."""
    return kvm_read_guest(env, ((gfn << PAGE_SHIFT) + offset) & U64, length)


def gfn_to_memslot(env: Environment, gfn: u64) -> bool:
    """Tell whether the guest has a page with the number *gfn*; in C, a pointer or NULL."""
    return gfn < PAGES


def gfn_to_page(env: Environment, gfn: u64) -> page:
    """Return the page with the number *gfn* and take a reference, or return the error page."""
    if gfn >= PAGES:
        return bad_page
    return env.memory.hold(gfn)


def is_error_page(tested: page) -> bool:
    """Tell whether *tested* is what `gfn_to_page` returns for a page that is not there."""
    return tested is bad_page


def kvm_release_page_clean(released: page) -> None:
    """Drop a reference to a page that was only read; references to the error page do not count."""
    if not is_error_page(released):
        released.references -= 1


def kvm_release_page_dirty(released: page) -> None:
    """Drop a reference to a page that was written."""
    kvm_release_page_clean(released)


def kmap(mapped: page) -> bytearray:
    """Map a page into the kernel: return the memory itself."""
    return mapped.data


def kunmap(mapped: page) -> None:
    """End a mapping; there is nothing to do."""


def page_to_phys(located: page) -> u64:
    """Return the host-physical address of a page."""
    return HOST_PHYSICAL_BASE + (located.gfn << PAGE_SHIFT)
