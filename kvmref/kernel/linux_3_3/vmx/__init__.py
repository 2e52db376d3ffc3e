# SPDX-License-Identifier: GPL-2.0-only
"""``arch/x86/kvm/vmx.c`` of Linux 3.3.8: KVM on VMX, one module for each concern."""
