# SPDX-License-Identifier: GPL-2.0-only
"""The recordings that come with the project, and files made from them for one test."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "conformance" / "recordings"
"""Where the recordings are."""

FILES = sorted(FOLDER.glob("*.jsonl.gz"))
"""All of them."""

INDEX: dict[str, dict[str, Any]] = {
    entry["file"]: entry for entry in json.loads((FOLDER / "index.json").read_text())
}
"""What the index says of each, by the name of the file before it was compressed."""

IMMEDIATE_EXIT = FOLDER / "hand-01-immediate-exit.jsonl.gz"
"""A short one, with L2."""

DESTROYED = FOLDER / "2088.jsonl.gz"
"""One that ends with ``destroy``."""


def stem(file: Path) -> str:
    """Return the name of a recording."""
    return file.name.removesuffix(".gz").removesuffix(".jsonl")


def lines_of(file: Path) -> list[dict[str, Any]]:
    """Return the objects of a recording; line 1 is element 0."""
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def write(file: Path, lines: Sequence[object]) -> Path:
    """Write *lines* as a recording that isn't compressed, and return its path."""
    texts = (json.dumps(line, sort_keys=True, separators=(",", ":")) for line in lines)
    file.write_text("".join(f"{text}\n" for text in texts))
    return file
