"""Every method in bfloat16, int8 and nf4: its numbers are, within a stated tolerance, those of float32 on a CPU.

Of the built-in model, which is trained and so has margins: of random weights rounding would decide. A number is held
against its whole field: the norm of the difference relative to the field's own norm, or to half a nat for each number
of it where that is more (a gap that is zero in float32 is small in bfloat16, not equal).
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from explaind.contract.job import JobState
from explaind.contract.registry import all_methods, find_method
from explaind_jobs.catalogue import DEMO, Catalogue
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.runtime.runner import Runner
from tests.support.devices import CPU, on_both, require
from tests.support.job_control import QuietControl

# Largest relative difference of a field. nf4 has 16 values for a weight: it is another model, and a near one.
TOLERANCE = {"float32": 0.005, "bfloat16": 0.1, "int8": 0.1, "nf4": 0.35}
LEAST = 0.5  # nats
ENTRIES: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"quantization": "int8"},
    "nf4": {"quantization": "nf4"},
}
# What is timed, says how sure the answer is, follows from an order, or is what rounding leaves of a sum.
NOT_THE_MODELS = frozenset(
    {"seconds", "standard_errors", "low", "high", "clean_low", "clean_high"}
    | {"agreement", "faithfulness", "ranking", "gap", "completeness_gap"}
)
METHODS = sorted(path for path in all_methods() if not path.startswith("estimate/"))
FEW = [
    ("explain/shap", "bfloat16"),
    ("explain/logit-lens", "bfloat16"),
    ("explain/layer-ablation", "bfloat16"),
    ("explain/input-x-gradient", "bfloat16"),
    ("infer/score", "int8"),
    ("explain/feature-ablation", "nf4"),
]


@cache
def runner_of(device: str, kind: str) -> Runner:
    entry = DEMO.model_copy(update={"device": device, **ENTRIES[kind]})
    return Runner(JobsSettings(), Catalogue({"demo": entry}))


@cache
def ran(path: str, device: str, kind: str) -> Outcome:
    params = find_method(path).params_model.model_validate(find_method(path).example)
    claim = Claim("job_a", 1, path, params.model, params.model_dump_json().encode(), 0.25)
    return runner_of(device, kind).run(claim, QuietControl())


def numbers(value: Any, at: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a result that is not whole, with the field that it is in; places in lists are left out."""
    if isinstance(value, float):
        yield at, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in NOT_THE_MODELS:
                yield from numbers(inner, f"{at}/{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, at)


def fields(outcome: Outcome) -> dict[str, np.ndarray]:
    found: dict[str, list[float]] = {}
    for at, number in numbers(json.loads(outcome.result or b"")):
        found.setdefault(at, []).append(number)
    return {at: np.array(listed) for at, listed in found.items()}


def differences(here: Outcome, there: Outcome) -> dict[str, float]:
    """For each field that both have as long, how far apart it is."""
    ours, theirs = fields(here), fields(there)
    return {
        at: float(np.linalg.norm(ours[at] - theirs[at]) / max(np.linalg.norm(ours[at]), LEAST * len(ours[at]) ** 0.5))
        for at in ours.keys() & theirs.keys()
        if len(ours[at]) == len(theirs[at])
    }


@pytest.mark.parametrize(
    ("device", "path", "kind"), on_both([(path, kind) for path in METHODS for kind in ENTRIES], cpu=FEW)
)
def test_the_numbers_are_those_of_float32_on_a_cpu(device, path, kind):
    require(device)
    exact, found = ran(path, CPU, "float32"), ran(path, device, kind)
    assert exact.state is JobState.SUCCEEDED
    if found.state is not JobState.SUCCEEDED:
        assert kind in {"int8", "nf4"}
        assert found.problem is not None
        assert found.problem.code == "gradients_unavailable", "what cannot be right is refused"
        return
    assert found.provenance is not None
    if found.timing is not None and found.timing.forwards:
        assert found.provenance.device == device
    apart = differences(exact, found)
    assert apart or not fields(exact)
    assert {at: far for at, far in apart.items() if far > TOLERANCE[kind]} == {}


def test_a_difference_is_told_by_its_field():
    def outcome(**fields: Any) -> Outcome:
        return Outcome(JobState.SUCCEEDED, result=json.dumps(fields).encode())

    one = outcome(values=[3.0, 4.0], base=0.0, seconds=1.0, count=3, nested=[{"v": 1.0}, {"v": 2.0}])
    other = outcome(values=[3.0, 4.5], base=0.1, seconds=9.0, count=5, nested=[{"v": 1.0}, {"v": 2.0}])
    assert differences(one, other) == pytest.approx({"/values": 0.1, "/base": 0.2, "/nested/v": 0.0})
    assert differences(one, outcome(values=[3.0])) == {}
