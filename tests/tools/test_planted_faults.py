"""The table of planted faults fits the tree as it is now."""

import ast

import pytest

from tools.planted_faults.faults import ROOT, Fault, FaultError, all_faults, checked, chosen
from tools.planted_faults.runner import Result
from tools.planted_faults.table import lost, markdown, records, write

FEWEST = 40
FAULTS = all_faults()


def test_there_are_many_faults_in_every_part() -> None:
    assert len(FAULTS) >= FEWEST
    parts = {"clients", "jobs", "service", "worker"}
    assert {fault.file.partition("/")[0] for fault in FAULTS} >= parts


def test_every_fault_can_be_planted() -> None:
    wrong = [why for fault in FAULTS if (why := _why_not(fault))]
    assert not wrong, "\n".join(wrong)


def test_the_tests_of_every_fault_are_there() -> None:
    named = {path for fault in FAULTS for path in fault.tests}
    assert all(path.startswith("tests/") for path in named)
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("text", ["nothing of it", "twice and twice"])
def test_a_text_that_is_not_there_once_is_refused(text: str) -> None:
    fault = Fault("some", "engine", "some.py", "twice", "once", ())
    with pytest.raises(FaultError, match=r"some: 'twice' occurs \d times in some.py"):
        fault.planted(text)


def test_ids_are_unique(tmp_path) -> None:
    row = '[[fault]]\nid="a"\narea="b"\nfile="c"\nold="d"\nnew="e"\ntests=["tests"]\n'
    (tmp_path / "faults.toml").write_text(row * 2, encoding="utf-8")
    with pytest.raises(FaultError, match="Ids occur twice: a"):
        all_faults(tmp_path / "faults.toml")


def test_faults_are_chosen_by_id_and_by_area() -> None:
    first = FAULTS[0]
    assert chosen(FAULTS, [first.id], []) == [first]
    assert {fault.area for fault in chosen(FAULTS, [], [first.area])} == {first.area}
    with pytest.raises(FaultError, match="no fault or area nothing"):
        chosen(FAULTS, ["nothing"], [])


def test_results_are_kept_and_compared(tmp_path) -> None:
    caught = [Result("a", "engine", "caught", "tests/a.py::test_a|b", 1.0), Result("b", "sdk", "missed", None, 2.0)]
    write(tmp_path / "before.json", caught, ["b", "a"])
    before = records(tmp_path / "before.json")
    assert list(before) == ["b", "a"]
    now = [Result("a", "engine", "missed", None, 1.0), Result("b", "sdk", "missed", None, 1.0)]
    assert lost(now, before) == ["a"]
    assert lost(caught, before) == []
    assert markdown(caught).endswith("Caught 1 of 2: engine 1/1, sdk 0/1.")
    assert r"`tests/a.py::test_a\|b`" in markdown(caught)


def _why_not(fault: Fault) -> str | None:
    try:
        changed = checked(fault)
        if fault.file.endswith(".py"):
            ast.parse(changed)
    except (FaultError, SyntaxError) as error:
        return f"{fault.id}: {error}"
    return f"{fault.id}: nothing is changed" if fault.old == fault.new else None
