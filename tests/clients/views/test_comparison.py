"""Faithfulness and comparisons as pictures: in the report, the notebook and the terminal."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from explaind.cli.views.job import show_job
from explaind.contract.blocks.attribution_result import Curve, Faithfulness, RandomBaseline, Replacement
from explaind.contract.errors import TooManyUnits
from explaind.contract.job import Job
from explaind.contract.methods.explain.compare_methods import Agreement, ComparedMethod, MethodComparison
from explaind.views.report import job_html

HOSTILE = "</style><script>alert(1)</script>\x1b[31m"


def faithfulness(**fields: Any) -> Faithfulness:
    curve = Curve(x=[0, 0.5, 1], y=[-0.2, -3.5, -9.0], area=-4.05)
    measure = RandomBaseline(value=2.5, random_mean=1.0, random_deviation=0.5, z=3.0, beats=0.95)
    made = {
        "shares": [0.01, 0.05, 0.1, 0.2, 0.5],
        "comprehensiveness": [1.0] * 5,
        "sufficiency": [0.1] * 5,
        "deletion": curve,
        "insertion": curve,
        "random_deletion": curve,
        "random_insertion": curve,
        "comprehensiveness_mean": measure,
        "sufficiency_mean": measure,
        "deletion_area": measure,
        "insertion_area": measure.model_copy(update={"z": None, "beats": 0.5}),
        "random_orders": 10,
        "baseline": Replacement(choice="mask"),
        "evaluations": 30,
    }
    return Faithfulness(**{**made, **fields})


@pytest.fixture
def comparison(attribution):
    def make(prompt: str = "great food, great place", **fields: Any) -> MethodComparison:
        one = attribution(prompt)
        row = ComparedMethod(
            label="shap", method="shap", values=one.values, algorithm="exact", evaluations=16, seconds=0.2,
            completeness_gap=1e-9, faithfulness=faithfulness(),
        )  # fmt: skip
        other = row.model_copy(
            update={"label": "lime", "values": [-v for v in one.values], "algorithm": "lasso", "faithfulness": None}
        )
        failed = ComparedMethod(
            label="exact", method="shap", seconds=0.0, error=TooManyUnits("Far too many.", hint="Fewer.").problem()
        )
        matrix = [[1.0, -0.25], [-0.25, 1.0]]
        agreement = Agreement(
            labels=["shap", "lime"], spearman=[[1.0, None], [None, 1.0]], top_overlap=matrix, cosine=matrix, top_k=2,
            top_overlap_by_chance=0.4,
        )  # fmt: skip
        made = {
            "prompt": prompt,
            "units": one.units,
            "score": "logprob",
            "target": one.target,
            "baseline": one.baseline,
            "methods": [row, other, failed],
            "agreement": agreement,
        }
        return MethodComparison(**{**made, **fields})

    return make


@pytest.fixture
def page(job_json):
    def make(result: Any, method: str = "explain/compare-methods") -> str:
        return job_html(Job[Any].model_validate(job_json(result=result.model_dump(mode="json"), method=method)))

    return make


@pytest.fixture
def terminal(job_json):
    def write(result: Any, method: str = "explain/compare-methods") -> str:
        to = Console(file=io.StringIO(), width=110, color_system=None, _environ={})
        show_job(to, Job[Any].model_validate(job_json(result=result.model_dump(mode="json"), method=method)))
        assert isinstance(to.file, io.StringIO)
        return to.file.getvalue()

    return write


LINE = "faithfulness: beats 95 % of random orders, z +3.0 (deletion; "


def test_a_comparison_has_a_strip_per_method_and_a_table_per_measure(page, comparison):
    made = page(comparison())
    assert made.count('class="heat"') == 3
    assert made.count("great</span>") == 4, "two strips of a prompt that says great twice"
    for said in ("Far too many.", "lasso", "Spearman", "Top 2 in common", "Cosine", "40 % by chance", "95 %", "none"):
        assert said in made
    assert "<script" not in made
    assert not re.search(r"https?://|@import|url\(", made)


def test_a_comparison_in_a_notebook(comparison):
    drawn = comparison()._repr_html_()
    assert drawn.startswith('<div class="explaind-comparison"')
    assert drawn.count("<table") == 3
    assert "What speaks for" in drawn
    assert drawn.count(LINE) == 1


def test_a_comparison_on_a_terminal(terminal, comparison):
    said = terminal(comparison())
    assert "great(+++) food(--), great(+++) place" in said
    assert "great(---) food(++), great(---) place" in said
    assert "Far too many." in said
    assert re.search(r"shap, lime +none +−0\.250 +−0\.250", said)
    assert said.count(LINE) == 1, "of the one method that was checked"


def test_one_method_that_was_done_has_no_agreement(page, terminal, comparison):
    alone = Agreement(
        labels=["shap"], spearman=[[1.0]], top_overlap=[[1.0]], cosine=[[1.0]], top_k=2, top_overlap_by_chance=0.4
    )
    made = comparison()
    part = comparison(methods=made.methods[:1], agreement=alone)
    assert "How far they agree" not in page(part)
    assert "Spearman" not in terminal(part)


def test_hostile_text_stays_text(page, terminal, comparison):
    made = comparison(HOSTILE)
    made.methods[0].label = made.agreement.labels[0] = HOSTILE
    made.methods[2].error = TooManyUnits(HOSTILE).problem()
    for drawn in (page(made), made._repr_html_()):
        assert "<script" not in drawn
        assert "alert(1)" in drawn
    assert "\x1b" not in terminal(made)


def test_an_attribution_shows_its_faithfulness(page, terminal, attribution):
    made = attribution(faithfulness=faithfulness())
    drawn = page(made, "explain/shap")
    assert drawn.count('class="lines"') == 2
    assert drawn.count("<polyline") == 4
    for said in ("Comprehensiveness", "1.000 ± 0.500", "+3.000", "95 %", "10 random orders"):
        assert said in drawn
    said = terminal(made, "explain/shap")
    assert re.search(r"sufficiency \(lower is better\) +2\.500 +1\.000 ± 0\.500 +\+3\.000 +95 %", said)
    assert f"{LINE}comprehensiveness 95 %, z +3.0; sufficiency" in said
    assert "10 random orders)" in said
    assert made._repr_html_().count(LINE) == 1
    assert 'class="lines"' not in page(attribution(), "explain/shap")
