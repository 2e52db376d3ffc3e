# SPDX-License-Identifier: GPL-2.0-only
"""The suite as tests: ``pytest --pyargs kvmref.conformance --implementation CMD``.

In an installed kvmref the vectors and their starting points are in this folder too; in a checkout
they are in ``conformance/``.
"""
