# SPDX-License-Identifier: GPL-2.0-only
"""Write what says which vectors are valid, from the tables of their loader.

That is the JSON Schema spec/vectors.schema.json, and the table of names in spec/vectors.md, which
stands between two comments; the rest of the page is written by hand.

Usage: python tools/vector_schema.py. A test fails when one of the files is stale.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[1]
SCHEMA: Final = PROJECT / "spec" / "vectors.schema.json"
PAGE: Final = PROJECT / "spec" / "vectors.md"
"""The files that are written."""

_TABLE: Final = re.compile(
    r"(?<=^<!-- table: names -->\n).*?(?=^<!-- end of table -->$)", re.MULTILINE | re.DOTALL
)


def rendered() -> str:
    """Return the schema as it should be."""
    from kvmref.harness.vectors.schema import vector_schema

    return json.dumps(vector_schema(), indent=1) + "\n"


def with_names(page: str) -> str:
    """Return *page* with the table of names as it should be."""
    return _TABLE.sub(lambda _: _names(), page)


def _names() -> str:
    from kvmref.harness.vectors.names import EVENT_TYPES, VECTORS, names_by_user

    users: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for user, kind in names_by_user().items():
        if not kind.event:
            users.setdefault(kind.what, []).append(f"`{user}`")
            names[kind.what] = [f"`{name}`" for name in kind.all]
    names["type of event"] = [f"`{name}`" for name in EVENT_TYPES]
    users["type of event"] = ["part `type`"]
    names["vector of an event"] = [f"`{name}`" for name in VECTORS]
    users["vector of an event"] = ["part `vector`"]
    lines = ["", "| kind | used by | names |", "|---|---|---|"]
    lines += [f"| {what} | {', '.join(users[what])} | {', '.join(names[what])} |" for what in names]
    return "\n".join([*lines, "", ""])


def main() -> int:
    """Write the files."""
    SCHEMA.write_text(rendered(), encoding="utf-8")
    PAGE.write_text(with_names(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(SCHEMA.relative_to(PROJECT), PAGE.relative_to(PROJECT))
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    sys.exit(main())
