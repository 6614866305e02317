"""Reports: whole pages that need nothing else, for every method and every end of a job."""

import html
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from explaind.contract.blocks.attribution_result import ScoredText, ScoredToken
from explaind.contract.blocks.units import MessageShare
from explaind.contract.errors import FieldError, UnknownModel
from explaind.contract.job import Job
from explaind.views.report import job_html

PROVENANCE = {"model": "demo", "source": "built-in", "token_ids": [1, 2, 3], "versions": {"torch": "2.13.0"}}
TIMING = {"queued_s": 0.004, "seconds": 0.41, "forwards": 9, "tokens_evaluated": 6144, "tokens_saved": 18304}
TOKENS = [
    {"text": " 8", "id": 12, "logprob": -0.02, "rank": 0, "top": [{"text": " 9", "id": 5, "logprob": -4.2}]},
    {"text": "5\n", "id": 13, "logprob": -1.9, "rank": 1, "top": []},
]
GENERATION = {
    "kind": "generation",
    "prompt": "47 + 38 =",
    "text": " 85",
    "tokens": TOKENS,
    "logprob": -1.92,
    "finish_reason": "end",
}
SCORING = {
    "kind": "scoring",
    "prompt": "a b",
    "text": " 85",
    "tokens": TOKENS,
    "logprob": -1.92,
    "perplexity": 2.6,
    "prompt_tokens": [{"text": "a", "id": 1, "logprob": None}, {"text": " b", "id": 2, "logprob": -3.0}],
}
CLASSIFICATION = {
    "kind": "classification",
    "prompt": "<b>fine",
    "predicted": 0,
    "rule": "none",
    "classes": [{"label": "<i>QUALITY", "index": 0, "logit": 0.45}],
}
TOKENIZATION = {
    "kind": "tokenization",
    "prompt": "a b",
    "tokens": [
        {"id": 0, "text": "<s>", "special": True},
        {"id": 1, "text": "a", "start": 0, "end": 1, "unit": 0},
        {"id": 2, "text": " b", "start": 1, "end": 3, "unit": 1},
    ],
    "units": [{"text": "a", "start": 0, "end": 1}, {"text": "b", "start": 2, "end": 3}],
    "count": 3,
}


class Outline(HTMLParser):
    """Checks that elements are closed in order, and collects tags and attributes."""

    VOID = frozenset({"meta", "br", "input", "line", "rect", "path"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture
def report(job_json):
    def make(result: Any = None, **fields: Any) -> str:
        shared = {"provenance": PROVENANCE, "timing": TIMING, "finished_at": "2026-11-20T18:00:01Z"}
        job = Job[Any].model_validate(job_json(**{**shared, "result": result, **fields}))
        return job_html(job)

    return make


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S))


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("infer/generate", GENERATION),
        ("infer/score", SCORING),
        ("infer/tokenize", TOKENIZATION),
        ("infer/classify", CLASSIFICATION),
        ("explain/brand-new", {"kind": "new", "x": "<script>"}),
        ("explain/brand-new", GENERATION),
    ],
)
def test_every_kind_of_result_has_a_self_contained_page(report, method, result):
    self_contained(report(result, method=method))


def self_contained(page: str) -> None:
    outline = Outline(page)
    assert page.startswith("<!doctype html>")
    assert not outline.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"}
    assert not {name for name in outline.attributes if name.startswith("on") or name in {"src", "href", "action"}}
    assert not re.search(r"https?://|@import|url\(", page)
    assert "default-src 'none'" in page


def test_an_attribution_has_everything(report, attribution):
    foil = ScoredText(text=" no", tokens=[ScoredToken(text=" no", id=8, logprob=-1.5)])
    made = attribution(foil=foil, standard_errors=[0.1] * 5, algorithm="kernel")
    made.values_by_target[:] = [[value, 0.0] for value in made.values]
    page = report(made.model_dump(mode="json"), metadata={"who": "me"})
    self_contained(page)
    assert page.count('class="bars"') == 1
    assert page.count('class="whisker"') == 5
    assert 'class="matrix"' in page
    words = text_of(page)
    for said in (
        "rather than",
        "odds",
        "kernel",
        "6,144",
        "18,304",
        "built-in",
        "torch",
        "1 2 3",
        "who",
        "mask",
    ):
        assert said in words


def test_notes_and_the_type_of_products_are_shown(report, attribution):
    fast = {"products": "bfloat16", "largest_difference": 0.012, "checked": 16}
    words = text_of(report(attribution(notes=["<b>nothing</b> was faster"], fast=fast).model_dump(mode="json")))
    assert "<b>nothing</b> was faster" in words
    assert "bfloat16; 0.012 off at most, of 16 coalitions evaluated both ways" in " ".join(words.split())
    assert "Matrix products" not in text_of(report(attribution().model_dump(mode="json")))


def test_one_target_token_needs_no_matrix(report, attribution_json):
    assert 'class="matrix"' not in report(attribution_json)


def test_a_typed_result_and_its_json_are_the_same_page(report, attribution):
    made = attribution()
    assert report(made) == report(made.model_dump(mode="json"))


def test_only_the_strongest_units_have_bars(report, attribution):
    page = report(attribution(" ".join(f"w{n}" for n in range(50))).model_dump(mode="json"))
    assert page.count('<td class="value"') == 20
    assert "the strongest 20 of 50" in page
    assert page.count("<tr>") == 51


def test_hostile_text_is_escaped(report, attribution):
    hostile = '</style><script>alert(1)</script>"><img src=x onerror=y>'
    made = attribution(hostile, target=ScoredText(text=hostile, tokens=[]))
    pages = [
        report(made.model_dump(mode="json"), metadata={hostile: hostile}, model=hostile, method=hostile),
        report({**GENERATION, "prompt": hostile, "text": hostile}, method="infer/generate"),
        report(state="failed", error=UnknownModel(hostile, hint=hostile).problem().model_dump(mode="json")),
        report(state="running", progress={"phase": hostile, "done": 1, "unit": hostile}),
    ]
    for page in pages:
        assert not Outline(page).tags & {"script", "img"}
        assert "alert(1)" in text_of(page)


def test_a_failed_job_shows_its_problem(report):
    error = UnknownModel("No model 'dmeo'.", hint="Did you mean 'demo'?", request_id="req_1")
    error.errors = [FieldError(pointer="/model", detail="Unknown")]
    words = text_of(report(state="failed", error=error.problem().model_dump(mode="json")))
    for said in ("The job failed", "No model 'dmeo'.", "Did you mean 'demo'?", "/model", "req_1"):
        assert said in words


@pytest.mark.parametrize("state", ["queued", "running", "cancelling", "cancelled", "expired"])
def test_a_job_without_a_result_says_its_state(report, state):
    assert f"The job is {state}" in text_of(report(state=state, progress=None, timing=None, provenance=None))


def test_a_result_that_does_not_fit_its_method_is_shown_as_it_is(report):
    page = report({"kind": "attribution", "values": "odd"})
    self_contained(page)
    assert "odd" in text_of(page)


def test_values_that_are_no_numbers_do_not_break_the_page(report, attribution):
    made = attribution("a b c")
    made.values[:] = [float("nan"), float("inf"), 1.0]
    self_contained(report(made))


def test_a_result_that_holds_larger_units_can_be_switched_without_a_script(report, attribution):
    made = attribution("<b>x</b> & it. Go!")
    count = len(made.units)
    words = [[i] for i in range(count)]
    made.unit_kind, made.groups = "token", {"word": words, "sentence": [list(range(count - 2)), [count - 2, count - 1]]}
    page = report(made.model_dump(mode="json"))
    self_contained(page)
    assert page.count('type="radio"') == 3
    assert page.count("checked=") == 1
    assert page.count('class="heat"') == 3
    assert "<b>x" not in page
    for kind in ("token", "word", "sentence"):
        assert page.count(f'id="by-{kind}"') == page.count(f'for="by-{kind}"') == 1
    assert "radio" not in report(attribution().model_dump(mode="json"))


def test_a_chat_has_its_messages_and_a_span_its_text(report, attribution):
    tokens = [ScoredToken(text=text, id=1, logprob=-0.5) for text in (" it", " is", " <i>")]
    made = attribution(
        target=ScoredText(text=" it is <i>", tokens=tokens, explained=(1, 3)),
        by_message=[MessageShare(index=0, role="user", value=1.5, units=[0, 1])],
        by_role={"user": 1.5},
    )
    made.values_by_target[:] = [[value, 0.0] for value in made.values]
    page = report(made.model_dump(mode="json"))
    self_contained(page)
    words = " ".join(text_of(page).split())
    assert "Every message" in words
    assert "is <i> in it is <i>" in words
    assert 'class="matrix"' in page
