"""Plants one fault after another and records whether a test fails."""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from tools.planted_faults.faults import Fault, FaultError
from tools.planted_faults.tree import TestRun, Tree

LIMIT_S = 600.0  # per run of a test set
DETAIL = 2000  # characters of the end of pytest's output that are shown
FAILURES = 1  # pytest's exit status if a test failed

# broken: the tests could not be imported, so nothing was measured; red: they fail without the fault too.
Outcome = Literal["caught", "missed", "timeout", "broken", "red", "unplantable"]


@dataclass(frozen=True)
class Result:
    """Result of one fault: `test` is the first that failed, `seconds` the duration of its tests."""

    id: str
    area: str
    outcome: Outcome
    test: str | None
    seconds: float
    detail: str = ""


Report = Callable[[str, Result | None], None]


def run(faults: Sequence[Fault], jobs: int, report: Report) -> list[Result]:
    """The results of the faults, in their order; `jobs` copies of the checkout are used in parallel.

    Faults with the same tests run together, after a control run without any fault. `report` is called with a line about
    every run, and with the result if the run has a fault.
    """
    sets: dict[tuple[str, ...], list[Fault]] = {}
    for fault in faults:
        sets.setdefault(fault.tests, []).append(fault)
    found: dict[str, Result] = {}
    with ExitStack() as stack, ThreadPoolExecutor(jobs) as threads:
        trees: SimpleQueue[Tree] = SimpleQueue()
        for _ in range(jobs):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="planted-faults-"))
            trees.put(Tree(Path(folder)))
        for results in threads.map(lambda of_set: _run_set(of_set, trees, report), sets.values()):
            found.update((result.id, result) for result in results)
    return [found[fault.id] for fault in faults]


def _run_set(faults: Sequence[Fault], trees: "SimpleQueue[Tree]", report: Report) -> list[Result]:
    """The results of faults that have the same tests."""
    tree, tests = trees.get(), faults[0].tests
    try:
        control = tree.test(tests, LIMIT_S)
        report(f"control {' '.join(tests)}: {'green' if control.green else 'RED'} ({control.seconds:.0f} s)", None)
        results = []
        for fault in faults:
            result = _result(fault, tree) if control.green else _red(fault, control)
            report(f"{result.id}: {result.outcome} {result.test or ''} ({result.seconds:.0f} s)", result)
            results.append(result)
        return results
    finally:
        trees.put(tree)


def _result(fault: Fault, tree: Tree) -> Result:
    try:
        with tree.planted(fault):
            return _judged(fault, tree.test(fault.tests, LIMIT_S))
    except FaultError as error:
        return Result(fault.id, fault.area, "unplantable", None, 0.0, str(error))


def _red(fault: Fault, control: TestRun) -> Result:
    return Result(fault.id, fault.area, "red", control.failed, control.seconds, control.output[-DETAIL:])


def _judged(fault: Fault, ran: TestRun) -> Result:
    outcome: Outcome
    if ran.status is None:
        outcome = "timeout"
    elif ran.green:
        outcome = "missed"
    else:
        outcome = "caught" if ran.status == FAILURES and ran.collected else "broken"
    detail = ran.output[-DETAIL:] if outcome in {"timeout", "broken"} else ""
    return Result(fault.id, fault.area, outcome, ran.failed, ran.seconds, detail)
