# SPDX-License-Identifier: GPL-2.0-only
"""What all the tests share: the project's folder, and which tests make sense in this run."""

from __future__ import annotations

from typechecks import ENABLED

collect_ignore = [] if ENABLED else ["test_types_that_bite.py"]
