"""The built-in model's answers have causes that are known; the attributions must find them."""

import pytest

from explaind_jobs.catalogue import DEMO
from explaind_worker.models.demo.cases import TASKS, generate_cases
from tests.support import LONG

CASES = 40 if LONG else 10


@pytest.fixture
def found(run):
    """Share of held-out cases whose top unit is a planted cause."""

    def share(task, method="explain/shap", *, foil=True, **params):
        right = 0
        for case in generate_cases(task, CASES, seed=11, split="heldout"):
            asked = {"prompt": case.prompt, "target": case.answer, **params}
            if foil:
                asked["foil"] = case.foil
            result = run(method, entry=DEMO, **asked)
            unit = result.units[result.top]
            right += any(start <= unit.start and unit.end <= end for start, end in case.causes)
        return right / CASES

    return share


@pytest.mark.parametrize("task", TASKS)
def test_shap_finds_the_planted_cause(found, task):
    assert found(task) >= 0.95


@pytest.mark.parametrize("task", TASKS)
def test_shap_finds_it_without_a_foil(found, task):
    assert found(task, foil=False) >= 0.95


def test_units_that_are_no_cause_are_seldom_on_top_by_chance(run):
    """Negative control: a random unit is a planted cause far less often."""
    from random import Random

    rng, right, total = Random(0), 0, 0
    for task in TASKS:
        for case in generate_cases(task, 10, seed=11, split="heldout"):
            units = run("infer/tokenize", entry=DEMO, prompt=case.prompt).units
            unit = rng.choice(units)
            right += any(start <= unit.start and unit.end <= end for start, end in case.causes)
            total += 1
    assert right / total < 0.7
