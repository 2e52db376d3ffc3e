# SPDX-License-Identifier: GPL-2.0-only
"""A pytest plugin that makes the annotations of the package bite while the tests run.

It must be loaded before anything imports the package (``-p typechecks`` in the configuration of
pytest does that) and it never touches the package's files: everything happens when a module is
imported.

- `typechecks.hook` has typeguard instrument each module, so that arguments, return values and
  annotated local variables are checked.
- `typechecks.widths` teaches typeguard the integer types of C.
- `typechecks.stores` checks what typeguard does not: stores to attributes, elements of lists,
  entries of dictionaries, fields of a VMCS, and members of a struct in memory.

Setting the environment variable ``KVMREF_TYPECHECK`` to 0 leaves all of this out, which is what the
benchmarks want.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import pytest
from typeguard import CollectionCheckStrategy, ForwardRefPolicy, checker_lookup_functions
from typeguard import config as typeguard_config

PACKAGE: Final = "kvmref"
"""The package whose annotations are checked."""

ENABLED: Final = os.environ.get("KVMREF_TYPECHECK", "1") != "0"
"""Whether this run checks types."""


def _install() -> None:
    """Check the types of everything that is imported from now on."""
    early = sorted(name for name in sys.modules if name.partition(".")[0] == PACKAGE)
    if early:
        raise pytest.UsageError(f"imported before its types could be checked: {', '.join(early)}")
    from typechecks.hook import install_hook

    install_hook(PACKAGE)
    from typechecks.widths import lookup_width

    typeguard_config.forward_ref_policy = ForwardRefPolicy.ERROR
    typeguard_config.collection_check_strategy = CollectionCheckStrategy.ALL_ITEMS
    checker_lookup_functions.insert(0, lookup_width)


if ENABLED:
    _install()


def pytest_report_header() -> str:
    """Say whether types are checked."""
    return f"types: {'checked' if ENABLED else 'NOT checked (KVMREF_TYPECHECK=0)'}"
