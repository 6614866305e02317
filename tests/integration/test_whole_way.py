"""The whole way of a job: HTTP, Redis, a Celery worker with the built-in model, and back; by SDK, CLI and curl."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from explaind import AsyncClient, Client
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.errors import InvalidUnits, PromptTooLong, UnknownModel
from explaind.contract.job import JobState
from explaind.contract.registry import all_methods
from explaind_jobs.local_stack.stack import EmbeddedStack

pytestmark = pytest.mark.integration

REVIEW = "Review: The food was great. Sentiment:"


@pytest.fixture
def stack(demo_stack: EmbeddedStack) -> EmbeddedStack:
    return demo_stack


@pytest.fixture
def client(stack: EmbeddedStack) -> Iterator[Client]:
    with Client(stack.url) as client:
        yield client


def test_the_newcomers_job(client):
    result = client.explain.shap(model="demo", prompt=REVIEW, target=" positive", foil=" negative")
    assert isinstance(result, Attribution)
    assert result.units[result.top].text == "great"
    assert result.algorithm == "exact"
    assert abs(result.completeness_gap) < 1e-4
    assert "great" in result._repr_html_()


def test_every_methods_example_works(client):
    for path, method in all_methods().items():
        job = client.submit(path, method.example).wait(timeout=60)
        assert job.state is JobState.SUCCEEDED, f"{path}: {job.error}"
        assert isinstance(job.result, method.result)
        assert job.provenance is not None
        assert job.timing is not None


def test_the_model_answers_its_tasks(client):
    assert client.infer.generate(model="demo", prompt="3 + 4 =").text.strip() == "7"
    messages = [{"role": "user", "content": "3 + 4 ="}]
    job = client.submit("infer/generate", {"model": "demo", "messages": messages}).wait(timeout=60)
    assert job.result.text.strip() == "7"


def test_progress_is_seen_and_the_job_is_listed(client):
    seen = []
    handle = client.submit(
        "explain/shap",
        {"model": "demo", "prompt": "When Mary and John went to the store, John gave a drink to", "target": " Mary",
         "budget": 20_000, "algorithm": "permutation", "metadata": {"run": "7"}},
    )  # fmt: skip
    job = handle.wait(timeout=60, on_progress=lambda job: seen.append(job.progress))
    assert job.state is JobState.SUCCEEDED
    assert job.metadata == {"run": "7"}
    assert any(p is not None and p.unit == "coalitions" for p in seen)
    assert handle.id in [j.id for j in client.jobs.list()]
    client.jobs.delete(handle.id)
    assert handle.id not in [j.id for j in client.jobs.list()]


def test_a_running_job_is_cancelled_between_batches(client):
    long = {"model": "demo", "prompt": "The food was great. " * 20, "target": " positive", "budget": 100_000}
    handle = client.submit("explain/shap", long)
    while handle.refresh().state is JobState.QUEUED:
        pass
    handle.cancel()
    job = handle.wait(timeout=20)
    assert job.state is JobState.CANCELLED
    assert client.infer.score(model="demo", prompt="3 + 4 =", target=" 7").logprob < 0, "the worker goes on"


def test_mistakes_come_back_as_the_same_errors(client):
    with pytest.raises(UnknownModel, match="Did you mean 'demo'"):
        client.explain.shap(model="dmeo", prompt="x")
    with pytest.raises(PromptTooLong) as caught:
        client.explain.shap(model="demo", prompt="word " * 300)
    assert caught.value.errors[0].pointer == "/prompt"
    with pytest.raises(InvalidUnits) as caught:
        client.explain.shap(model="demo", prompt=" \n ")
    assert caught.value.errors[0].pointer == "/units"


def test_many_clients_at_once(stack):
    async def ask() -> list[float]:
        async with AsyncClient(stack.url) as client:
            asked = [client.infer.score(model="demo", prompt=f"{a} + 1 =", target=f" {a + 1}") for a in range(8)]
            return [scoring.logprob for scoring in await asyncio.gather(*asked)]

    assert all(logprob > -1.0 for logprob in asyncio.run(ask()))


def test_two_models_of_work_do_not_mix(client):
    """Two slots explain on one model at once; each gets the answer it would get alone."""
    prompts = [REVIEW, "Review: The room was dirty. Sentiment:"]

    def values(prompt: str) -> list[float]:
        return client.explain.shap(model="demo", prompt=prompt, target=" positive", algorithm="exact").values

    alone = [values(prompt) for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(values, prompts * 4))
    for index, found in enumerate(together):
        assert found == pytest.approx(alone[index % 2], abs=1e-5)


def test_curl(stack):
    curl = shutil.which("curl")
    assert curl, "curl is part of the promise"
    answer = subprocess.run(
        [curl, "-s", f"{stack.url}/explain/shap", "-H", "Content-Type: application/json", "-H", "Prefer: wait=30",
         "-d", json.dumps(all_methods()["explain/shap"].example)],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert json.loads(answer.stdout)["state"] == "succeeded"


def test_command_line(stack, tmp_path):
    out = tmp_path / "report.html"
    command = [sys.executable, "-m", "explaind.cli", "explain", "shap", "--url", stack.url, "--model", "demo",
               "--prompt", REVIEW, "--target", " positive", "--out", str(out)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "great" in done.stdout
    assert "<html" in out.read_text(encoding="utf-8")


def test_the_report_and_the_catalogue_over_http(stack, client):
    job = client.submit("explain/shap", all_methods()["explain/shap"].example).wait(timeout=60)
    page = httpx.get(f"{stack.url}/jobs/{job.id}/report")
    assert page.headers["content-type"].startswith("text/html")
    assert "great" in page.text
    models = {m.name: m.state for m in client.models()}
    assert models == {"demo": "ready"}
    assert httpx.get(f"{stack.url}/readyz").json()["ready"] is True


def test_the_log_holds_no_prompt(stack, client):
    secret = "xylophone pomegranate"
    client.explain.feature_ablation(model="demo", prompt=f"Review: {secret}. Sentiment:", target=" positive")
    with pytest.raises(PromptTooLong):
        client.explain.shap(model="demo", prompt=f"{secret} " * 200)
    for log in (stack.data_dir / "logs").glob("*.log"):
        assert "xylophone" not in log.read_text(encoding="utf-8", errors="replace")
