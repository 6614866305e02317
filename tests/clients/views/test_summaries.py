"""What `repr` shows: one line of bounded length, whatever the data; in a notebook, lists of cards are tables."""

from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from rich.pretty import pretty_repr

import explaind
from explaind import (
    ArtifactCard,
    Client,
    DatasetCard,
    DatasetPreview,
    Estimate,
    Generation,
    Job,
    JobHandle,
    ModelCard,
    Problem,
    Progress,
    Readiness,
    Unit,
    UnknownModel,
)
from explaind.contract.base import CardList, ResponseModel
from explaind.contract.files import DatasetPage
from explaind.contract.registry import all_methods
from explaind.views.drawing.summary_line import MOST_CHARS

CREATED = "2026-11-20T18:00:00Z"
ESTIMATE = {
    "method": "explain/shap", "evaluations": 512, "forwards": 1, "tokens_evaluated": 1023, "tokens_saved": 9257,
    "model_bytes": 2_000_000, "peak_bytes": 10_500_000, "free_bytes": 1_500_000_000, "fits": True, "seconds": 0.12,
    "load_s": None, "basis": "assumed",
}  # fmt: skip
LONG = "\x1b[31m\u202e<b>\n" + "long " * 20_000

CARDS: list[tuple[type[ResponseModel], dict[str, Any], str]] = [
    (
        ModelCard,
        {"name": "demo", "kind": "causal", "source": "built-in", "limits": {}, "state": "ready"},
        "ModelCard('demo', ready, causal, built-in, auto on auto)",
    ),
    (
        DatasetCard,
        {"id": "ds_1", "name": "a.csv", "bytes": 9, "created_at": CREATED, "rows": 1200, "columns": ["a", "b"]},
        "DatasetCard(ds_1, 'a.csv', 1,200 rows, columns a b)",
    ),
    (
        ArtifactCard,
        {"id": "art_1", "name": "l", "bytes": 9000, "created_at": CREATED, "kind": "tuned-lens", "model": "demo"},
        "ArtifactCard(art_1, 'l', tuned-lens of demo, 9.0 kB)",
    ),
    (
        Readiness,
        {"ready": True, "store": True, "workers": 1, "queued": 0, "version": "0.1.0"},
        "Readiness(ready, 1 worker, 0 queued, version 0.1.0)",
    ),
    (
        Estimate,
        ESTIMATE,
        "Estimate(explain/shap, 1 forward, 1,023 tokens, 0.12 s (assumed), 10.5 MB beside the weights of 2.0 MB, fits)",
    ),
    (
        Progress,
        {"phase": "evaluating", "done": 96, "total": 512, "unit": "coalitions"},
        "Progress(evaluating: 96/512 coalitions)",
    ),
    (Unit, {"text": "great", "start": 8, "end": 13}, "Unit(text='great', start=8, end=13)"),
]


@pytest.mark.parametrize(("cls", "fields", "text"), CARDS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_card_is_one_line(cls, fields, text):
    made = cls.model_validate(fields)
    assert repr(made) == str(made) == f"{made}" == pretty_repr(made, max_width=400) == text
    assert cls.model_validate_json(made.model_dump_json()) == made, "all of it is in the dump"


def test_an_attribution_names_target_foil_and_the_strongest_units(attribution):
    made = attribution(notes=["one", "two"])
    assert repr(made) == "Attribution(' yes', 5 units, great +1.5, great +1.5, food -0.5, ',' +0.01, …, 2 notes)"


def test_a_job_says_where_it_is(job_json):
    job = Job[Any].model_validate(job_json("running", progress={"phase": "loading", "done": 0, "unit": "files"}))
    assert repr(job) == f"Job({job.id}, explain/shap on demo, running, loading)"
    failed = Job[Any].model_validate(job_json("failed", error=UnknownModel("No model is called 'x'.").problem()))
    assert repr(failed).endswith("failed, unknown_model: No model is called 'x'.)")


def test_a_job_with_a_result_says_what_it_came_to(client: Client, script, says_job, attribution_json):
    script.says(says_job("succeeded", result=attribution_json))
    handle = client.jobs.handle("job_1")
    assert isinstance(handle, JobHandle)
    assert repr(handle).startswith(f"JobHandle({handle.id}, explain/shap on demo, succeeded, Attribution(' yes'")
    assert len(repr(handle)) <= MOST_CHARS
    drawn = handle._repr_html_() or ""
    assert handle.id in drawn
    assert "great" in drawn


@pytest.mark.parametrize("error", [UnknownModel.at("/model", LONG, hint=LONG), explaind.WaitTimeout("x")], ids=repr)
def test_an_error_is_short(error):
    for shown in (repr(error), repr(error.problem())):
        assert len(shown) <= MOST_CHARS
        assert "\n" not in shown


def grown(value: Any) -> Any:
    """The JSON value with every text very long and every list many times as long."""
    if isinstance(value, str):
        return LONG
    if isinstance(value, dict):
        return {key: grown(item) for key, item in value.items()}
    return [grown(item) for item in value] * 60 if isinstance(value, list) and value else value


def lengthened(model: BaseModel) -> BaseModel:
    """The model with long texts and lists in place of its own, which nothing has validated."""
    update = {}
    for name, value in model:
        if isinstance(value, BaseModel):
            update[name] = lengthened(value)
        elif isinstance(value, list):
            update[name] = [lengthened(item) if isinstance(item, BaseModel) else grown(item) for item in value] * 60
        elif isinstance(value, str):
            update[name] = LONG
    return model.model_copy(update=update)


def test_the_line_is_bounded_whatever_is_in_it(attribution, job_json):
    answers = [
        attribution(),
        Generation(prompt="x", text="y", tokens=[], logprob=-1.0, finish_reason="end"),
        UnknownModel("x", hint="y").problem(),
        *(cls.model_validate(fields) for cls, fields, _ in CARDS),
        Job[Any].model_validate(job_json(result=attribution())),
    ]
    for made in answers:
        shown = repr(lengthened(made))
        assert len(shown) <= MOST_CHARS
        assert shown.isprintable(), "neither a line break nor a sign that steers the terminal"


def test_a_result_that_is_not_whole_has_a_repr():
    assert repr(Generation.model_construct(text="x")) == "Generation(text='x')"


def test_lists_of_cards_are_lines_and_tables(client: Client, script):
    cards = [method.card().model_dump(mode="json") for method in all_methods().values()]
    script.says(httpx.Response(200, json={"data": cards}))
    methods = client.methods()
    assert isinstance(methods, list)
    lines = repr(methods).splitlines()
    assert len(lines) == len(cards)
    assert lines[0] == "[MethodCard(evaluate/questions: Questions),"
    drawn = methods._repr_html_()  # type: ignore[attr-defined]
    assert drawn.count("<tr") == len(cards) + 1
    assert len(drawn) < 500 * len(cards)
    assert isinstance(methods[:2], CardList)
    assert methods[0].path == "/evaluate/questions"
    assert repr(CardList(methods * 10)).endswith("… and 200 more]")


@pytest.mark.parametrize(("cls", "fields", "text"), CARDS[:5], ids=lambda value: getattr(value, "__name__", ""))
def test_cards_and_lists_of_them_have_html(cls, fields, text):
    made = cls.model_validate({**fields, **({"name": "<script>"} if "name" in fields else {})})
    for shown in (made, CardList([made]), CardList([made] * 300)):
        drawn = shown._repr_html_() or ""
        assert drawn.startswith("<div")
        assert "<script" not in drawn
    assert "<table" in (CardList([made])._repr_html_() or "")


def test_a_page_of_files_and_the_first_rows_of_one():
    card = {"id": "ds_1", "name": "a", "bytes": 9, "created_at": CREATED, "rows": 2, "columns": ["a<b>", "c"]}
    preview = DatasetPreview.model_validate({**card, "preview": [{"a<b>": "<script>", "c": None}, {"a<b>": 7}]})
    drawn = preview._repr_html_() or ""
    assert "First rows" in drawn
    assert "&lt;script&gt;" in drawn
    assert "<script" not in drawn
    assert "<b>a" not in drawn
    page = DatasetPage.model_validate({"data": [card], "has_more": True})
    assert repr(page) == "DatasetPage(1 file, more follow, ds_1)"
    assert "<table" in (page._repr_html_() or "")


def test_a_method_card_shows_no_schema():
    method = all_methods()["explain/shap"]
    for card in (method.card(), method.detail()):
        assert repr(card) == f"{type(card).__name__}(explain/shap: Token SHAP)"
        assert "properties" not in (card._repr_html_() or "properties")


def test_a_problem_says_what_and_what_to_do():
    problem = UnknownModel("No model is called 'dmeo'.", hint="Did you mean 'demo'?").problem()
    assert isinstance(problem, Problem)
    assert repr(problem) == "Problem(422 unknown_model: No model is called 'dmeo'. Did you mean 'demo'?)"
