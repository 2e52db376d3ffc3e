# SPDX-License-Identifier: GPL-2.0-only
"""``arch/x86/kvm/x86.c`` of Linux 3.3.8: KVM on x86, one module for each concern."""
