"""Every method on a CUDA device: its example's numbers are those of a CPU, its cost what the estimate said."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch

from explaind.contract.estimate import Estimate
from explaind.contract.job import JobState
from explaind.contract.registry import all_methods, find_method
from explaind_jobs.catalogue import DEMO, Catalogue
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.runtime.runner import Runner
from tests.support.job_control import QuietControl

pytestmark = pytest.mark.gpu

ATOL, RTOL = 2e-3, 2e-3
# How much a sweep shares depends on what the model answers.
COUNTS_THE_MOST = {"explain/head-ablation"}
# Of a trained artifact: its bytes, and what is told by them.
OF_THE_BYTES = {"artifacts", "sha256", "fingerprint", "seconds", "bytes", "created_at"}


@cache
def runner_on(device: str) -> Runner:
    if device != "cpu" and not torch.cuda.is_available():
        pytest.fail("These tests need a CUDA device.")
    return Runner(JobsSettings(), Catalogue({"demo": DEMO.model_copy(update={"device": device})}))


@cache
def ran(path: str, device: str) -> Outcome:
    return asked(path, find_method(path).example, device)


def asked(path: str, request: dict[str, Any], device: str) -> Outcome:
    params = find_method(path).params_model.model_validate(request)
    claim = Claim("job_a", 1, path, params.model, params.model_dump_json().encode(), 0.25)
    return runner_on(device).run(claim, QuietControl())


def differences(here: Any, there: Any, at: str = "") -> Iterator[str]:
    """Where two results are not alike: every number within rounding, everything else the same."""
    if isinstance(here, float) or isinstance(there, float):
        if here is None or there is None or abs(here - there) > ATOL + RTOL * abs(here):
            yield f"{at}: {here} and {there}"
    elif isinstance(here, dict) and isinstance(there, dict):
        if here.keys() != there.keys():
            yield f"{at}: keys {here.keys() ^ there.keys()}"
        for key in here.keys() & there.keys() - OF_THE_BYTES:
            yield from differences(here[key], there[key], f"{at}/{key}")
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for place, (one, other) in enumerate(zip(here, there, strict=True)):
            yield from differences(one, other, f"{at}/{place}")
    elif here != there:
        yield f"{at}: {here!r} and {there!r}"


@pytest.fixture(params=sorted(path for path in all_methods() if not path.startswith("estimate/")))
def path(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_numbers_are_those_of_a_cpu(path):
    found = find_method(path)
    here, there = (
        found.result.model_validate_json(ran(path, device).result or b"").model_dump(mode="json")
        for device in ("cpu", "cuda:0")
    )
    assert list(differences(here, there))[:5] == []


def test_it_ran_on_the_device_and_says_so(path):
    outcome = ran(path, "cuda:0")
    assert outcome.state is JobState.SUCCEEDED
    assert outcome.provenance is not None
    assert outcome.timing is not None
    if outcome.timing.forwards:
        assert outcome.provenance.device == "cuda:0"
        assert (outcome.timing.peak_bytes or 0) > 0


def test_the_estimate_holds(path):
    took = ran(path, "cuda:0").timing
    fresh = Runner(JobsSettings(), Catalogue({"demo": DEMO.model_copy(update={"device": "cuda:0"})}))
    estimate = find_method(f"estimate/{path}")
    params = estimate.params_model.model_validate(find_method(path).example)
    outcome = fresh.run(
        Claim("job_b", 1, f"estimate/{path}", "demo", params.model_dump_json().encode(), 0), QuietControl()
    )
    said = Estimate.model_validate_json(outcome.result or b"")
    assert took is not None
    if said.note is not None or path in COUNTS_THE_MOST:
        assert said.forwards >= took.forwards
    else:
        assert (said.forwards, said.tokens_evaluated) == (took.forwards, took.tokens_evaluated)
    if took.peak_bytes is not None:
        assert took.peak_bytes <= said.peak_bytes + said.model_bytes + SLACK


# Other tests' models may still be held, and the allocator rounds up.
SLACK = 64 << 20


def test_the_process_is_left_as_it_was(path):
    ran(path, "cuda:0")
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.is_grad_enabled()
