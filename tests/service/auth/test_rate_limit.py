"""The rate of a key over HTTP: whatever is sent to be worked on counts, before it is read."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from explaind_jobs.store.records import Allowance


@pytest.mark.parametrize(
    ("path", "content", "content_type", "status"),
    [
        ("/explain/shap", b'{"model": "demo", "promt": 1}', "application/json", 422),
        ("/explain/shap", b"{", "application/json", 400),
        ("/explain/shap", b"{}", "text/plain", 415),
        ("/estimate/explain/shap", b'{"model": "nobody"}', "application/json", 422),
        ("/estimate/explain/shpa", b"{}", "application/json", 404),
        ("/datasets", b"a\n1\n", "text/csv", 201),
        ("/datasets", b"a\n1,2\n", "text/csv", 422),
        ("/datasets", b"a\n1\n", "text/html", 415),
    ],
)
async def test_refused_requests_and_uploads_count(
    holder_of, issue, expect_problem, path: str, content: bytes, content_type: str, status: int
) -> None:
    send = holder_of(issue(allowance=Allowance(requests_per_minute=1, burst=3)))
    sent = {"content": content, "headers": {"Content-Type": content_type}}
    # At the same time: whether there is one left is not asked first and counted later.
    answers = await asyncio.gather(*(send("POST", path, **sent) for _ in range(8)))
    allowed = [answer for answer in answers if answer.status_code != 429]
    assert len(allowed) == 3
    assert {answer.status_code for answer in allowed} <= {status, 200 if status == 201 else status}
    assert all("ratelimit" in answer.headers for answer in answers)
    problem = expect_problem(await send("POST", "/explain/shap", json={}), 429, "rate_limited")
    assert problem["retryable"] is True


async def test_of_a_request_over_the_rate_nothing_is_read(holder_of, issue, shap, expect_problem) -> None:
    send = holder_of(issue(allowance=Allowance(requests_per_minute=1, burst=1)))
    assert (await send("POST", "/explain/shap", json=shap)).status_code == 202
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"{}")
        yield b"{}"

    for path, content_type in (("/explain/shap", "application/json"), ("/datasets", "text/csv")):
        answer = await send("POST", path, content=body(), headers={"Content-Type": content_type})
        expect_problem(answer, 429, "rate_limited")
    assert read == []


async def test_who_lost_an_answer_may_ask_again_for_nothing(holder_of, issue, shap) -> None:
    send = holder_of(issue(allowance=Allowance(requests_per_minute=1, burst=2)))
    same = {"Idempotency-Key": "same"}
    answers = [await send("POST", "/explain/shap", json=shap, headers=same) for _ in range(5)]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert ["ratelimit" in answer.headers for answer in answers] == [True, False, False, False, False]
    assert (await send("POST", "/explain/shap", json=shap)).status_code == 202
    assert (await send("POST", "/explain/shap", json=shap)).status_code == 429
