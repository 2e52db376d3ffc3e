# SPDX-License-Identifier: GPL-2.0-only
"""Implementations in this process: the reference, and objects of other people's modules."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kvmref.errors import InputError
from kvmref.harness.implementations.in_process import MachineImplementation, load_implementation
from kvmref.harness.implementations.interface import Answer, Hello, ImplementationError
from kvmref.harness.protocol.smoke import ALL_KEYS, EXAMPLES
from kvmref.kernel.setup import Setup
from kvmref.machine.steps import Enter, Irq

MODULE = """
class Good:
    def hello(self): return HELLO
    def reset(self, setup): pass
    def step(self, step): return None
    def observe(self, keys): return {}
    def close(self): pass

class Raises(Good):
    def step(self, step): raise ZeroDivisionError("oh")

class Wrong(Good):
    def hello(self): return "hello"
    def step(self, step): return 5
    def observe(self, keys): return []

class Half:
    def hello(self): return HELLO

class Needs(Good):
    def __init__(self, argument): pass

class Outer:
    Inner = Good

good = Good()
number = 5

from kvmref.harness.implementations.interface import Hello
HELLO = Hello("good", "1", ("3.3",))
"""


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "implementations_of_a_test.py").write_text(MODULE)
    (tmp_path / "unfinished_of_a_test.py").write_text("import no_such_module_anywhere")
    (tmp_path / "broken_of_a_test.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "implementations_of_a_test", raising=False)


def load(attribute: str) -> object:
    return load_implementation(f"implementations_of_a_test:{attribute}")


def test_the_reference_shows_every_key_and_does_every_step() -> None:
    reference = MachineImplementation()
    hello = reference.hello()
    assert hello.steps is None
    assert all(hello.shows(key) for key in ALL_KEYS)
    assert [*ALL_KEYS] == [*reference.observe([*ALL_KEYS, "no.such.key"])]
    for step in EXAMPLES:
        assert reference.step(step).log is not None
    reference.reset(Setup())
    assert Answer(None, []) == reference.step(Irq(81))
    assert 1 == reference.step(Enter()).ret
    reference.close()


@pytest.mark.parametrize("attribute", ["Good", "good", "Outer.Inner"])
def test_a_class_or_an_object_in_the_current_directory_is_found(attribute: str) -> None:
    implementation = load_implementation(f"implementations_of_a_test:{attribute}")
    assert Hello("good", "1", ("3.3",)) == implementation.hello()
    implementation.reset(Setup())
    assert implementation.step(Enter()) is None
    assert {} == implementation.observe(["rip"])
    implementation.close()


def test_the_reference_can_be_named() -> None:
    implementation = load_implementation(
        "kvmref.harness.implementations.in_process:MachineImplementation"
    )
    assert "kvmref" == implementation.hello().name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("module", "found 'module' (accepted: module:attribute)"),
        (":x", "found ':x'"),
        ("no_such_module_anywhere:x", "no module is called 'no_such_module_anywhere'"),
        ("unfinished_of_a_test:x", "unfinished_of_a_test needs a module 'no_such_module_any"),
        ("broken_of_a_test:x", "broken_of_a_test can't be imported: ZeroDivisionError"),
        ("implementations_of_a_test:bad", "implementations_of_a_test has no attribute 'bad'"),
        ("implementations_of_a_test:number", "implementations_of_a_test:number has no methods"),
        ("implementations_of_a_test:Half", "implementations_of_a_test:Half has no method reset,"),
    ],
)
def test_what_is_no_implementation_is_refused(name: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        load_implementation(name)
    assert str(caught.value).startswith(problem)


def test_what_an_implementation_raises_is_its_own_error() -> None:
    implementation = load_implementation("implementations_of_a_test:Raises")
    with pytest.raises(ImplementationError, match="step raised ZeroDivisionError: oh") as caught:
        implementation.step(Enter())
    assert "ZeroDivisionError: oh" == caught.value.transcript[-1]
    with pytest.raises(ImplementationError, match="Needs raised TypeError"):
        load("Needs")


def test_what_is_no_answer_is_an_error_of_the_implementation() -> None:
    implementation = load_implementation("implementations_of_a_test:Wrong")
    with pytest.raises(ImplementationError, match="hello returned str, not Hello"):
        implementation.hello()
    with pytest.raises(ImplementationError, match="step returned int, not Answer or None"):
        implementation.step(Enter())
    with pytest.raises(ImplementationError, match="observe returned list, not dict"):
        implementation.observe(["rip"])
