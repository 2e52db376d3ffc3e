# SPDX-License-Identifier: GPL-2.0-only
"""Write spec/protocol.schema.json, the JSON Schema of the wire protocol, from the code's tables.

Usage: python tools/protocol_schema.py. A test fails when the file is stale.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[1]
SCHEMA: Final = PROJECT / "spec" / "protocol.schema.json"
"""The file that is written."""


def rendered() -> str:
    """Return the contents of the file as they should be."""
    from kvmref.harness.protocol.schema import protocol_schema

    return json.dumps(protocol_schema(), indent=1) + "\n"


def main() -> int:
    """Write the file."""
    SCHEMA.write_text(rendered(), encoding="utf-8")
    print(SCHEMA.relative_to(PROJECT))
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    sys.exit(main())
