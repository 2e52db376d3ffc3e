# SPDX-License-Identifier: GPL-2.0-only
"""Every vector, on the implementation that the options name; see `kvmref.pytest_plugin`."""

from __future__ import annotations

from collections.abc import Callable

from kvmref.harness.vectors.model import Vector


def test_every_vector_can_be_read(kvmref_errors: tuple[str, ...]) -> None:
    """A file that is no vector is a mistake of the suite, and loses only itself."""
    assert () == kvmref_errors


def test_vector(kvmref_vector: Vector, kvmref_check: Callable[[Vector], None]) -> None:
    """What the vector expects is observed."""
    kvmref_check(kvmref_vector)
