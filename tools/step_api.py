# SPDX-License-Identifier: GPL-2.0-only
"""Writes the tables of ``spec/step-api.md``: setup, steps, outcomes, events, points and keys.

Run it as ``python tools/step_api.py`` after adding or changing one of these. The prose of the page
is written by hand; each table stands between two comments,

    <!-- table: steps -->
    <!-- end of table -->

and is made from what the package says of itself: dataclasses with their docstrings, and the tables
of events, points and keys. Docstrings of attributes are parsed, because Python forgets them.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, get_args

PROJECT: Final = Path(__file__).resolve().parents[1]
STEP_API: Final = PROJECT / "spec" / "step-api.md"

_TABLE: Final = re.compile(
    r"^<!-- table: (\w+) -->\n.*?^<!-- end of table -->$", re.MULTILINE | re.DOTALL
)


class StepApiError(Exception):
    """The page and the tables do not fit together."""


def prose(docstring: str | None) -> str:
    """Return a docstring on one line, as Markdown."""
    return " ".join((docstring or "").split()).replace("``", "`")


def attribute_docs(class_: type) -> dict[str, str]:
    """Return the docstrings of the attributes of *class_*, by name."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(class_))).body
    assert isinstance(tree, ast.ClassDef)
    docs: dict[str, str] = {}
    for one, following in pairwise(tree.body):
        match one, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                docs[name] = prose(text)
    return docs


def literal(value: object) -> str:
    """Return a default as one writes it in Python; numbers of more than a digit in hexadecimal."""
    return hex(value) if type(value) is int and value > 9 else repr(value)


def default(field: Any) -> str | None:
    """Return the default of a *field* of a dataclass, or ``None`` if it has to be given."""
    if field.default is not MISSING:
        return literal(field.default)
    return None if field.default_factory is MISSING else literal(field.default_factory())


def signature(class_: Any) -> str:
    """Return how an instance of the dataclass *class_* is made."""
    arguments = [
        f"{field.name}: {field.type}" + ("" if default(field) is None else f" = {default(field)}")
        for field in fields(class_)
    ]
    return f"{class_.__name__}({', '.join(arguments)})"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of Markdown."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |".replace("  |", " |") for line in escaped)


def code(text: str) -> str:
    """Return *text* as code."""
    return f"`{text}`"


def _fields_table(class_: Any) -> str:
    docs = attribute_docs(class_)
    rows = (
        (
            code(field.name),
            code(str(field.type)),
            code(default(field) or ""),
            docs.get(field.name, ""),
        )
        for field in fields(class_)
    )
    return table(("field", "type", "default", "what it is"), rows)


def setup_table() -> str:
    """Return the table of what a machine starts with."""
    from kvmref.kernel.setup import Setup

    return _fields_table(Setup)


def outcome_table() -> str:
    """Return the table of what the run of a guest can leave behind."""
    from kvmref.processor.scripted import Outcome

    return _fields_table(Outcome)


def steps_table() -> str:
    """Return the table of the steps, in the order of their union."""
    from kvmref.machine.steps import Step

    rows: list[tuple[str, str]] = []
    for step in get_args(Step):
        arguments = [f"*{name}*: {doc}" for name, doc in attribute_docs(step).items()]
        rows.append((code(signature(step)), " ".join([prose(step.__doc__), *arguments])))
    return table(("step", "what it does"), rows)


def settable_table() -> str:
    """Return the table of the variables that the step ``Set`` stores into."""
    from kvmref.machine.steps import SETTABLE

    return table(("variable", "bits"), ((code(name), str(n)) for name, n in SETTABLE.items()))


def events_table() -> str:
    """Return the table of the events with their arguments."""
    from kvmref.trace import EVENTS, Kind

    def described(argument: str, kind: Kind) -> str:
        return argument if argument == kind.value else f"{argument}: {kind.value}"

    rows = (
        (code(name), ", ".join(described(*argument) for argument in arguments.items()))
        for name, arguments in EVENTS.items()
    )
    return table(("event", "arguments"), rows)


def points_table() -> str:
    """Return the table of the points."""
    from kvmref.trace import POINTS

    return table(("point",), ((code(name),) for name in POINTS))


def keys_table() -> str:
    """Return the table of the observation keys; a machine tells which of them are lists."""
    from kvmref.machine.keys import KEYS
    from kvmref.machine.machine import Machine

    values = Machine().observe(KEYS)
    rows = (
        (
            code(name),
            key.level,
            "list" if isinstance(values[name], list) else key.kind.value,
            prose(key.doc),
        )
        for name, key in KEYS.items()
    )
    return table(("key", "level", "value", "what it is"), rows)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "setup": setup_table,
    "steps": steps_table,
    "outcome": outcome_table,
    "settable": settable_table,
    "events": events_table,
    "points": points_table,
    "keys": keys_table,
}
"""What makes each table, by its name on the page."""


def renewed(page: str) -> str:
    """Return *page* with its tables made anew.

    Raises `StepApiError` if the page does not have every table exactly once.
    """
    named = [match[1] for match in _TABLE.finditer(page)]
    if sorted(named) != sorted(TABLES):
        raise StepApiError(f"the page has the tables {named}, and should have {list(TABLES)}")

    def renew(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- table: {name} -->\n{TABLES[name]()}\n<!-- end of table -->"

    return _TABLE.sub(renew, page)


def main() -> int:
    """Renew the page; return 1, with the problem on standard error, if it lacks a table."""
    try:
        page = renewed(STEP_API.read_text(encoding="utf-8"))
    except StepApiError as error:
        print(error, file=sys.stderr)
        return 1
    STEP_API.write_text(page, encoding="utf-8")
    print(f"{STEP_API.relative_to(PROJECT)}: {len(TABLES)} tables")
    return 0


if __name__ == "__main__":
    sys.exit(main())
