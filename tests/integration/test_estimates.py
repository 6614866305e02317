"""What a job will cost, asked of a whole service, and then what it costs."""

from collections.abc import Iterator

import httpx
import pytest

from explaind import Client
from explaind.contract.errors import BudgetTooSmall
from explaind.contract.estimate import Estimate
from explaind.contract.registry import all_methods
from explaind_jobs.local_stack.stack import EmbeddedStack

pytestmark = pytest.mark.integration

SHAP = dict(all_methods()["explain/shap"].example)


@pytest.fixture
def stack(demo_stack: EmbeddedStack) -> EmbeddedStack:
    return demo_stack


@pytest.fixture
def client(stack: EmbeddedStack) -> Iterator[Client]:
    with Client(stack.url) as client:
        yield client


def test_an_estimate_is_there_before_and_right_after(client):
    before = client.explain.shap.estimate(**SHAP)
    assert isinstance(before, Estimate)
    assert before.fits
    job = client.submit("explain/shap", SHAP, fresh=True).wait(timeout=60)
    again = client.submit("explain/shap", SHAP, fresh=True).wait(timeout=60)
    after = client.explain.shap.estimate(**SHAP)
    assert job.timing is not None
    assert again.timing is not None
    assert (after.basis, after.load_s) == ("measured", 0.0)
    assert after.evaluations == before.evaluations == job.result.evaluations
    assert after.tokens_evaluated == before.tokens_evaluated <= again.timing.tokens_evaluated
    asked = job.timing.tokens_evaluated + job.timing.tokens_saved
    assert before.tokens_evaluated + before.tokens_saved == asked


@pytest.mark.parametrize("path", ["evaluate/questions", "explain/shap", "infer/tokenize", "train/tuned-lens"])
def test_an_examples_cost_is_told_over_http(stack, path):
    response = httpx.post(f"{stack.url}/estimate/{path}", json=all_methods()[path].example, timeout=60)
    assert response.status_code == 200, response.text
    job = response.json()
    assert (job["method"], job["state"], job["cached"]) == (f"estimate/{path}", "succeeded", False)
    assert Estimate.model_validate(job["result"]).method == path
    assert job["timing"]["forwards"] == 0
    assert httpx.get(f"{stack.url}{job['links']['report']}").status_code == 200


def test_an_estimate_is_a_check_of_the_request(client):
    with pytest.raises(BudgetTooSmall, match="needs at least"):
        client.explain.shap.estimate(**{**SHAP, "algorithm": "kernel", "budget": 4})
