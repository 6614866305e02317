"""Commands of the methods: what they send, what they write, how they end."""

import json
import shlex
from pathlib import Path

import httpx
import pytest

from explaind.cli.help import continued
from explaind.cli.methods import method_command
from explaind.cli.params.options import given_fields
from explaind.contract.errors import FieldError, InvalidRequest, OutOfMemory, QueueFull, UnknownModel
from explaind.contract.registry import all_methods

ASK = ("explain", "shap", "--model", "demo", "--prompt", "great food, great place")


def sent(script) -> dict:
    return json.loads(script.requests[0].content)


@pytest.fixture
def submitted(run, script, says_job):
    """What a command line sends; the job is not waited for."""

    def submit(*arguments: str, stdin: str | None = None) -> dict:
        script.says(says_job("queued", status=202))
        ran = run(*arguments, "--no-wait", stdin=stdin)
        assert ran.exit_code == 0, ran.output
        return sent(script)

    return submit


def test_the_result_is_shown(run, script, says_job, attribution_json):
    timing = {"forwards": 9, "tokens_evaluated": 6144, "tokens_saved": 18304, "seconds": 0.41}
    script.says(says_job("queued", status=202), says_job(result=attribution_json, timing=timing))
    ran = run(*ASK, "--target", " yes")
    assert ran.exit_code == 0, ran.output
    assert sent(script)["target"] == {"text": " yes"}
    for said in (
        "great(+++) food(--), great(+++)",
        "+1.500",
        "exact",
        "9 forwards",
        "18,304 saved",
        "0.41 s",
    ):
        assert said in ran.stdout
    assert ran.stderr == ""


def test_json_is_the_job_and_nothing_else(run, script, says_job, attribution_json):
    script.says(says_job("queued", status=202), says_job(result=attribution_json))
    ran = run(*ASK, "--json")
    job = json.loads(ran.stdout)
    assert job["state"] == "succeeded"
    assert job["result"]["values"] == attribution_json["values"]


def test_out_writes_job_and_report(run, script, says_job, attribution_json, tmp_path: Path):
    for name in ("job.json", "report.html"):
        script.says(says_job(result=attribution_json))
        ran = run(*ASK, "--out", str(tmp_path / name))
        assert ran.exit_code == 0, ran.output
        assert name in ran.stderr.replace("\n", "")
    assert json.loads((tmp_path / "job.json").read_text())["id"]
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_out_of_another_kind_is_refused_before_anything_is_sent(run, script, tmp_path: Path):
    assert run(*ASK, "--out", str(tmp_path / "job.pdf")).exit_code == 2
    assert run(*ASK, "--out", str(tmp_path / "missing" / "job.json")).exit_code == 2
    assert script.requests == []


def test_no_wait_writes_the_id(run, script, says_job):
    script.says(says_job("queued", status=202))
    ran = run(*ASK, "--no-wait")
    assert ran.stdout == f"{says_job().json()['id']}\n"


def test_values_are_typed_by_the_schema(submitted):
    body = submitted(
        *("infer", "generate", "--model", "demo", "--prompt", "x", "--max-new-tokens", "5"),
        *(
            "--temperature",
            "0.5",
            "--stop",
            "a",
            "--stop",
            "b",
            "--metadata",
            "who=me",
            "--metadata",
            "k=a=b",
        ),
    )
    assert body == {
        "model": "demo",
        "prompt": "x",
        "max_new_tokens": 5,
        "temperature": 0.5,
        "stop": ["a", "b"],
        "metadata": {"who": "me", "k": "a=b"},
    }


def test_booleans_are_flags(submitted):
    body = submitted("infer", "score", "--model", "demo", "--prompt", "x", "--target", "y", "--prompt-logprobs")
    assert body["prompt_logprobs"] is True


@pytest.mark.parametrize("text", [" 7", "7", "true", "null", "{not json", '"quoted"', "[7]"])
def test_a_target_that_is_no_json_object_is_text(submitted, text):
    assert submitted(*ASK, "--target", text)["target"] == {"text": text}


def test_structured_values_are_json(submitted):
    body = submitted(
        *("explain", "shap", "--model", "demo"),
        *("--messages", '[{"role": "user", "content": "hi"}]'),
        *("--target", '{"generate": {"max_new_tokens": 3}}'),
        *("--baseline", '{"text": "it"}', "--units", "sentence"),
    )
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert body["target"] == {"generate": {"max_new_tokens": 3}}
    assert body["baseline"] == {"text": "it"}
    assert body["units"] == "sentence"


def test_the_prompt_can_come_from_stdin_or_a_file(submitted, script, tmp_path: Path):
    file = tmp_path / "prompt.txt"
    file.write_text("from\na file\n", encoding="utf-8")
    assert submitted("infer", "tokenize", "--model", "demo", "--prompt", "-", stdin="a\nb\n")["prompt"] == "a\nb"
    script.requests.clear()
    assert submitted("infer", "tokenize", "--model", "demo", "--prompt", f"@{file}")["prompt"] == "from\na file"
    script.requests.clear()
    assert submitted("infer", "tokenize", "--model", "demo", "--prompt", "@@me")["prompt"] == "@me"
    script.requests.clear()
    assert submitted("infer", "tokenize", "--model", "demo", "--prompt", "-5 + 3")["prompt"] == "-5 + 3"


def test_params_hold_a_whole_request_and_options_override_it(submitted, tmp_path: Path):
    file = tmp_path / "params.json"
    file.write_text(json.dumps({"model": "other", "prompt": "x", "seed": 3}))
    assert submitted("explain", "shap", "--params", str(file), "--model", "demo") == {
        "model": "demo",
        "prompt": "x",
        "seed": 3,
    }


def test_params_from_stdin(submitted):
    body = submitted("explain", "shap", "--params", "-", stdin='{"model": "demo", "prompt": "x"}')
    assert body == {"model": "demo", "prompt": "x"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--messages", "not json"),
        ("--units", "{broken"),
        ("--score", "loudness"),
        ("--budget", "many"),
        ("--metadata", "novalue"),
        ("--params", "/does/not/exist"),
        ("--prompt", "@/does/not/exist"),
    ],
)
def test_values_that_cannot_be_read_are_usage_errors(run, script, arguments):
    ran = run("explain", "shap", "--model", "demo", *arguments)
    assert ran.exit_code == 2
    assert "Traceback" not in ran.output
    assert script.requests == []


def test_a_wrong_request_names_its_fields(run, script):
    ran = run("explain", "shap", "--prompt", "x", "--budget", "1")
    assert ran.exit_code == 2
    assert "--budget: Input should be greater than or equal to 4" in ran.stderr
    assert ran.stdout == ""
    assert script.requests == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--prompt or --messages is missing."),
        (
            ("--prompt", "x", "--messages", '{"role": "user", "content": "x"}'),
            "Give exactly one of --prompt and --messages.",
        ),
        (("--prompt", "x", "--target", '{"labels": ["a"], "explain": "a"}'), "--target, labels: List should have"),
        (("--prompt", "x", "--units", '{"segments": [[0, 1], [3, 1]]}'), "--units, segments, entry 2: The segment"),
        (("--messages", '{"role": "boss", "content": "x"}'), "--messages, entry 1, role: Input should be"),
        (("--prompt", "x", "--keep-s", "3"), "--keep-s: Input should be greater than or equal to 60"),
        (("--prompt", "x", "--budget", "lots"), "'--budget': 'lots' is neither 'auto' nor a whole number."),
        (("--prompt", "x", "--score", "probe"), "is none of 'logprob', 'prob' or 'logit'. Did you mean 'prob'"),
        (("--params", "-"), "--params, promt: There is no such field. Did you mean --prompt"),
    ],
)
def test_errors_name_options(run, script, arguments, said):
    ran = run("explain", "shap", "--model", "demo", *arguments, stdin='{"promt": "x"}')
    assert ran.exit_code == 2
    assert said in ran.stderr
    assert "/" not in ran.stderr.replace("https://", "")
    assert script.requests == []


def test_errors_of_the_service_and_of_the_job_name_options(run, script, says_job):
    at = [FieldError(pointer="/heads/1/0", detail="There is no layer 9."), FieldError(pointer="/seed", detail="Odd.")]
    error = InvalidRequest("2 fields are not valid.", errors=at, hint="GET /models lists them; leave 'heads' out.")
    ask = ("explain", "attention", "--model", "demo", "--prompt", "seed", "--heads", "[[0, 1], [9, 1]]")
    script.says(httpx.Response(422, content=error.problem().model_dump_json()))
    script.says(says_job("queued", status=202), says_job("failed", error=error.problem().model_dump(mode="json")))
    for ran in (run(*ask), run(*ask)):
        assert "  --heads, entry 2, entry 1: There is no layer 9.\n  --seed: Odd." in ran.stderr
        assert "`explaind models` lists them; leave --heads out." in ran.stderr


def test_what_the_request_says_is_quoted_as_it_is(run, script):
    script.says(
        httpx.Response(422, content=UnknownModel.at("/model", "No model is called 'seed'.").problem().model_dump_json())
    )
    assert "No model is called 'seed'." in run("infer", "tokenize", "--model", "seed", "--prompt", "x").stderr


def models(*names: str) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"name": name, "source": "x", "limits": {}} for name in names]})


def test_the_only_model_is_the_default(run, script, says_job):
    script.says(models("tiny"), says_job("queued", status=202))
    ran = run("infer", "tokenize", "--prompt", "x", "--no-wait")
    assert ran.exit_code == 0
    assert json.loads(script.requests[1].content) == {"model": "tiny", "prompt": "x"}
    assert "Model tiny, the only one of the service" in ran.stderr


@pytest.mark.parametrize(("names", "hint"), [(("a", "b"), "The service has a, b."), ((), "The service has no models.")])
def test_without_an_only_model_it_is_missing(run, script, names, hint):
    script.says(models(*names))
    ran = run("infer", "tokenize", "--prompt", "x")
    assert ran.exit_code == 2
    assert "--model is missing." in ran.stderr
    assert hint in ran.stderr


def test_a_problem_of_the_service_is_shown(run, script):
    error = UnknownModel("No model is called 'dmeo'.", hint="Did you mean 'demo'?", request_id="req_9")
    script.says(httpx.Response(422, content=error.problem().model_dump_json()))
    ran = run(*ASK)
    assert ran.exit_code == 2
    for said in ("No model is called 'dmeo'.", "Did you mean 'demo'?", "req_9"):
        assert said in ran.stderr


def test_what_is_said_once_is_not_said_twice(run, script):
    error = UnknownModel.at("/model", "No model is called 'dmeo'.")
    script.says(httpx.Response(422, content=error.problem().model_dump_json()))
    said = run(*ASK).stderr
    assert said.count("No model is called") == 1
    assert "Unknown model: --model: No model" in said


def test_a_failed_job_is_1(run, script, says_job):
    error = OutOfMemory("It did not fit.").problem().model_dump(mode="json")
    script.says(says_job("queued", status=202), says_job("failed", error=error))
    ran = run(*ASK, "--json")
    assert ran.exit_code == 1
    assert json.loads(ran.stdout)["error"]["code"] == "out_of_memory"
    assert "It did not fit." in ran.stderr


def test_no_service_is_3(run, script):
    script.says(*[httpx.ConnectError("Connection refused")] * 5)
    ran = run(*ASK)
    assert ran.exit_code == 3
    assert "explaind up" in ran.stderr


def test_a_full_service_is_3(run, script):
    script.says(*[httpx.Response(429, content=QueueFull("Full.").problem().model_dump_json())] * 5)
    assert run(*ASK).exit_code == 3


def test_a_wait_that_is_too_long_is_3_and_names_the_job(run, script, says_job):
    script.says(says_job("queued", status=202), *[says_job("running")] * 40)
    ran = run(*ASK, "--wait-timeout", "0.5")
    assert ran.exit_code == 3
    assert f"Take it up again: `explaind jobs wait {says_job().json()['id']}`." in ran.stderr


def test_an_interrupt_cancels_the_job(run, script, clock, says_job, monkeypatch):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "sleep", interrupt)
    script.says(says_job("queued", status=202), says_job("cancelling"))
    ran = run(*ASK)
    assert ran.exit_code == 130
    assert script.asked[-1].endswith("/cancel")
    assert "asked the service to cancel" in ran.stderr


def test_every_method_has_an_option_for_every_field_in_one_group_and_an_example_that_says_its_request():
    for method in all_methods().values():
        command = method_command(method)
        assert {parameter.name for parameter in command.params} >= method.params_model.model_fields.keys()
        shown = [name for panel in command.panels for name in panel.objects]
        assert sorted(shown) == sorted([*(parameter.name for parameter in command.params), "help"])
        words = [word.replace("\\\n", "") for word in shlex.split("\n".join(continued(command.example, 78)))]
        given = command.make_context("x", [word for word in words[3:] if word.strip()]).params
        schema = method.params_model.model_json_schema()
        assert given_fields(schema, given) == method.example


def test_help_shows_choices_and_defaults(run):
    said = " ".join(run("explain", "shap", "--help").stdout.split())
    assert "[logprob|prob|logit]" in said
    assert "[default: 512]" in said
    assert "[token|word|sentence|JSON]" in said
    assert "Give this or --messages." in said
    assert "--interactions" in said
    assert "--no-interactions" in said
    groups = [said.index(f"─ {group} ─") for group in ("Subject", "Method", "Output", "Job")]
    places = [said.index(option) for option in ("--prompt TEXT", "--budget", "--out FILE", "--timeout-s")]
    assert groups[0] < places[0] < groups[1] < places[1] < groups[2] < places[2] < groups[3] < places[3]
    assert said.endswith(
        "Example: explaind explain shap --model demo \\ --prompt 'Review: The food was great. Sentiment:' "
        "--target ' positive' \\ --foil ' negative' --units word"
    )


def test_fresh_asks_for_a_computation(run, script, says_job):
    script.says(says_job("queued", status=202))
    run("explain", "shap", "--model", "demo", "--prompt", "great food", "--fresh", "--no-wait")
    assert script.requests[-1].headers["cache-control"] == "no-cache"


def test_estimate_says_what_it_would_cost(run, script, says_job):
    estimate = {
        "kind": "estimate", "method": "explain/shap", "evaluations": 512, "forwards": 3, "tokens_evaluated": 1023,
        "tokens_saved": 9257, "model_bytes": 2_000_000, "peak_bytes": 10_500_000, "free_bytes": 1_500_000_000,
        "fits": False, "seconds": 0.12, "load_s": None, "basis": "assumed", "note": "One row needs 10.5 MB.",
    }  # fmt: skip
    script.says(says_job(method="estimate/explain/shap", result=estimate, timing={"seconds": 0.01}))
    ran = run(*ASK, "--estimate")
    assert ran.exit_code == 0, ran.output
    assert script.requests[0].url.path == "/estimate/explain/shap"
    said = " ".join(ran.stdout.split())
    for part in (
        "What it would cost: explain/shap",
        "evaluations 512",
        "forwards 3",
        "1,023 evaluated, 9,257 saved",
        "10.5 MB of 1.5 GB free, weights 2.0 MB",
        "0.12 s (assumed), loading first, unknown how long",
        "fits no",
        "One row needs 10.5 MB.",
    ):
        assert part in said
    assert "forwards ·" not in said, "what the estimate itself cost is nobody's question"
