"""A request that asks to be told: its webhook is checked, stored, and shown."""

import pytest

from explaind.contract.webhook import ALL_ENDS, Webhook

URL = "https://example.com/hook"


@pytest.mark.parametrize(
    ("webhook", "pointer"),
    [
        ("https://127.0.0.1/x", "/webhook/url"),
        ("https://169.254.169.254/latest", "/webhook/url"),
        ("http://example.com/x", "/webhook/url"),
        ("https://example.com:6379/x", "/webhook/url"),
        ({"url": URL, "events": []}, "/webhook/events"),
        ({"url": URL, "secret": "s"}, "/webhook/secret"),
    ],
)
async def test_a_webhook_that_may_not_be_reached_is_refused(client, shap, expect_problem, webhook, pointer):
    answer = await client.post("/explain/shap", json={**shap, "webhook": webhook})
    expect_problem(answer, 422, "invalid_request", pointer)


@pytest.mark.parametrize(
    ("webhook", "events"), [(URL, list(ALL_ENDS)), ({"url": URL, "events": ["failed"]}, ["failed"])]
)
async def test_a_webhook_is_stored_with_the_job(client, shap, worker, webhook, events):
    job = (await client.post("/explain/shap", json={**shap, "webhook": webhook})).json()
    stored = worker.store.client.hget(f"explaind:job:{job['id']}", "webhook")
    assert Webhook.model_validate_json(stored) == Webhook(url=URL, events=events)
    assert job["webhook"] is None
    key = f"explaind:job:{job['id']}"
    worker.store.client.hset(key, "webhook_status", '{"state": "delivered", "attempts": 1, "last_status": 204}')
    shown = (await client.get(f"/jobs/{job['id']}")).json()["webhook"]
    assert (shown["state"], shown["last_status"]) == ("delivered", 204)
