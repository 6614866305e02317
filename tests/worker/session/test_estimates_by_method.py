"""What the estimates of logit attributions and attention patterns say, against what then happens."""

import pytest

from explaind.contract.registry import find_method
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.engine.activations import direct_logit_attribution
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session

STORY = "When Mary and John went to the store"


@pytest.fixture(scope="module")
def counted():
    """`counted(entry, path, params)`: the result on a pool of its own, and the meter."""
    pools: dict[str, ModelPool] = {}

    def carried_out(entry: ModelEntry, path: str, params: dict):
        method = find_method(path)
        request = method.params_model.model_validate({**params, "model": entry.name})
        with Session(entry, pools.setdefault(entry.name, ModelPool()), lambda *_: None) as session:
            return implementation_of(method)(request, session), session.job.meter

    return carried_out


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
@pytest.mark.parametrize(
    ("path", "params", "forwards"),
    [
        ("explain/logit-attribution", {"target": " gave"}, 1),
        ("explain/logit-attribution", {"target": " gave a", "foil": " went"}, 2),
        ("explain/attention", {}, 3),
        ("explain/attention", {"layers": [1], "probe_tokens": 10}, 2),
        ("explain/attention", {"heads": [[0, 1]], "induction_probe": False}, 1),
    ],
)
def test_what_is_counted_is_what_happens(counted, tiny_model, family, path, params, forwards):
    entry, params = tiny_model(family), {"prompt": STORY, **params}
    said, nothing = counted(entry, f"estimate/{path}", params)
    assert nothing == CostMeter(), "an estimate costs no forward"
    _, meter = counted(entry, path, params)
    assert (said.forwards, said.tokens_evaluated) == (meter.forwards, meter.tokens_evaluated)
    assert said.forwards == forwards
    assert said.fits
    assert 0 < said.peak_bytes < said.free_bytes


def test_parts_of_a_very_long_target_are_counted(counted, tiny_model, monkeypatch):
    monkeypatch.setattr(direct_logit_attribution, "KEPT_BYTES", 6000)
    entry, params = tiny_model("gpt2"), {"prompt": STORY, "target": " gave a drink to Mary"}
    said, _ = counted(entry, "estimate/explain/logit-attribution", params)
    result, meter = counted(entry, "explain/logit-attribution", params)
    assert said.forwards == meter.forwards > 1
    assert said.tokens_evaluated == meter.tokens_evaluated
    assert len(result.by_target) > said.forwards
