# SPDX-License-Identifier: GPL-2.0-only
"""The wire protocol, spec/protocol.md: messages, steps in messages, and the schema of both."""
