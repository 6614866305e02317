"""Notes of results: once, above the picture, whatever the result is and whether or not it has a view of its own."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from explaind.cli.views.job import show_job
from explaind.contract.base import MethodResult
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.job import Job
from explaind.contract.registry import all_methods
from explaind.views.registry import notebook_html
from explaind.views.report import job_html
from tests.clients.views.test_report import CLASSIFICATION, GENERATION, SCORING, TOKENIZATION

NOTE, SHOWN = "<b>evil</b> 'x' has no leading space", "&lt;b&gt;evil&lt;/b&gt; 'x' has no leading space"
RESULTS: dict[str, dict[str, Any]] = {
    "infer/generate": GENERATION,
    "infer/score": SCORING,
    "infer/classify": CLASSIFICATION,
    "infer/tokenize": TOKENIZATION,
    "explain/unknown-method": {"kind": "weights", "words": ["a", "b"], "weights": [1.0, 2.0]},
}


class Weights(MethodResult):
    """A result that no view knows."""

    words: list[str]
    weights: list[float]


def on_terminal(job: Job[Any]) -> str:
    written = StringIO()
    show_job(Console(file=written, width=100), job)
    return written.getvalue()


def job_of(path: str, result: object) -> Job[Any]:
    fields = {
        "id": "job_1",
        "method": path,
        "model": "demo",
        "state": "succeeded",
        "created_at": "2026-01-01T00:00:00Z",
        "links": dict.fromkeys(("self", "result", "report", "cancel"), "/jobs/job_1"),
    }
    return Job[Any].model_validate({**fields, "result": result})


def test_every_method_answers_with_notes() -> None:
    for method in all_methods().values():
        assert issubclass(method.result, MethodResult), method.path


@pytest.mark.parametrize("path", RESULTS)
def test_notes_stand_once_above_the_result(path: str) -> None:
    plain, noted = RESULTS[path], {**RESULTS[path], "notes": [NOTE]}
    report, written = job_html(job_of(path, noted)), on_terminal(job_of(path, noted))
    assert (report.count(SHOWN), written.count(NOTE)) == (1, 1)
    assert report.index("</h1>") < report.index(SHOWN) < report.index("<h2>")
    assert written.startswith(f"Note: {NOTE}\n")
    assert "Note: " not in job_html(job_of(path, plain)) + on_terminal(job_of(path, plain))


def test_a_notebook_shows_them_above_the_picture(attribution: Callable[..., Attribution]) -> None:
    weights = Weights(words=["a", "b"], weights=[1.0, 2.0], notes=[NOTE])
    for result in (attribution(notes=[NOTE]), weights, job_of("infer/generate", {**GENERATION, "notes": [NOTE]})):
        drawn = notebook_html(result)
        assert drawn.count(SHOWN) == 1
        assert "Note: " not in drawn[drawn.index(SHOWN) :]
    assert notebook_html(attribution(notes=[NOTE])).index(SHOWN) < notebook_html(attribution(notes=[NOTE])).index(
        "great"
    )
    assert "explaind-notes" not in notebook_html(attribution())
