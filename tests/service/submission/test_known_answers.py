"""A question that was answered is not computed again, over HTTP."""

from datetime import UTC, datetime

import orjson
import pytest

from explaind.contract.job import JobState
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import ModelEntry
from explaind_jobs.store.records import Outcome, WorkerState
from explaind_service.submission.submit import answer_key

REVISION = "sha256:1|float32|"


@pytest.fixture
def answered(worker, attribution):
    """Ends the next job as a worker does that says what weights it holds."""

    def answer() -> None:
        state = WorkerState("w", "1", ["default"], ["demo"], [], 1, datetime.now(UTC), {"demo": REVISION})
        worker.store.heartbeat(state, [])
        claim = worker.claim()
        outcome = Outcome(JobState.SUCCEEDED, result=orjson.dumps(attribution), revision=REVISION)
        assert worker.store.finish(claim.id, claim.attempt, outcome) == "finished"

    return answer


async def test_the_same_question_is_answered_at_once(client, answered, shap, attribution):
    first = (await client.post("/explain/shap", json=shap)).json()
    answered()
    again = await client.post("/explain/shap", json={**shap, "metadata": {"run": "2"}, "priority": "low"})
    job = again.json()
    assert (again.status_code, job["state"], job["cached"]) == (200, "succeeded", True)
    assert job["id"] != first["id"]
    assert job["metadata"] == {"run": "2"}
    assert job["result"] == attribution
    assert (await client.get(f"/jobs/{first['id']}")).json()["cached"] is False


@pytest.mark.parametrize("header", ["no-cache", "max-age=0, no-store"])
async def test_whoever_wants_it_computed_says_so(client, answered, shap, header):
    await client.post("/explain/shap", json=shap)
    answered()
    again = await client.post("/explain/shap", json=shap, headers={"Cache-Control": header})
    assert (again.status_code, again.json()["state"]) == (202, "queued")


async def test_spelling_out_a_default_is_the_same_question(client, answered, shap):
    await client.post("/explain/shap", json=shap)
    answered()
    again = await client.post("/explain/shap", json={**shap, "seed": 0, "score": "logprob"})
    assert again.json()["cached"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"target": " negative", "foil": None}, {"baseline": "remove"}])
async def test_another_question_is_computed(client, answered, shap, change):
    await client.post("/explain/shap", json=shap)
    answered()
    assert (await client.post("/explain/shap", json={**shap, **change})).status_code == 202


async def test_another_method_is_another_question(client, answered, shap):
    await client.post("/explain/shap", json=shap)
    answered()
    params = {name: value for name, value in shap.items() if name in {"model", "prompt", "target", "foil", "units"}}
    assert (await client.post("/explain/feature-ablation", json=params)).status_code == 202


def test_the_key_of_an_answer_holds_caller_method_weights_and_question(shap):
    method, other = find_method("explain/shap"), find_method("explain/lime")
    entry = ModelEntry(name="demo", source="org/model", revision="a" * 40)
    params = method.params_model.model_validate(shap)
    keys = [
        answer_key("", method, entry, params),
        answer_key("another", method, entry, params),
        answer_key("", other, entry, params),
        answer_key("", method, entry.model_copy(update={"revision": "b" * 40}), params),
        answer_key("", method, entry.model_copy(update={"dtype": "bfloat16"}), params),
        answer_key("", method, entry, params.model_copy(update={"seed": 1})),
    ]
    assert len(set(keys)) == len(keys)
    assert answer_key("", method, entry, params.model_copy(update={"priority": "low"})) == keys[0]


async def test_a_training_is_computed_each_time(client, answered):
    train = find_method("train/tuned-lens")
    await client.post(f"/{train.path}", json=train.example)
    answered()
    assert (await client.post(f"/{train.path}", json=train.example)).status_code == 202
