# SPDX-License-Identifier: GPL-2.0-only
"""A vector is read exactly, or everything that is wrong with it is said, one line each.

The malformed vectors are data: each file of ``data/vectors/invalid`` has its errors beside it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kvmref.errors import InputError, InvalidVectorError
from kvmref.harness.vectors.directories import suite_directory
from kvmref.harness.vectors.loader import load_vector
from kvmref.harness.vectors.model import EventPattern, Expectation, ExpectedValue, Vector
from kvmref.harness.vectors.starting_points import StartingPoint, load_starting_points
from kvmref.harness.vectors.suite import load_suite, select
from kvmref.kernel.setup import Setup
from kvmref.machine.machine import Machine
from kvmref.machine.steps import (
    At,
    Enter,
    Exit,
    Irq,
    Kick,
    Ktime,
    QueueException,
    Request,
    Signal,
    Step,
    WriteRegisters,
    WriteVmcs,
    WriteVmcs12,
)
from kvmref.processor.scripted import Outcome
from kvmref.processor.vmcs_fields import GUEST_INTERRUPTIBILITY_INFO, GUEST_RIP

INVALID = Path(__file__).parent / "data" / "vectors" / "invalid"
FILES = sorted(INVALID.glob("*.toml"))

POINTS, POINT_ERRORS = load_starting_points(suite_directory().parent / "starting-points")

HEAD = """\
format = 1
title = "A title"
why = "What goes wrong"
reason = "Why these values"
level = "l0"
kernels = ["3.3"]
functions = ["vcpu_enter_guest"]
flags = ["irq"]
"""

EXPECTED = """
[[step]]
do = "enter"
expect = { ret = 1 }
"""


def loaded(folder: Path, text: str, name: str = "folder/name") -> Vector:
    """Return the vector with this *text*."""
    file = folder / f"{name}.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return load_vector(file, folder, POINTS)


def step_of(folder: Path, text: str) -> Step:
    """Return the step that the lines *text* describe."""
    vector = loaded(folder, f'{HEAD}start = "l1"\n[[step]]\n{text}\n{EXPECTED}')
    return vector.steps[0].step


def value_of(folder: Path, text: str) -> ExpectedValue:
    """Return what the line *text* expects of a key."""
    step = f'[[step]]\ndo = "enter"\n[step.expect.values]\n{text}\n'
    (expected,) = loaded(folder, f'{HEAD}start = "l1"\n{step}').steps[0].expect.values.values()
    return expected


def errors_of(file: Path, root: Path) -> str:
    """Return the errors of *file*, without its name."""
    with pytest.raises(InvalidVectorError) as caught:
        load_vector(file, root, POINTS)
    for error in caught.value.errors:
        assert "\n" not in str(error)
        assert str(error).startswith(str(file))
    return "".join(f"{error}\n".removeprefix(str(file)) for error in caught.value.errors)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_malformed_vector_gives_its_documented_errors(file: Path) -> None:
    assert file.with_suffix(".txt").read_text() == errors_of(file, INVALID)


def test_malformed_vectors_are_of_at_least_40_kinds() -> None:
    assert len(FILES) >= 40
    assert [file.with_suffix(".txt") for file in FILES] == sorted(INVALID.glob("*.txt"))


def test_a_directory_is_no_vector(tmp_path: Path) -> None:
    folder = tmp_path / "vector.toml"
    folder.mkdir()
    assert ": can't be read: Is a directory\n" == errors_of(folder, tmp_path)


def test_a_file_that_is_not_there_is_no_vector(tmp_path: Path) -> None:
    assert ": can't be read: No such file or directory\n" == errors_of(
        tmp_path / "vector.toml", tmp_path
    )


def test_a_file_without_permission_is_no_vector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert ": can't be read: Permission denied\n" == errors_of(tmp_path / "vector.toml", tmp_path)


def test_the_path_of_a_vector_must_be_fit_to_be_an_id(tmp_path: Path) -> None:
    file = tmp_path / "A folder" / "name_1.toml"
    file.parent.mkdir()
    file.write_text(f'{HEAD}start = "l1"\n{EXPECTED}')
    accepted = "(accepted: lower-case words joined by hyphens)"
    assert (
        f": found 'A folder' in the path, which is the id {accepted}\n"
        f": found 'name_1' in the path, which is the id {accepted}\n"
    ) == errors_of(file, tmp_path)


def test_a_vector_must_be_below_the_folder_of_the_vectors(tmp_path: Path) -> None:
    file = tmp_path / "name.toml"
    file.write_text(f'{HEAD}start = "l1"\n{EXPECTED}')
    other = tmp_path / "other"
    assert (
        f": not below {other} (accepted: a file below the folder of the vectors)\n"
    ) == errors_of(file, other)


def test_a_vector_has_everything_that_its_file_says(tmp_path: Path) -> None:
    vector = loaded(
        tmp_path,
        """\
        format = 1
        title = "A title"
        why = '''
        What goes
        wrong'''
        reason = "Why these values"
        level = "l1"
        kernels = ["3.3"]
        functions = ["nested_vmx_failValid", "enable_irq_window"]
        commits = ["d6185f20a0ef"]
        flags = ["immediate-exit", "irq"]
        start = "l1"
        [setup]
        virtual_nmis = false
        vmx_basic = "0xda040000000010"
        l1_rflags = [0x2]
        [[step]]
        do = "irq"
        vector = 81
        note = "an interrupt for L1"
        [[step]]
        do = "enter"
        expect.values.rip = 0x10000
        """,
    )
    assert "folder/name" == vector.id
    assert "What goes wrong" == vector.why
    assert "l1" == vector.level
    assert ("nested_vmx_failValid", "enable_irq_window") == vector.functions
    assert ("d6185f20a0ef",) == vector.commits
    assert ("immediate-exit", "irq") == vector.flags
    assert Setup(virtual_nmis=False, vmx_basic=0xDA040000000010, l1_rflags=0x2) == vector.setup
    assert () == vector.preamble
    assert (Irq(81), Enter()) == tuple(step.step for step in vector.steps)
    assert "an interrupt for L1" == vector.steps[0].note
    assert Expectation(values={"rip": ExpectedValue(0x10000)}) == vector.steps[1].expect


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ('do = "enter"', Enter()),
        ('do = "signal"\nvalue = true', Signal(True)),
        ('do = "signal"\nvalue = 0', Signal(False)),
        ('do = "irq"\nvector = "0x51"\nnoreq = true', Irq(81, noreq=True)),
        ('do = "ktime"\nns = -5', Ktime(-5)),
        ('do = "request"\nbit = "IMMEDIATE_EXIT"', Request(15)),
        ('do = "request"\nbit = 63', Request(63)),
        ('do = "exception"\nvector = "GP"\nerr = 0x18', QueueException(13, 0x18)),
        (
            'do = "reg"\nregs = { rflags = ["IF", 2], rax = 7 }',
            WriteRegisters({"rflags": 0x202, "rax": 7}),
        ),
        (
            'do = "vmcs"\nfields = { GUEST_RIP = "0xFFFFFFFFFFFFFFFF" }',
            WriteVmcs({GUEST_RIP: 2**64 - 1}),
        ),
        (
            'do = "vmcs"\nfields = { GUEST_INTERRUPTIBILITY_INFO = ["STI", "NMI"] }',
            WriteVmcs({GUEST_INTERRUPTIBILITY_INFO: 9}),
        ),
        ('do = "exit"\nreason = "HLT"\nlen = 1', Exit(Outcome(reason=12, len=1))),
        (
            'do = "exit"\nreason = ["INVALID_STATE", "FAILED_VMENTRY"]',
            Exit(Outcome(reason=0x80000021)),
        ),
        (
            'do = "exit"\nregs = { rax = 1, cr2 = 2 }\nfields = { GUEST_RIP = 3 }',
            Exit(Outcome(regs={0: 1}, cr2=2, fields={GUEST_RIP: 3})),
        ),
        (
            'do = "at"\nevent = "smp_mb"\ncount = 2\nstep = { do = "kick" }',
            At("smp_mb", Kick(), 2),
        ),
        ('do = "vmcs12"\ngpa = 0x30000\nzero = true', WriteVmcs12(0x30000, zero=True)),
        (
            'do = "vmcs12"\ngpa = 0x30000\nfields = { exception_bitmap = ["PF", "GP"] }',
            WriteVmcs12(0x30000, {"exception_bitmap": 0x6000}),
        ),
    ],
)
def test_a_step_is_what_its_table_says(tmp_path: Path, text: str, step: Step) -> None:
    assert step == step_of(tmp_path, text)


@pytest.mark.parametrize(
    ("parts", "info"),
    [
        ('type = "external interrupt", vector = 48', 0x80000030),
        ('type = "NMI"', 0x80000202),
        ('type = "hardware exception", vector = "GP", error_code = true', 0x80000B0D),
        ('type = "hardware exception", vector = 14, unblock_nmi = 1', 0x8000130E),
        ('type = "software interrupt", vector = 0x80', 0x80000480),
        ('type = "software exception", vector = "BP", valid = false', 0x603),
    ],
)
def test_interruption_information_can_be_written_by_its_parts(
    tmp_path: Path, parts: str, info: int
) -> None:
    step = step_of(tmp_path, f'do = "exit"\nreason = "EXCEPTION_NMI"\nintr_info = {{ {parts} }}')
    assert Exit(Outcome(reason=0, intr_info=info)) == step


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"requests" = ["EVENT", "IMMEDIATE_EXIT"]', ExpectedValue(0x8800)),
        ('"requests" = []', ExpectedValue(0)),
        ('"requests" = ["EVENT", 0x8000]', ExpectedValue(0x8800)),
        ('"rflags" = { set = ["IF"], clear = ["CF", "ZF"] }', ExpectedValue(0x200, 0x241)),
        ('"cr4" = { clear = ["VMXE"] }', ExpectedValue(0, 0x2000)),
        ('"vmx.exit_reason" = "EXTERNAL_INTERRUPT"', ExpectedValue(1)),
        ('"vmx.exit_reason" = "0xa"', ExpectedValue(10)),
        (
            '"vmcs12.vm_exit_reason" = ["INVALID_STATE", "FAILED_VMENTRY"]',
            ExpectedValue(0x80000021),
        ),
        ('"vmcs12.vm_exit_reason" = { set = ["FAILED_VMENTRY"] }', ExpectedValue(1 << 31, 1 << 31)),
        ('"vmcs12.vm_instruction_error" = "VMLAUNCH_NONCLEAR_VMCS"', ExpectedValue(4)),
        ('"vmcs12.vm_exit_intr_info" = { type = "NMI" }', ExpectedValue(0x80000202)),
        ('"vmcs02.PIN_BASED_VM_EXEC_CONTROL" = ["NMI_EXITING"]', ExpectedValue(8)),
        ('"vmcs02.GUEST_RIP" = "none"', ExpectedValue(None)),
        ('"nested.apic_access_page" = "none"', ExpectedValue(None)),
        ('"nested.current_vmptr" = "0xffffffffffffffff"', ExpectedValue(2**64 - 1)),
        ('"loaded" = "02"', ExpectedValue("02")),
        ('"vmcs01_cpu" = -1', ExpectedValue(-1)),
        ('"irr" = []', ExpectedValue([])),
        (
            '"dr" = [0, 0, 0, 0, "0xffff0ff0", 0x400]',
            ExpectedValue([0, 0, 0, 0, 0xFFFF0FF0, 0x400]),
        ),
        ('"pinned" = [[0x30000, 1]]', ExpectedValue([[0x30000, 1]])),
        (
            '"nested.pool" = [{ vmptr = 0x30000, launched = 1, cpu = 0 }]',
            ExpectedValue([{"vmptr": 0x30000, "launched": 1, "cpu": 0}]),
        ),
    ],
)
def test_an_expected_value_is_what_its_line_says(
    tmp_path: Path, text: str, expected: ExpectedValue
) -> None:
    assert expected == value_of(tmp_path, text)


def test_patterns_of_the_log_have_the_arguments_that_matter(tmp_path: Path) -> None:
    vector = loaded(
        tmp_path,
        f"""{HEAD}
        start = "l1"
        [[step]]
        do = "enter"
        [step.expect]
        log = [
            "mmu_load",
            "vmentry",
            {{ event = "vmexit", vmcs = "02", reason = "CPUID" }},
            {{ event = "guest_write", bytes = "00ff" }},
        ]
        never = [{{ event = "smp_call", cpu = 1 }}]
        """,
    )
    expect = vector.steps[0].expect
    assert (
        EventPattern("mmu_load"),
        EventPattern("vmentry"),
        EventPattern("vmexit", {"vmcs": "02", "reason": 10}),
        EventPattern("guest_write", {"bytes": b"\x00\xff"}),
    ) == expect.log
    assert (EventPattern("smp_call", {"cpu": 1}),) == expect.never


def test_changes_to_the_vmcs12_go_where_the_starting_point_stores_it(tmp_path: Path) -> None:
    unchanged = loaded(tmp_path, f'{HEAD}start = "loaded"\n{EXPECTED}')
    changed = loaded(
        tmp_path, f'{HEAD}start = "loaded"\n[vmcs12]\nguest_rip = 7\nguest_cs_limit = 0\n{EXPECTED}'
    )
    differing = [
        (one, other)
        for one, other in zip(unchanged.preamble, changed.preamble, strict=True)
        if one != other
    ]
    ((before, after),) = differing
    assert isinstance(before, WriteVmcs12)
    members = {**before.fields, "guest_rip": 7, "guest_cs_limit": 0}
    assert WriteVmcs12(before.gpa, members, zero=True) == after


def test_a_step_without_fields_stores_the_vmcs12_once_more(tmp_path: Path) -> None:
    text = f'{HEAD}start = "l1"\n[vmcs12]\nguest_rip = 7\n[[step]]\ndo = "vmcs12"\ngpa = 0x40000\n'
    vector = loaded(tmp_path, f"{text}{EXPECTED}")
    assert WriteVmcs12(0x40000, {"guest_rip": 7}, zero=True) == vector.steps[0].step


PAGE = Path(__file__).parents[1] / "spec" / "vectors.md"
EXAMPLES = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_example_of_a_vector_is_one_and_the_reference_passes_it(tmp_path: Path) -> None:
    vector = loaded(tmp_path, EXAMPLES[0])
    machine = Machine(vector.setup)
    for prepared in vector.preamble:
        machine.step(prepared)
    for step in vector.steps:
        result = machine.step(step.step)
        assert step.expect.ret in (None, result.ret)
        observed = machine.observe(step.expect.values)
        for key, expected in step.expect.values.items():
            assert expected.matches(observed[key]), key
        happened = [event if isinstance(event, str) else event[0] for event in result.log]
        positions = [happened.index(pattern.name) for pattern in step.expect.log]
        assert sorted(positions) == positions
        assert not {pattern.name for pattern in step.expect.never} & set(happened)


def test_the_example_of_a_starting_point_is_one(tmp_path: Path) -> None:
    (tmp_path / "l1.toml").write_text('format = 1\ntitle = "T"\ndoc = "D"\n')
    (tmp_path / "vmxon.toml").write_text(EXAMPLES[1])
    points, errors = load_starting_points(tmp_path)
    assert () == errors
    assert 2 == len(points["vmxon"].steps)


def points_of(folder: Path, **texts: str) -> tuple[dict[str, StartingPoint], list[str]]:
    """Return the starting points with these *texts*, and what is wrong with the others."""
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(f'format = 1\ntitle = "T"\ndoc = "D"\n{text}')
    points, errors = load_starting_points(folder)
    return points, [str(error).removeprefix(f"{folder}/") for error in errors]


def test_a_starting_point_goes_on_from_what_it_is_based_on(tmp_path: Path) -> None:
    points, errors = points_of(
        tmp_path,
        zero="[setup]\nirqchip = false\ntsc = 1\n[vmcs12]\nguest_rip = 1\nguest_rsp = 1\n"
        '[[step]]\ndo = "vmcs12"\ngpa = 0x30000\n',
        one='based_on = "zero"\n[setup]\ntsc = 2\n[vmcs12]\nguest_rip = 2\n'
        '[[step]]\ndo = "enter"\n',
    )
    assert [] == errors
    one = points["one"]
    assert {"irqchip": False, "tsc": 2} == one.setup
    assert {"guest_rip": 2, "guest_rsp": 1} == one.members
    assert (WriteVmcs12(0x30000, {"guest_rip": 2, "guest_rsp": 1}, zero=True), Enter()) == (
        one.preamble(one.members)
    )


def test_a_starting_point_that_is_based_on_itself_is_an_error(tmp_path: Path) -> None:
    points, errors = points_of(
        tmp_path, a='based_on = "b"', b='based_on = "c"', c='based_on = "b"', d=""
    )
    assert ["d"] == list(points)
    assert [
        "a.toml: based_on: a starting point is based on itself: a -> b -> c -> b",
        "b.toml: based_on: a starting point is based on itself: b -> c -> b",
        "c.toml: based_on: a starting point is based on itself: c -> b -> c",
    ] == errors


def test_a_starting_point_needs_what_it_is_based_on(tmp_path: Path) -> None:
    points, errors = points_of(
        tmp_path, fine="", lost='based_on = "fien"', bad="setup = 1", worse='based_on = "bad"'
    )
    assert ["fine"] == list(points)
    assert [
        "bad.toml: setup: found 1 (accepted: a table)",
        'lost.toml: based_on: unknown starting point "fien", did you mean "fine"?'
        " (accepted: fine, lost, worse)",
        "worse.toml: based_on: the starting point bad is invalid",
    ] == errors


def test_a_starting_point_expects_nothing(tmp_path: Path) -> None:
    _, errors = points_of(tmp_path, a='[[step]]\ndo = "enter"\nexpect = { ret = 1 }')
    assert ['a.toml: step[0].expect: unknown key "expect" (accepted: do)'] == errors


def test_starting_points_need_a_directory(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    points, errors = load_starting_points(missing)
    assert {} == points
    assert [f"{missing}: no such directory"] == [str(error) for error in errors]


def test_without_starting_points_of_their_own_vectors_use_those_of_kvmref(tmp_path: Path) -> None:
    vector = f'{HEAD}start = "loaded"\n{EXPECTED}'
    file = tmp_path / "name.toml"
    file.write_text(vector)
    assert load_vector(file, tmp_path, POINTS) == load_vector(file, tmp_path)
    assert [] == list(POINT_ERRORS)


def test_a_wrong_starting_point_is_an_error_of_the_vectors(tmp_path: Path) -> None:
    vectors = tmp_path / "vectors"
    (tmp_path / "starting-points").mkdir()
    points_of(tmp_path / "starting-points", l1="setup = 1")
    vectors.mkdir()
    (vectors / "name.toml").write_text(f'{HEAD}start = "l1"\n{EXPECTED}')
    with pytest.raises(InvalidVectorError, match=r"l1\.toml: setup: found 1"):
        load_vector(vectors / "name.toml", vectors)
    assert [
        f"{tmp_path}/starting-points/l1.toml: setup: found 1 (accepted: a table)",
        f'{vectors}/name.toml: start: unknown starting point "l1"',
    ] == [str(error) for error in load_suite(vectors).errors]


def test_one_bad_vector_never_loses_the_rest(tmp_path: Path) -> None:
    loaded(tmp_path, f'{HEAD}start = "l1"\n{EXPECTED}', "b/second")
    loaded(tmp_path, f'{HEAD}start = "l1"\n{EXPECTED}', "a/first")
    (tmp_path / "a" / "broken.toml").write_text("format = 2")
    suite = load_suite(tmp_path)
    assert ["a/first", "b/second"] == [vector.id for vector in suite.vectors]
    assert {str(tmp_path / "a" / "broken.toml")} == {error.file for error in suite.errors}
    assert 3 == suite.files


def test_a_suite_needs_a_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such directory"):
        load_suite(tmp_path / "missing")


@pytest.fixture
def three(tmp_path: Path) -> tuple[Vector, ...]:
    """Return three vectors to select from."""
    l1 = HEAD.replace('"l0"', '"l1"').replace('"irq"', '"nmi"')
    return (
        loaded(tmp_path, f'{HEAD}start = "l1"\n{EXPECTED}', "injection/nmi"),
        loaded(tmp_path, f'{HEAD}start = "l1"\n{EXPECTED}', "requests/nmi"),
        loaded(
            tmp_path,
            f'{l1}start = "l1"\n[[step]]\ndo = "enter"\nexpect.values.rip = 0\n',
            "requests/event",
        ),
    )


@pytest.mark.parametrize(
    ("patterns", "ids"),
    [
        ([], ["injection/nmi", "requests/nmi", "requests/event"]),
        (["requests"], ["requests/nmi", "requests/event"]),
        (["requests/"], ["requests/nmi", "requests/event"]),
        (["*/nmi"], ["injection/nmi", "requests/nmi"]),
        (["requests/event"], ["requests/event"]),
        (["flag:nmi"], ["requests/event"]),
        (["level:l0"], ["injection/nmi", "requests/nmi"]),
        (["flag:nmi", "injection/*"], ["injection/nmi", "requests/event"]),
    ],
)
def test_patterns_select_vectors(
    three: tuple[Vector, ...], patterns: list[str], ids: list[str]
) -> None:
    assert ids == [vector.id for vector in select(three, patterns)]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("request/*", "'request/*' selects no vector"),
        ("requests/nmmi", "'requests/nmmi' selects no vector, did you mean \"requests/nmi\"?"),
        ("flag:nmii", "'flag:nmii' selects no vector, did you mean \"nmi\"?"),
        ("level:l2", "'level:l2' selects no vector"),
    ],
)
def test_a_pattern_that_selects_nothing_is_an_error(
    three: tuple[Vector, ...], pattern: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        select(three, [pattern])
    assert str(caught.value).startswith(message)
