# SPDX-License-Identifier: GPL-2.0-only
"""The list of what a coverage run did not reach names functions, lines and branches."""

from __future__ import annotations

from unreached import Region, unreached


def test_what_is_not_reached_is_named_by_function() -> None:
    functions: dict[str, Region] = {
        "reached": {"missing_lines": [], "missing_branches": []},
        "partly": {"missing_lines": [4, 5, 6, 9], "missing_branches": [[3, 4], [7, -1], [7, 11]]},
        "": {"missing_lines": [1], "missing_branches": []},
    }
    expected = [
        "vmx.py: partly: lines 4-6, 9; branches 7 to exit, 7 to 11",
        "vmx.py: module level: lines 1",
    ]
    assert expected == list(unreached({"files": {"vmx.py": {"functions": functions}}}))
