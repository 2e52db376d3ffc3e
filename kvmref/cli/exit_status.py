# SPDX-License-Identifier: GPL-2.0-only
"""The exit statuses of the command."""

from __future__ import annotations

from typing import Final

SUCCESS: Final = 0
"""Everything is as it should be."""

FINDING: Final = 1
"""The command did its work, and found something: a divergence, or a vector that fails."""

UNUSABLE: Final = 2
"""The command, its arguments or some of its input were wrong."""

BROKEN: Final = 3
"""The implementation under test broke, so that nothing is known of what it implements."""

INTERRUPTED: Final = 130
"""Ctrl-C ended the command, in the notation of shells: 128 and the number of the signal."""

PIPE_CLOSED: Final = 141
"""Whoever read the output went away, likewise."""
