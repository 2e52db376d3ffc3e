# SPDX-License-Identifier: GPL-2.0-only
"""Many vectors: every one gets its verdict, whatever happens to the implementation."""

from __future__ import annotations

from pathlib import Path

import mutants
import pytest
from scenarios import expecting, suite, vector

from kvmref.errors import InputError
from kvmref.harness.implementations.in_process import MachineImplementation
from kvmref.harness.implementations.interface import (
    Answer,
    Hello,
    Implementation,
    ImplementationError,
)
from kvmref.harness.implementations.targets import Target
from kvmref.harness.judging.runner import MOST_ERRORS, Examiner, run_vectors
from kvmref.harness.judging.scores import percent, score, scores
from kvmref.harness.judging.verdict import Outcome, Verdict
from kvmref.harness.vectors.model import ExpectedValue, Vector
from kvmref.harness.wording.citations import citations
from kvmref.machine.steps import Dump, Enter

HELLO = Hello("fake", "1", ("3.3",), levels=("l0", "l1"))


def numbered(count: int) -> list[Vector]:
    return [vector(expecting(Enter()), name=f"folder/{number:02}") for number in range(count)]


class Started:
    """A source that counts how often it is called."""

    def __init__(self, *implementations: Implementation | Exception) -> None:
        """Start *implementations* one after the other, the last one again and again."""
        self.implementations = list(implementations)
        self.count = 0

    def __call__(self) -> Implementation:
        self.count += 1
        first = self.implementations[0]
        if len(self.implementations) > 1:
            self.implementations.pop(0)
        if isinstance(first, Exception):
            raise first
        return first


def outcomes(verdicts: list[Verdict]) -> list[str]:
    return [verdict.outcome.value for verdict in verdicts]


def test_one_implementation_runs_all_vectors_and_is_closed_at_the_end() -> None:
    fake = mutants.Fake(HELLO)
    source = Started(fake)
    verdicts = list(run_vectors(numbered(3), source))
    assert ["folder/00", "folder/01", "folder/02"] == [one.vector.id for one in verdicts]
    assert (1, 1) == (source.count, fake.closed)


def test_one_that_broke_is_closed_and_started_again() -> None:
    source = Started(mutants.RaisesOnEntry(), mutants.Fake(HELLO))
    assert ["errored", "passed", "passed"] == outcomes(list(run_vectors(numbered(3), source)))
    assert 2 == source.count


def test_one_that_breaks_again_and_again_is_given_up() -> None:
    source = Started(mutants.RaisesOnEntry())
    verdicts = list(run_vectors(numbered(MOST_ERRORS + 2), source))
    assert ["errored"] * (MOST_ERRORS + 2) == outcomes(verdicts)
    assert MOST_ERRORS == source.count
    assert "not run: gave up after 5 errors in a row, the last one: no answer" == verdicts[-1].error


def test_an_error_now_and_then_is_no_reason_to_give_up() -> None:
    class Moody(mutants.Fake):
        def step(self, step: object) -> Answer | None:
            self.setups.pop()
            moods.append(True)
            if len(moods) % 2:
                raise ImplementationError("not today")
            return Answer()

    moods: list[bool] = []
    source = Started(Moody(HELLO))
    verdicts = list(run_vectors(numbered(4 * MOST_ERRORS), source))
    assert ["errored", "passed"] * (2 * MOST_ERRORS) == outcomes(verdicts)


def test_one_that_does_not_start_is_an_error_of_each_vector() -> None:
    source = Started(ImplementationError("exit status 1", ["stderr: no"]), mutants.Fake(HELLO))
    first, second = run_vectors(numbered(2), source)
    assert ("exit status 1", ("stderr: no",)) == (first.error, first.transcript)
    assert Outcome.PASSED is second.outcome


def test_what_is_raised_while_it_says_goodbye_is_not_heard() -> None:
    class Rude(mutants.Fake):
        def close(self) -> None:
            raise OSError("no")

    assert ["passed"] == outcomes(list(run_vectors(numbered(1), Started(Rude(HELLO)))))


def test_what_does_not_exist_is_bad_input() -> None:
    with pytest.raises(InputError, match="no module is called"):
        list(run_vectors(numbered(1), Target("no_such_module:thing")))


def test_a_kernel_that_is_not_implemented_is_bad_input() -> None:
    with pytest.raises(InputError, match=r"another does not implement kernel 3\.3"):
        Examiner(mutants.AnotherKernel, "3.3").test(numbered(1)[0])


def test_it_is_told_what_the_implementation_says_of_itself() -> None:
    said: list[Hello] = []
    list(run_vectors(numbered(2), mutants.ShowsLittle, greet=said.append))
    assert ["shows-little"] == [hello.name for hello in said]


def test_several_processes_give_the_same_verdicts_in_the_same_order(tmp_path: Path) -> None:
    vectors = list(suite(tmp_path).values()) * 2
    said: list[Hello] = []
    alone = list(run_vectors(vectors, mutants.SkipsTheIpi))
    together = list(run_vectors(vectors, mutants.SkipsTheIpi, "3.3", 2, said.append))
    assert [(one.vector, one.outcome, one.differences) for one in alone] == [
        (one.vector, one.outcome, one.differences) for one in together
    ]
    assert ["kvmref", "kvmref"] == [hello.name for hello in said]


def test_a_process_that_dies_loses_one_vector() -> None:
    harmless = [vector(expecting(Dump()), name="a/harmless") for _ in range(2)]
    vectors = [numbered(1)[0], harmless[0], harmless[1]]
    verdicts = list(run_vectors(vectors, mutants.Dies, jobs=2))
    assert ["errored", "passed", "passed"] == outcomes(verdicts)
    assert "the process died, exit status 7" == verdicts[0].error


def test_bad_input_in_a_process_is_bad_input() -> None:
    with pytest.raises(InputError, match="does not implement kernel"):
        list(run_vectors(numbered(4), mutants.AnotherKernel, "3.3", 2))


def test_a_run_that_is_left_early_leaves_nobody_behind() -> None:
    running = run_vectors(numbered(6), MachineImplementation, jobs=2)
    assert Outcome.PASSED is next(running).outcome
    running.close()


# Scores.


def masked(seen: bool) -> Verdict:
    return Verdict(numbered(1)[0], Outcome.MASKED, checked=int(seen), masked=1)


def test_the_strict_score_wants_everything_and_the_masked_one_forgives_what_is_not_shown() -> None:
    passed = Verdict(vector(name="other/one"), Outcome.PASSED, checked=2)
    failed = Verdict(vector(name="other/two"), Outcome.FAILED, checked=1)
    verdicts = [passed, failed, masked(seen=True), masked(seen=False)]
    total = score(verdicts)
    assert (1 / 4, 2 / 3) == (total.strict, total.forgiving)
    assert (4, 2) == (total.checked, total.hidden)
    assert ["other", "folder"] == [one.folder for one in scores(verdicts)]


def test_only_all_of_them_are_100_percent() -> None:
    assert ("100 %", "99 %", "-") == (percent(1.0), percent(0.999), percent(None))
    assert (None, None) == (score([]).strict, score([]).forgiving)


# Citations.


def test_a_c_function_is_found_in_linux_and_in_the_port() -> None:
    (citation,) = citations("vcpu_enter_guest")
    assert "arch/x86/kvm/x86.c:5135-5298" == str(citation)
    assert "kvmref/kernel/linux_3_3/x86/enter_guest.py" == citation.module


def test_an_unknown_function_or_kernel_is_nowhere() -> None:
    assert () == citations("no_such_function")
    assert () == citations("vcpu_enter_guest", "2.6")


def test_expected_values_are_compared_by_value() -> None:
    assert ExpectedValue([81]).matches([81])
    assert not ExpectedValue(1, mask=1).matches("1")
