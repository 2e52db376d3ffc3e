# SPDX-License-Identifier: GPL-2.0-only
"""Every vector of this folder, on the reference or on another implementation.

::

    pytest conformance/
    pytest conformance/ -k immediate-exit -x
    pytest conformance/ --implementation "./my-hypervisor --kvmref" --deviations deviations.toml

An installed kvmref has the same tests: ``pytest --pyargs kvmref.conformance``.
"""

from __future__ import annotations

from kvmref.conformance.test_conformance import test_every_vector_can_be_read, test_vector

__all__ = ["test_every_vector_can_be_read", "test_vector"]
