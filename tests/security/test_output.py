"""What others look at: reports, errors and logs hold what callers wrote as text, and never as anything else."""

import re
from html.parser import HTMLParser
from typing import Any

import orjson
import pytest

from explaind.contract.errors import InvalidUnits
from explaind.contract.job import JobState
from explaind.contract.registry import all_methods
from explaind_jobs.store.records import Outcome
from explaind_service.settings import ServiceSettings
from tests.support.apps import create_app
from tests.support.problem_checks import check_answer, check_problem

MARKUP = [
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</title></head><body onload=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "<!--<script>-->",
    "]]><script>",
    "&lt;script&gt;&amp;",
    "javascript:alert(1)",
    "<iframe src=//evil.example>",
    "<a href='//evil.example'>click</a>",
    "{{constructor.constructor('alert(1)')()}}",
    "\u202e<script>\u2066",
    "\x00<script\x00>",
    "＜script＞",
    "url(//evil.example/x)",
    "expression(alert(1)); background:url(//evil.example)",
    "@import '//evil.example/a.css';",
]


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.data: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes it."""
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        """Notes it."""
        self.data.append(data)


def attribution(text: str) -> dict[str, Any]:
    return {
        "kind": "attribution",
        "prompt": text,
        "units": [{"text": text, "start": 0, "end": len(text), "name": text, "role": text, "special": False}],
        "values": [1.25],
        "values_by_target": [[1.25]],
        "standard_errors": None,
        "base_value": -2.0,
        "full_value": -0.75,
        "completeness_gap": 0.0,
        "score": "logprob",
        "target": {"text": text, "tokens": [{"text": text, "id": 417, "logprob": -0.75}]},
        "foil": {"text": text, "tokens": [{"text": text, "id": 1, "logprob": -0.5}]},
        "labels": None,
        "baseline": {"choice": "mask", "text": text, "token_ids": [3]},
        "algorithm": "exact",
        "evaluations": 2,
    }


@pytest.mark.parametrize("text", MARKUP)
async def test_a_report_holds_text(client, finish, text: str) -> None:
    plain = Page((await client.get(f"{await finish(attribution('abc'))}/report")).text)
    job = await finish(attribution(text), metadata={text[:60]: text}, prompt=text)
    report = await client.get(f"{job}/report")
    assert report.headers["content-type"] == "text/html; charset=utf-8"
    policy = report.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert policy.endswith("sandbox")
    assert report.headers["x-content-type-options"] == "nosniff"
    page = Page(report.text)
    assert page.tags == plain.tags, "the markup of the prompt is markup of the page"
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in {"href", "src", "action"}]
    assert not [value for name, value in page.attributes if name == "style" and "evil" in (value or "")]
    assert any("<script>" in data for data in page.data) or "<script>" not in text


@pytest.mark.parametrize("kind", ["nothing", "Q" * 2000, "<script>", 7, None, ["attribution"], {"a": 1}])
async def test_a_report_of_a_result_that_nobody_knows(client, finish, kind: object) -> None:
    job = await finish({"kind": kind, "prompt": "<script>alert(1)</script>"})
    report = await client.get(f"{job}/report")
    assert report.status_code == 200
    assert "<script" not in report.text


@pytest.mark.parametrize("text", MARKUP)
async def test_a_failed_job_tells_in_text(client, store, request_of, text: str) -> None:
    path = (await client.post("/infer/score", json=request_of(prompt=text))).headers["location"]
    claim = store.claim("stand-in@test", ["default"])
    problem = InvalidUnits.at(f"/{text}", text * 100, hint=text).problem()
    assert store.finish(claim.id, claim.attempt, Outcome(JobState.FAILED, error=problem)) == "finished"
    result = await client.get(f"{path}/result")
    assert result.status_code == 422
    check_problem(result, filler=text)
    report = await client.get(f"{path}/report")
    assert "script" not in Page(report.text).tags


@pytest.mark.parametrize("text", MARKUP)
async def test_what_is_asked_for_comes_back_as_json(client, raw, text: str) -> None:
    for answer in (
        await client.get("/jobs", params={"model": text}),
        await client.get(f"/models/{text.replace('/', '').replace(chr(0), '')}"),
        await client.post("/infer/score", json={text: text}),
        await client.get("/jobs", headers={"Origin": f"http://{re.sub(r'[^!-~]', '', text)}"}),
    ):
        check_answer(answer)
        assert "html" not in answer.headers["content-type"]


async def test_an_error_of_our_own_tells_nothing_of_itself(settings: ServiceSettings, client_of) -> None:
    app = create_app(settings)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError(f"secret at {__file__}")

    async with client_of(app) as client:
        answer = await client.get("/broken")
    assert answer.status_code == 500
    problem = check_problem(answer)
    assert (problem.code, problem.request_id) == ("internal_error", answer.headers["x-request-id"])
    assert "secret" not in answer.text


async def test_a_store_that_is_away_tells_nothing_of_its_place(client_of, request_of) -> None:
    url = "redis://user:hunter2@127.0.0.1:1/0"
    async with client_of(create_app(ServiceSettings(redis_url=url))) as client:
        for answer in (
            await client.post("/infer/score", json=request_of()),
            await client.get("/jobs"),
            await client.get("/jobs/job_" + "0" * 26),
            await client.get("/readyz"),
        ):
            assert answer.status_code == 503
            assert not re.search(r"hunter2|127\.0\.0\.1|user:|Traceback|/tmp", answer.text), answer.text


async def test_models_do_not_tell_where_they_are(client, tmp_path, client_of, settings) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "models.toml").write_text(f'[models.mine]\npath = "{tmp_path / "weights"}"\n')
    app = create_app(settings.model_copy(update={"models_file": tmp_path / "models.toml"}))
    async with client_of(app) as other:
        for path in ("/models", "/models/mine", "/methods", "/", "/healthz", "/metrics", "/openapi.json"):
            assert str(tmp_path) not in (await other.get(path)).text


@pytest.mark.parametrize("path", list(all_methods()))
async def test_no_method_fails_on_markup(client, path: str) -> None:
    for text in MARKUP:
        example = orjson.loads(orjson.dumps(all_methods()[path].example))
        answer = await client.post(f"/{path}", json={**example, "prompt": text, "metadata": {"a": text}})
        check_answer(answer)
