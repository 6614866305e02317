"""Requests made up from the OpenAPI document, over TCP, to a whole explaind: many of them, and no error of the service.

EXPLAIND_SCHEMA_EXAMPLES says how many for each operation; EXPLAIND_SCHEMA_SUMMARY names a file for what came of them.
"""

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from schemathesis.specs.openapi.checks import ignored_auth

from explaind.contract.registry import all_methods, known_method
from explaind_jobs.keys.create import issue_key
from explaind_jobs.keys.pepper import load_pepper
from explaind_jobs.keys.records import Scope
from explaind_jobs.local_stack.stack import EmbeddedStack
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from tests.support import LONG
from tests.support.schema_cases import Fuzzer, write_summary
from tests.support.schema_document import documented, documented_once

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

EXAMPLES = int(os.environ.get("EXPLAIND_SCHEMA_EXAMPLES", "60" if LONG else "8"))
# What a request may ask for is large: nobody waits for it, and it does not run for long.
SHORT = {"EXPLAIND_MAX_WAIT_S": "1", "EXPLAIND_DEADLINE_S": "10", "EXPLAIND_MAX_QUEUED": "1000000"}
OPERATIONS = documented_once()
CLOSED = [operation for operation in documented(keys=True) if operation.definition.raw.get("security")]


def each(operations: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", operations, ids=lambda operation: operation.label)


def started() -> Iterator[EmbeddedStack]:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="explaind-soak-") as folder:
        patch.delenv("EXPLAIND_REDIS_URL", raising=False)
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        for name, value in SHORT.items():
            patch.setenv(name, value)
        with EmbeddedStack(JobsSettings(redis_url=None, data_dir=Path(folder))) as stack:
            yield stack


@pytest.fixture(scope="module")
def stack() -> Iterator[EmbeddedStack]:
    """A stack whose worker holds the model: a job that loads it first may miss the short deadline."""
    for stack in started():
        with httpx.Client(base_url=stack.url, trust_env=False, timeout=60) as http:
            example = all_methods()["infer/score"].example
            for _ in range(60):
                asked = {"Prefer": "wait=1", "Cache-Control": "no-cache"}
                if http.post("/infer/score", json=example, headers=asked).json()["state"] == "succeeded":
                    break
        yield stack


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[EmbeddedStack, str]]:
    """A stack that asks for keys, and a key for everything."""
    for stack in started():
        settings = JobsSettings(redis_url=f"unix://{stack.data_dir}/redis/redis.sock?db=0", data_dir=stack.data_dir)
        with redis.Redis.from_url(str(settings.redis_url)) as client:
            issued = issue_key(JobStore(client, settings), load_pepper(settings), name="soak", scopes=frozenset(Scope))
        yield stack, issued.key


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Counter[int]]]:
    """What was answered, told at the end."""
    found: dict[str, Counter[int]] = {}
    yield found
    write_summary(f"{EXAMPLES} made-up requests to each operation, and every bound", found)


@pytest.fixture
def fuzzer(stack: EmbeddedStack, seen: dict[str, Counter[int]]) -> Iterator[Fuzzer]:
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=60) as http:

        def send(asked: dict[str, Any]) -> httpx.Response:
            asked["url"] = asked["url"].replace("http://localhost", stack.url, 1)
            return http.request(**asked)

        fuzzer = Fuzzer(send)
        yield fuzzer
    for label, counts in fuzzer.seen.items():
        seen.setdefault(label, Counter()).update(counts)


@each([operation for operation in OPERATIONS if known_method(operation.path.strip("/"))])
def test_results_are_what_the_document_says(fuzzer: Fuzzer, operation: Any) -> None:
    method = known_method(operation.path.strip("/"))
    assert method is not None
    example = method.example
    headers = {"Idempotency-Key": f"soak{operation.path}", "Prefer": "wait=1"}
    for _ in range(60):
        answer = fuzzer.one(operation.Case(body=example, headers=headers, media_type="application/json"))
        if answer.json()["state"] in {"succeeded", "failed", "cancelled"}:
            break
    assert (answer.status_code, answer.json()["state"]) == (200, "succeeded"), answer.text[:1000]
    assert answer.json()["result"] is not None


@each(OPERATIONS)
def test_every_bound(fuzzer: Fuzzer, operation: Any) -> None:
    fuzzer.cover(operation)


@each(OPERATIONS)
def test_made_up_requests(fuzzer: Fuzzer, operation: Any) -> None:
    fuzzer.run(operation, examples=EXAMPLES, number=2026)


@each([operation for operation in OPERATIONS if "{job_id}" in operation.path and operation.method != "delete"])
def test_made_up_requests_about_a_job(stack: EmbeddedStack, fuzzer: Fuzzer, operation: Any) -> None:
    with httpx.Client(base_url=stack.url, trust_env=False) as http:
        example = all_methods()["infer/tokenize"].example
        job = http.post("/infer/tokenize", json=example).json()["id"]
    fuzzer.run(operation, examples=EXAMPLES, number=2027, path_parameters={"job_id": job})


def _job(http: httpx.Client) -> str:
    example = all_methods()["infer/tokenize"].example
    job = http.post("/infer/tokenize", json=example, headers={"Prefer": "wait=1"}).json()
    for _ in range(60):  # until it has ended
        if job["finished_at"]:
            break
        job = http.get(job["links"]["self"], params={"wait": 1}).json()
    return job["id"]


def _dataset(http: httpx.Client) -> str:
    return http.post("/datasets", content=TABLE, headers={"Content-Type": "application/jsonl"}).json()["id"]


def _artifact(http: httpx.Client) -> str:
    example = {**all_methods()["train/tuned-lens"].example, "steps": 1}
    job = http.post("/train/tuned-lens", json=example, headers={"Prefer": "wait=60"}).json()
    return job["result"]["lens"]["id"]


TABLE = b'{"question": "3 + 4 =", "answer": "7"}\n'
THINGS = {"job_id": _job, "dataset_id": _dataset, "artifact_id": _artifact}


@each(CLOSED)
def test_no_key_is_ignored(guarded: tuple[EmbeddedStack, str], operation: Any) -> None:
    stack, key = guarded
    with httpx.Client(base_url=stack.url, trust_env=False, headers={"Authorization": f"Bearer {key}"}) as http:
        parameters = {name: make(http) for name, make in THINGS.items() if f"{{{name}}}" in operation.path}
    if "{name}" in operation.path:
        parameters |= {"verb": "explain", "name": "demo" if "models" in operation.path else "shap"}
    if "{method}" in operation.path:
        parameters |= {"verb": "explain", "method": "shap"}
    method = known_method(operation.path.format(**parameters).strip("/"))
    body = {"body": method.example, "media_type": "application/json"} if method else {}
    if operation.label == "POST /datasets":
        body = {"body": TABLE, "media_type": "application/jsonl"}
    wanted = {name: value for name, value in parameters.items() if f"{{{name}}}" in operation.path}
    case = operation.Case(path_parameters=wanted, **body)
    answer = case.call_and_validate(
        base_url=stack.url, headers={"Authorization": f"Bearer {key}"}, checks=[ignored_auth]
    )
    assert answer.status_code in {200, 201, 202, 204}
