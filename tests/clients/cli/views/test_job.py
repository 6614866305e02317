"""Jobs on a terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from explaind._sync.jobs import JobHandle
from explaind.cli.progress import follow
from explaind.cli.views.job import show_job
from explaind.cli.views.prompt import coloured_prompt
from explaind.contract.job import Job

TOKENS = [
    {
        "text": " 8",
        "id": 12,
        "logprob": -0.02,
        "rank": 0,
        "top": [{"text": "[bold]", "id": 5, "logprob": -4.2}],
    },
    {"text": "5\x1b[31m", "id": 13, "logprob": -9.0, "rank": 1},
]
GENERATION = {
    "kind": "generation",
    "prompt": "[red]47",
    "text": "",
    "tokens": TOKENS,
    "logprob": -9.02,
    "finish_reason": "end",
}
TOKENIZATION = {
    "kind": "tokenization",
    "prompt": "a",
    "tokens": [
        {"id": 1, "text": "a", "start": 0, "end": 1, "unit": 0},
        {"id": 0, "text": "</s>", "special": True},
    ],
    "units": [{"text": "a", "start": 0, "end": 1}],
    "count": 2,
}

CLASSIFICATION = {
    "kind": "classification",
    "prompt": "[red]fine",
    "predicted": 1,
    "rule": "softmax",
    "classes": [
        {"label": "NEGATIVE", "index": 0, "probability": 0.125, "logit": -1.5},
        {"label": "[bold]POS", "index": 1, "probability": 0.875, "logit": 0.45},
    ],
}


def console(*, colour: bool = False) -> Console:
    system = "truecolor" if colour else None
    return Console(file=io.StringIO(), width=100, force_terminal=colour, color_system=system, _environ={})


@pytest.fixture
def written(job_json):
    def write(result: Any, *, colour: bool = False, **fields: Any) -> str:
        to = console(colour=colour)
        show_job(to, Job[Any].model_validate(job_json(result=result, **fields)))
        assert isinstance(to.file, io.StringIO)
        return to.file.getvalue()

    return write


def test_an_attribution_without_colour_has_signs(written, attribution_json):
    said = written(attribution_json)
    assert "great(+++) food(--), great(+++) place" in said
    assert "\x1b" not in said
    assert "−0.500" in said


def test_an_attribution_with_colour_has_backgrounds(written, attribution_json):
    said = written(attribution_json, colour=True)
    assert "48;2;230;108;20m" in said
    assert "(+++)" not in said


def test_the_coloured_prompt_is_the_prompt(attribution):
    prompt = "the 👩‍👩‍👧 was\n\tgreat, great [bold]"
    assert coloured_prompt(attribution(prompt), colour=True).plain == prompt


def test_text_cannot_steer_the_terminal(written, attribution):
    hostile = attribution("great \x1b]0;title\x07 food \u202e")
    assert "\x1b" not in written(hostile)
    assert "\x1b" not in written(GENERATION, method="infer/generate")


def test_text_is_no_markup(written):
    said = written(GENERATION, method="infer/generate")
    assert "[red]47" in said
    assert "“[bold]” 1.50 %" in said
    assert "98.0 %" in said


def test_a_scoring_and_a_tokenization(written):
    scoring = {**GENERATION, "kind": "scoring", "perplexity": 2.5, "prompt_tokens": TOKENS}
    assert "perplexity 2.500" in written(scoring, method="infer/score")
    said = written(TOKENIZATION, method="infer/tokenize")
    assert "2 tokens, 1 unit" in said
    assert "special" in said


def test_an_unknown_result_is_shown_as_json(written):
    assert '"x": 1' in written({"kind": "new", "x": 1}, method="explain/new")


def test_following_shows_how_far_it_is(client, script, says_job, attribution_json):
    half = {"phase": "evaluating", "done": 8, "total": 16, "unit": "coalitions"}
    script.says(says_job("running", progress=half), says_job(result=attribution_json))
    to = console(colour=True)

    def sleep(_: float) -> None:
        to.file.flush()

    client.driver.sleep = sleep
    handle = JobHandle(client.driver, Job[Any].model_validate(says_job("queued", queue_position=2).json()))
    assert follow(to, handle).state.value == "succeeded"
    assert handle.job.result is not None


def test_a_classification_lists_its_classes(written):
    text = written(CLASSIFICATION, method="infer/classify")
    assert "[red]fine" in text
    assert "“[bold]POS”" in text
    assert "87.5" in text
    assert "-1.5" in text or "−1.5" in text
