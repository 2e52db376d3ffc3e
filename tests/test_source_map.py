# SPDX-License-Identifier: GPL-2.0-only
"""The source map is sound and up to date, and the tool that writes it sees what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

import source_map
from source_map import Coverage, Ported, SourceMapError

CHECKLIST = """
# Recordings

## Functions

### arch/x86/kvm/x86.h

| function | line | kind | lines | branches | files | lines not reached |
|---|---|---|---|---|---|---|
| `is_paging` | 65 | S | 2/2 |  | 152 |  |

### arch/x86/kvm/vmx.c

| function | line | kind | lines | branches | files | lines not reached |
|---|---|---|---|---|---|---|
| `enter_rmode` | 2753 | **E** | 36/42 | 5/8 | 3 | 2769, 2771-2773 |

## Traps
"""

X86 = '''
def is_paging(vcpu):
    """Tell whether the guest uses paging.

    Source: arch/x86/kvm/x86.h:65-68
    """
'''

VMX = '''
def enter_rmode(vcpu):
    """Enter real mode.

    Source: arch/x86/kvm/vmx.c:2753-2817
    """


def cited_elsewhere(vcpu):
    """See arch/x86/kvm/vmx.c:2753-2817."""
'''


def rows(folder: Path, **modules: str) -> list[source_map.Row]:
    """Return the rows of a project whose port is *modules*, in *folder*."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return source_map.join(
        source_map.read_checklist(CHECKLIST), source_map.read_port(folder, folder)
    )


def test_the_map_is_up_to_date() -> None:
    current = source_map.rows_of_project()
    stored = source_map.SOURCE_MAP.read_text(encoding="utf-8")
    assert source_map.render(current, source_map.stored_coverage(stored, current)) == stored, (
        "renew it with: python tools/source_map.py"
    )


def test_the_map_says_what_the_shortest_recordings_reach() -> None:
    current = source_map.rows_of_project()
    stored = source_map.SOURCE_MAP.read_text(encoding="utf-8")
    coverage = source_map.stored_coverage(stored, current)
    order = source_map.shortest_first((source_map.RECORDINGS / "index.json").read_text())
    assert [] == [
        contradiction
        for name in order[:3]
        for contradiction in source_map.contradictions(coverage, name, order)
    ]


def test_a_row_joins_a_citation_with_the_checklist(tmp_path: Path) -> None:
    paging, rmode = rows(tmp_path, a=VMX, b=X86)
    assert Ported("b.py", "is_paging", "arch/x86/kvm/x86.h", 65, 68) == paging.ported
    assert Ported("a.py", "enter_rmode", "arch/x86/kvm/vmx.c", 2753, 2817) == rmode.ported
    assert rmode.listed is not None
    assert ("essential", 3) == (rmode.listed.kind, rmode.listed.recordings)


def test_what_is_written_can_be_read_back(tmp_path: Path) -> None:
    found = rows(tmp_path, a=VMX, b=X86)
    coverage = {
        found[0].ported: Coverage(9, ("hand-02", "0019")),
        found[1].ported: Coverage(),
    }
    text = source_map.render(found, coverage)
    assert coverage == source_map.stored_coverage(text, found)
    assert (
        "| `enter_rmode` | 2753-2817 | [a.py](../a.py) | essential | 3 | 0 | |" in text.splitlines()
    )


def test_a_function_that_is_not_on_the_checklist_is_in_the_map(tmp_path: Path) -> None:
    extra = VMX.replace("enter_rmode", "exit_rmode").replace("2753-2817", "9-10")
    kinds = {row.ported.name: row.listed for row in rows(tmp_path, a=VMX, b=X86, c=extra)}
    assert kinds["exit_rmode"] is None


def test_a_checklist_function_without_a_port_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceMapError, match=r"^arch/x86/kvm/vmx.c:2753: enter_rmode has no port"):
        rows(tmp_path, b=X86)


def test_a_port_under_another_name_is_not_the_port(tmp_path: Path) -> None:
    with pytest.raises(SourceMapError, match="enter_rmode has no port"):
        rows(tmp_path, a=VMX.replace("def enter_rmode", "def enter_real_mode"), b=X86)


def test_a_port_that_cites_other_lines_is_not_the_port(tmp_path: Path) -> None:
    with pytest.raises(SourceMapError, match="enter_rmode has no port"):
        rows(tmp_path, a=VMX.replace("2753-2817", "2754-2817"), b=X86)


def test_two_functions_that_cite_the_same_lines_are_an_error(tmp_path: Path) -> None:
    again = VMX.replace("enter_rmode", "enter_rmode_again").replace("2753-2817", "2800-2820")
    with pytest.raises(SourceMapError, match=r"a\.py: enter_rmode and c\.py: enter_rmode_again"):
        rows(tmp_path, a=VMX, b=X86, c=again)
