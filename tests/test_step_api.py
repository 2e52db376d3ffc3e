# SPDX-License-Identifier: GPL-2.0-only
"""The page of the step API is up to date, and the tool that writes its tables sees what is not."""

from __future__ import annotations

import doctest
from dataclasses import dataclass
from typing import get_args

import pytest

import step_api
from kvmref.machine import steps
from kvmref.machine.keys import KEYS
from step_api import StepApiError


@dataclass
class Example:
    """Do something."""

    vector: int
    err: int | None = None
    """Its ``code``, if
    it has one."""
    limit: int = 0x80


def page() -> str:
    return step_api.STEP_API.read_text(encoding="utf-8")


def test_the_tables_are_up_to_date() -> None:
    assert step_api.renewed(page()) == page(), "renew them with: python tools/step_api.py"


def test_every_dataclass_of_a_step_is_in_the_union() -> None:
    members = set(get_args(steps.Step))
    defined = {
        value
        for value in vars(steps).values()
        if isinstance(value, type) and value.__module__ == steps.__name__
    }
    assert {steps.StepResult} == defined - members


def test_every_step_and_every_key_says_what_it_is() -> None:
    assert [] == [step.__name__ for step in get_args(steps.Step) if not step.__doc__]
    assert [] == [name for name, key in KEYS.items() if not key.doc]


def test_every_key_has_a_level() -> None:
    assert {"l0", "l1"} == {key.level for key in KEYS.values()}


def test_the_example_prints_what_the_page_says() -> None:
    example = doctest.DocTestParser().get_doctest(page(), {}, "step-api.md", None, 0)
    assert example.examples
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert [] == report


def test_a_step_is_shown_as_one_makes_it() -> None:
    expected = "Example(vector: int, err: int | None = None, limit: int = 0x80)"
    assert expected == step_api.signature(Example)


def test_the_docstring_of_an_attribute_is_found() -> None:
    assert {"err": "Its `code`, if it has one."} == step_api.attribute_docs(Example)


def test_a_table_cell_can_contain_a_bar() -> None:
    assert "| a |\n| --- |\n| x \\| y |" == step_api.table(["a"], [["x | y"]])


def test_a_page_without_all_tables_is_an_error() -> None:
    with pytest.raises(StepApiError, match=r"has the tables \['keys'\], and should have"):
        step_api.renewed("<!-- table: keys -->\n<!-- end of table -->\n")
