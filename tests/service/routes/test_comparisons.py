"""POST /explain/compare-methods: what is wrong with a member is said when it is submitted."""

import orjson
import pytest

from explaind.contract.registry import all_methods

PATH = "explain/compare-methods"


@pytest.mark.parametrize(
    ("methods", "pointer", "said"),
    [
        (["shap", "shpa"], "/methods/1", "Did you mean 'shap'?"),
        (["shap", "compare-methods"], "/methods/1", "There are:"),
        (["shap", {"method": "shap", "params": {"budget": "x"}}], "/methods/1/params/budget", "valid integer"),
        (["shap", {"method": "shap", "params": {"algoritm": "exact"}}], "/methods/1/params/algoritm", "'algorithm'"),
        (["shap", {"method": "shap", "params": {"Q" * 9000: 1}}], "/methods/1/params/QQQ", "no such field"),
        (["shap", "Q" * 9000], "/methods/1", "at most 100"),
    ],
)
async def test_a_member_that_cannot_be_is_refused_by_its_pointer(client, methods, pointer, said):
    answer = await client.post(f"/{PATH}", json={**all_methods()[PATH].example, "methods": methods})
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    (error,) = problem["errors"]
    assert error["pointer"].startswith(pointer)
    assert said in error["detail"]
    assert len(answer.content) < 8192
    assert "Q" * 520 not in answer.text


async def test_the_members_are_stored_as_they_were_checked(client, worker):
    body = {**all_methods()[PATH].example, "methods": None}
    assert (await client.post(f"/{PATH}", json=body)).status_code == 202
    stored = orjson.loads(worker.claim().request)
    assert {"method": "shap", "params": {}} in stored["methods"]
    assert stored["faithfulness"] == {"random_orders": 10, "steps": 20, "seed": 0, "baseline": None}
