"""Commands about jobs and about what the service offers."""

import json

import httpx
import pytest

from explaind.contract.errors import JobNotFound, OutOfMemory
from explaind.contract.registry import all_methods


def test_list(run, script, job_json):
    script.says(httpx.Response(200, json={"data": [job_json(), job_json("failed")], "has_more": False}))
    ran = run("jobs", "list", "--state", "failed", "--method", "explain/shap", "--estimates")
    assert ran.exit_code == 0
    assert ran.stdout.count(job_json()["id"]) == 2
    assert script.asked == ["GET /jobs?state=failed&method=explain%2Fshap&estimates=true&limit=20"]


def test_list_as_json_stops_at_the_limit(run, script, job_json):
    script.says(httpx.Response(200, json={"data": [job_json()] * 2, "has_more": True}))
    script.says(httpx.Response(200, json={"data": [job_json()] * 2, "has_more": True}))
    page = json.loads(run("jobs", "list", "--limit", "2", "--json").stdout)
    assert len(page["data"]) == 2
    assert page["has_more"] is True


def test_an_empty_list_says_so(run, script):
    script.says(httpx.Response(200, json={"data": [], "has_more": False}))
    assert "No jobs." in run("jobs", "list").stdout


def test_show(run, script, says_job, attribution_json, tmp_path):
    script.says(says_job(result=attribution_json))
    assert "great(+++)" in run("jobs", "show", "job_x").stdout
    script.says(says_job(result=attribution_json))
    assert run("jobs", "show", "job_x", "--out", str(tmp_path / "r.html")).exit_code == 0
    assert (tmp_path / "r.html").exists()


def test_show_a_running_and_a_failed_job(run, script, says_job):
    progress = {"phase": "evaluating", "done": 8, "total": 16, "unit": "coalitions"}
    script.says(says_job("running", progress=progress))
    assert "evaluating: 8/16 coalitions" in run("jobs", "show", "job_x").stdout
    script.says(says_job("failed", error=OutOfMemory("No room.").problem().model_dump(mode="json")))
    ran = run("jobs", "show", "job_x")
    assert ran.exit_code == 0
    assert "No room." in ran.stderr


def test_wait(run, script, says_job, attribution_json):
    script.says(says_job("running"), says_job(result=attribution_json))
    assert "great(+++)" in run("jobs", "wait", "job_x").stdout


def test_follow_writes_a_line_for_everything_that_happens(run, script, says_job, attribution_json):
    progress = {"phase": "evaluating", "done": 8, "total": 16, "unit": "coalitions"}
    replies = (
        says_job("queued", queue_position=2, starts_in_s=130),
        says_job("running"),
        says_job("running", progress=progress),
        says_job(progress=progress, result=attribution_json),
    )
    script.says(*replies)
    lines = run("jobs", "follow", "job_x").stdout.splitlines()
    job_id = says_job().json()["id"]
    assert lines == [
        f"{job_id} queued behind 2, starts in about 2 min",
        f"{job_id} running",
        "evaluating: 8/16 coalitions",
        f"{job_id} succeeded",
    ]
    script.says(*replies)
    events = [json.loads(line) for line in run("jobs", "follow", "job_x", "--json").stdout.splitlines()]
    assert [event["event"] for event in events] == ["job", "state", "progress", "end"]
    assert all("result" not in event["job"] for event in events)


def test_follow_that_is_too_long_leaves_the_job_alone(run, script, says_job):
    script.says(says_job("queued"), *[says_job("running")] * 20)
    ran = run("jobs", "follow", "job_x", "--wait-timeout", "1")
    assert ran.exit_code == 3
    assert "goes on" in ran.stderr
    assert not any("cancel" in asked for asked in script.asked)


def test_result(run, script, says_job, attribution_json):
    script.says(says_job(result=attribution_json))
    assert json.loads(run("jobs", "result", "job_x").stdout)["values"] == attribution_json["values"]
    script.says(says_job("running"))
    ran = run("jobs", "result", "job_x")
    assert ran.exit_code == 2
    assert "explaind jobs wait" in ran.stderr


def test_cancel_and_delete(run, script, says_job):
    script.says(says_job("cancelling"), httpx.Response(204))
    assert run("jobs", "cancel", "job_x").stdout.endswith(" cancelling\n")
    assert run("jobs", "delete", "job_x").stdout == "job_x deleted\n"
    assert script.asked == ["POST /jobs/job_x/cancel", "DELETE /jobs/job_x"]


def test_a_job_that_is_not_there(run, script):
    script.says(httpx.Response(404, content=JobNotFound("No such job.").problem().model_dump_json()))
    ran = run("jobs", "show", "job_x")
    assert ran.exit_code == 2
    assert "No such job." in ran.stderr


@pytest.mark.parametrize("command", ["show", "wait", "follow", "result", "cancel", "delete"])
@pytest.mark.parametrize("named", ["./job.json", "report.html", "x/y", "here"])
def test_a_file_is_told_from_a_job(run, script, tmp_path, monkeypatch, command, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text("{}")
    ran = run("jobs", command, named)
    assert ran.exit_code == 2
    assert f"{named!r} is the name of a file, not the id of a job (job_...)" in ran.stderr
    assert "`explaind jobs list`" in ran.stderr
    assert script.requests == []


def test_ids_are_quoted(run, script):
    script.says(*(httpx.Response(404, content=JobNotFound("No.").problem().model_dump_json()) for _ in range(2)))
    assert run("jobs", "show", "a b?c#d").exit_code == 2
    assert run("jobs", "cancel", "..").exit_code == 2
    assert script.asked == ["GET /jobs/a%20b%3Fc%23d", "POST /jobs/%2E%2E/cancel"]
    assert "begins with job_" in run("jobs", "delete", "").stderr


@pytest.mark.parametrize(
    ("limits", "context", "shown"), [(2048, 1024, "1,024"), (240, 256, "240"), (2048, None, "2,048")]
)
def test_the_longest_prompt_is_that_of_limit_and_context(run, script, limits, context, shown):
    card = {"name": "gpt2", "source": "x", "limits": {"max_prompt_tokens": limits}, "context": context}
    script.says(httpx.Response(200, json={"data": [{**card, "dtype": "float32", "quantization": "nf4"}]}))
    head, row = run("models").stdout.splitlines()
    assert head.split() == ["model", "state", "dtype", "prompt", "tokens", "source", "description"]
    assert row.split() == ["gpt2", "cold", "float32", "nf4", shown, "x"]


@pytest.mark.parametrize("flag", [(), ("--json",)])
def test_models(run, script, flag):
    card = {"name": "demo", "source": "built-in", "limits": {}, "state": "ready", "description": "Small."}
    script.says(httpx.Response(200, json={"data": [card]}))
    said = run("models", *flag).stdout
    assert "demo" in said
    assert "built-in" in said


def test_methods(run, script):
    cards = [method.card().model_dump(mode="json") for method in all_methods().values()]
    script.says(httpx.Response(200, json={"data": cards}), httpx.Response(200, json={"data": cards}))
    assert "explain/shap" in run("methods").stdout
    assert len(json.loads(run("methods", "--json").stdout)["data"]) == len(cards)


def test_one_method_with_its_schemas(run, script):
    script.says(httpx.Response(200, content=all_methods()["explain/shap"].detail().model_dump_json()))
    assert json.loads(run("methods", "explain/shap").stdout)["params"]["title"] == "ShapParams"
    assert script.asked == ["GET /methods/explain/shap"]


def test_url(run, script):
    script.says(httpx.Response(200, json={"data": []}))
    assert run("models", "--url", "http://there.test:9").exit_code == 0
    assert str(script.requests[0].url) == "http://there.test:9/models"


def test_larger_units(run, script, says_job, attribution_json):
    held = attribution_json | {"unit_kind": "word", "groups": {"sentence": [[0, 1, 2, 3, 4]]}}
    script.says(says_job(result=held), says_job(result=held))
    shown = json.loads(run("jobs", "result", "job_x", "--units", "sentence").stdout)
    assert [unit["text"] for unit in shown["units"]] == [held["prompt"]]
    assert shown["values"] == [pytest.approx(sum(held["values"]))]
    said = run("jobs", "show", "job_x", "--units", "sentence").stdout
    assert "1 unit" in said
    assert "values added up by word" in said
    script.says(says_job(result=held), says_job(result={"kind": "x"}, method="explain/new"))
    for command, words in (
        (("result", "--units", "token"), "cannot be parted"),
        (("show", "--units", "word"), "no attr"),
    ):
        ran = run("jobs", command[0], "job_x", *command[1:])
        assert ran.exit_code == 2
        assert words in ran.stderr


def test_a_span_and_the_roles_are_shown(run, script, says_job, attribution_json):
    tokens = [{"text": text, "id": 1, "logprob": -0.5} for text in (" it", " is", " Paris")]
    target = {"text": " it is Paris", "tokens": tokens, "explained": [2, 3]}
    roles = {"system": -0.25, "user": 1.5}
    script.says(says_job(result=attribution_json | {"target": target, "by_role": roles}))
    said = run("jobs", "show", "job_x").stdout
    assert "What speaks for " in said
    assert "' Paris' in ' it is Paris'" in said.replace('"', "'").replace("“", "'").replace("”", "'")
    assert "By role: system −0.25" in said.replace("-0.25", "−0.25")
