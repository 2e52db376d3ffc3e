# SPDX-License-Identifier: GPL-2.0-only
"""Constants of ``include/linux/kvm.h`` and ``arch/x86/include/asm/kvm.h``: KVM's interface."""

from __future__ import annotations

from typing import Final

# Why KVM_RUN returned to user space: ``kvm_run.exit_reason``.
KVM_EXIT_UNKNOWN: Final = 0
KVM_EXIT_EXCEPTION: Final = 1
KVM_EXIT_IO: Final = 2
KVM_EXIT_DEBUG: Final = 4
KVM_EXIT_HLT: Final = 5
KVM_EXIT_IRQ_WINDOW_OPEN: Final = 7
KVM_EXIT_SHUTDOWN: Final = 8
KVM_EXIT_FAIL_ENTRY: Final = 9
KVM_EXIT_SET_TPR: Final = 11
KVM_EXIT_TPR_ACCESS: Final = 12
KVM_EXIT_INTERNAL_ERROR: Final = 17

KVM_INTERNAL_ERROR_EMULATION: Final = 1
KVM_INTERNAL_ERROR_SIMUL_EX: Final = 2

KVM_GUESTDBG_ENABLE: Final = 0x00000001
KVM_GUESTDBG_SINGLESTEP: Final = 0x00000002
KVM_GUESTDBG_USE_SW_BP: Final = 0x00010000
KVM_GUESTDBG_USE_HW_BP: Final = 0x00020000

KVM_MP_STATE_HALTED: Final = 3

EINVAL: Final = 22
EIO: Final = 5
ENOMEM: Final = 12
EFAULT: Final = 14
