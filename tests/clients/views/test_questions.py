"""Answered questions as a page, in a notebook and on a terminal."""

import html
import io
import re
from typing import Any

import pytest
from rich.console import Console

from explaind.cli.views.job import show_job
from explaind.contract.job import Job
from explaind.contract.methods.evaluate.questions import QuestionsEvaluation
from explaind.views.questions import summary
from explaind.views.report import job_html


def accuracy(kind, count, right):
    return {"kind": kind, "count": count, "right": right, "accuracy": right / count, "low": 0.1, "high": 0.9}


RESULT: dict[str, Any] = {
    "kind": "questions",
    "template": "{question}<b>",
    "chat": False,
    "answer": "auto",
    "confidence": 0.95,
    "total": accuracy(None, 3, 1),
    "by_kind": [accuracy("sums", 2, 1), accuracy("<i>logic", 1, 0)],
    "failures": [
        {"category": "incomplete", "count": 1, "rules": {"no_answer": 1}},
        {"category": "wrong_operation", "count": 1, "rules": {"other_operation": 1}},
        {"category": "off_by_one", "count": 0, "rules": {}},
        {"category": "hallucination", "count": 0, "rules": {}},
    ],
    "mean_logprob": -3.5,
    "mean_difference": 1.25,
    "preferred": 0.5,
    "questions": [
        {
            "question": "3 + 4 =", "kind": "sums", "answer": "7", "foil": "8", "said": " 7", "finish": "end",
            "extracted": "7", "right": True, "logprob": -0.1, "foil_logprob": -3.0,
        },
        {
            "question": "52 - 18 =", "kind": "sums", "answer": "34", "foil": "36", "said": "[red] 70\x1b[31m",
            "finish": "end", "extracted": "70", "right": False, "category": "wrong_operation",
            "rule": "other_operation", "explanation": "70 = 52 + 18", "logprob": -8.0, "foil_logprob": -7.0,
        },
        {
            "question": "<script>", "kind": "<i>logic", "answer": "yes", "said": "", "finish": "length",
            "extracted": None, "right": False, "category": "incomplete", "rule": "no_answer",
            "explanation": "nothing", "logprob": -2.0,
        },
    ],
    "activations": {
        "right": 1, "wrong": 2, "splits": 200, "cosine": [0.9, 0.5], "l2": [1.0, 4.0], "random_cosine": [0.9, 0.8],
        "random_l2": [1.0, 2.0], "random_l2_high": [2.0, 3.0], "l2_p": [0.5, 0.02],
    },
}  # fmt: skip


@pytest.fixture
def job(job_json):
    def make(**changed):
        return Job[Any].model_validate(job_json(method="evaluate/questions", result={**RESULT, **changed}))

    return make


def text_of(page):
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S))


def test_the_page_tells_every_question_and_why_it_is_wrong(job):
    page = job_html(job())
    said = " ".join(text_of(page).split())
    assert "is right about 1 of 3 questions" in said
    assert "33.3 %" in said
    assert "95 % interval 10 to 90 %" in said
    assert "✗ wrong operation other operation: 70 = 52 + 18" in said
    assert "taken: 70" in said
    assert "wrong operation other operation 1" in said
    assert "In layer 1 the means" in said
    assert "<script" not in page
    assert page.count("<polyline") == 5


def test_bars_are_as_long_as_their_counts(job):
    bars = re.search(
        r'<table class="bars"[^>]*aria-label="Mistakes by kind">.*?</table>', job_html(job()), re.S
    ).group()
    widths = [float(width) for width in re.findall(r'class="for" style="[^"]*?width:([\d.]+)%', bars)]
    assert widths == [100, 100, 0, 0]


def test_sections_are_left_out_where_there_is_nothing_to_show(job):
    right = {**RESULT["questions"][0]}
    none = [{**failure, "count": 0, "rules": {}} for failure in RESULT["failures"]]
    said = text_of(job_html(job(questions=[right], failures=none, by_kind=[], activations=None, mean_difference=None)))
    assert "How it went wrong" not in said
    assert "By kind" not in said
    assert "Inside" not in said
    assert "Answer minus foil" not in said


def test_a_model_of_one_layer_is_drawn(job):
    one = {name: value[:1] if isinstance(value, list) else value for name, value in RESULT["activations"].items()}
    page = job_html(job(activations=one))
    assert "nan" not in page
    assert "In layer 0" in text_of(page)


def test_a_notebook_shows_it(job):
    shown = QuestionsEvaluation.model_validate(RESULT)._repr_html_()
    assert "1 of 3 right (33.3 %, 10 to 90 %) · 1 incomplete · 1 wrong operation" in text_of(shown)
    assert "52 - 18 =" in shown
    assert "<script" not in shown


def test_a_terminal_shows_it(job):
    to = Console(file=io.StringIO(), width=120, color_system=None, _environ={})
    show_job(to, job())
    assert isinstance(to.file, io.StringIO)
    said = to.file.getvalue()
    assert summary(QuestionsEvaluation.model_validate(RESULT)) in said
    assert "\x1b" not in said
    assert "[red] 70" in said
    assert "sums: 1 of 2 right" in said
    assert re.search(r"52 - 18 = +34 .*wrong operation +−8.000 +−1.000", said)
