# SPDX-License-Identifier: GPL-2.0-only
"""How steps, states, setups and events are written in JSON, and read back."""
