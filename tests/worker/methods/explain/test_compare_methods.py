"""explain/compare-methods: the same numbers as each method alone, evaluated once, and what happens when one fails."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr

from explaind.contract.errors import BudgetTooSmall, InvalidTarget, NonFiniteScore, TooManyUnits
from explaind.contract.job import JobState
from explaind.contract.methods.explain import compare_methods as contract
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import Catalogue
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim
from explaind_worker.methods.explain import compare_methods, feature_ablation, shap
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import Runner, implementation_of
from explaind_worker.session.session import Session
from explaind_worker.stops import Cancelled

PROMPT = "When Mary and John went to the store"
ASKED = {"prompt": PROMPT, "target": " Mary", "foil": " John"}
PATH = "explain/compare-methods"
METHOD = find_method(PATH)
PERMUTATION = {"method": "shap", "params": {"algorithm": "permutation", "budget": 60, "seed": 4}}


def test_every_row_is_what_the_method_alone_says(run):
    result = run(PATH, **ASKED, methods=["shap", "feature-ablation", PERMUTATION], faithfulness={"random_orders": 4})
    alone = [
        run("explain/shap", **ASKED, faithfulness={"random_orders": 4}),
        run("explain/feature-ablation", **ASKED, faithfulness={"random_orders": 4}),
        run("explain/shap", **ASKED, **PERMUTATION["params"], faithfulness={"random_orders": 4}),
    ]
    assert [row.label for row in result.methods] == ["shap", "feature-ablation", "shap 2"]
    assert result.methods[2].params == PERMUTATION["params"]
    for row, expected in zip(result.methods, alone, strict=True):
        np.testing.assert_allclose(row.values, expected.values, atol=1e-4)
        assert (row.algorithm, row.evaluations) == (expected.algorithm, expected.evaluations)
        assert row.completeness_gap == pytest.approx(expected.completeness_gap, abs=1e-4)
        assert row.base_value == pytest.approx(expected.base_value, abs=1e-4)
        assert row.faithfulness.deletion.area == pytest.approx(expected.faithfulness.deletion.area, abs=1e-3)
        assert row.error is None
        assert result.units == expected.units
        assert (result.target.text, result.foil.text) == (" Mary", " John")
    assert result.methods[2].standard_errors is not None
    assert result.baseline == alone[0].baseline


def test_agreement_is_of_the_rows(run):
    result = run(PATH, **ASKED, methods=["shap", "feature-ablation", PERMUTATION], top_k=3)
    values = np.array([row.values for row in result.methods])
    agreement = result.agreement
    np.testing.assert_allclose(agreement.spearman, spearmanr(values, axis=1).statistic, atol=1e-12)
    top = [set(np.argsort(-np.abs(row), kind="stable")[:3]) for row in values]
    assert agreement.top_overlap[0][1] == len(top[0] & top[1]) / 3
    assert agreement.cosine[0][2] == pytest.approx(
        values[0] @ values[2] / np.linalg.norm(values[0]) / np.linalg.norm(values[2])
    )
    assert (agreement.top_k, agreement.top_overlap_by_chance) == (3, 3 / 8)


def test_a_method_agrees_with_itself(run):
    agreement = run(PATH, **ASKED, methods=["shap", "shap"]).agreement
    for matrix in (agreement.spearman, agreement.top_overlap, agreement.cosine):
        np.testing.assert_allclose(matrix, np.ones((2, 2)))
    assert agreement.labels == ["shap", "shap 2"]
    assert agreement.top_k == 2, "a fifth of eight, rounded up"


def test_one_unit_has_no_ranks_and_is_still_an_answer(run):
    result = run(PATH, prompt="Mary", target=" went", methods=["shap", "feature-ablation"], faithfulness=True)
    assert result.agreement.spearman == [[1.0, None], [None, 1.0]]
    assert result.agreement.top_overlap == [[1.0, 1.0], [1.0, 1.0]]
    json.loads(result.model_dump_json(), parse_constant=pytest.fail)


def test_two_units(run):
    result = run(PATH, prompt="Mary went", target=" to", methods=["shap", "feature-ablation"])
    assert abs(result.agreement.spearman[0][1]) == pytest.approx(1.0)


def test_what_one_evaluates_is_free_to_the_next(pool, tiny_model):
    entry, phases = tiny_model("llama"), []
    params = METHOD.params_model.model_validate(
        {"model": entry.name, **ASKED, "methods": ["shap", "feature-ablation", "shap"], "faithfulness": True}
    )
    with Session(entry, pool, lambda phase, *_: phases.append(phase)) as session:
        result = implementation_of(METHOD)(params, session)
        forwards = session.job.meter.forwards
    first, *others = result.methods
    assert first.algorithm == "exact"
    assert first.forwards == forwards > 0
    assert {(row.forwards, row.tokens_evaluated) for row in others} == {(0, 0)}
    for phase in ("shap (1 of 3): evaluating", "feature-ablation (2 of 3): measuring faithfulness: evaluating"):
        assert phase in phases


def test_a_method_that_fails_is_a_row_and_not_the_end(run):
    too_many = {"method": "shap", "params": {"algorithm": "exact"}}
    result = run(PATH, prompt="food " * 13, target=" the", methods=[too_many, "feature-ablation", PERMUTATION])
    failed, *others = result.methods
    assert (failed.error.code, failed.values, failed.faithfulness) == ("too_many_units", None, None)
    assert [error.pointer for error in failed.error.errors] == ["/methods/0/params/algorithm"]
    assert all(len(row.values) == 13 for row in others)
    assert result.agreement.labels == ["feature-ablation", "shap 2"]
    assert np.shape(result.agreement.spearman) == (2, 2)


def test_a_method_that_runs_out_of_memory_is_a_row(run, monkeypatch):
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr(feature_ablation, "run", exhausted)
    result = run(PATH, **ASKED, methods=["feature-ablation", "shap"])
    assert [row.error and row.error.code for row in result.methods] == ["out_of_memory", None]


@pytest.mark.parametrize("error", [RuntimeError("odd"), Cancelled("job_a")])
def test_what_is_no_fault_of_a_method_ends_the_job(run, monkeypatch, error):
    def fails(*_):
        raise error

    monkeypatch.setattr(shap, "run", fails)
    with pytest.raises(type(error)):
        run(PATH, **ASKED, methods=["feature-ablation", "shap"])


def test_when_all_fail_the_first_says_why(run):
    exact, small = ({"method": "shap", "params": p} for p in ({"algorithm": "exact"}, {"budget": 4}))
    for methods, kind, pointer in (
        ([exact, small], TooManyUnits, "/methods/0/params/algorithm"),
        ([small, exact], BudgetTooSmall, "/methods/0/params/budget"),
    ):
        with pytest.raises(kind) as caught:
            run(PATH, prompt="food " * 20, target=" the", methods=methods)
        assert [e.pointer for e in caught.value.errors] == [pointer]


def test_a_score_that_is_no_number_fails_all(loaded, run):
    handle = loaded("llama").anatomy.unembedding.register_forward_hook(lambda _m, _a, output: output * float("nan"))
    try:
        with pytest.raises(NonFiniteScore):
            run(PATH, **ASKED, methods=["shap", "feature-ablation"])
    finally:
        handle.remove()


def test_the_subject_is_refused_before_the_weights_are_loaded(tiny_model):
    fresh = ModelPool()
    params = METHOD.params_model.model_validate({"model": "m", **ASKED, "foil": " Mary", "methods": ["shap", "shap"]})
    with pytest.raises(InvalidTarget) as caught:
        implementation_of(METHOD)(params, Session(tiny_model("llama"), fresh, lambda *_: None))
    assert [e.pointer for e in caught.value.errors] == ["/foil"]
    assert fresh.resident() == []


def test_a_cancelled_comparison_keeps_the_methods_that_were_done(tiny_model):
    class Control:
        files = None

        def report_progress(self, phase, *_):
            if phase.startswith("feature-ablation"):
                raise Cancelled("job_a")

    runner = Runner(JobsSettings(), Catalogue({"tiny-llama": tiny_model("llama")}))
    params = METHOD.params_model.model_validate(
        {"model": "tiny-llama", **ASKED, "methods": ["shap", "feature-ablation"]}
    )
    claim = Claim("job_a", 1, PATH, "tiny-llama", params.model_dump_json().encode(), 0.0)
    outcome = runner.run(claim, Control())
    part = contract.MethodComparison.model_validate_json(outcome.result)
    assert outcome.state is JobState.CANCELLED
    assert [row.label for row in part.methods] == part.agreement.labels == ["shap"]


def test_the_k_of_the_overlap_is_at_most_all_units():
    values = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert compare_methods.agreement(["a", "b"], values, 50).top_k == 2
    assert compare_methods.agreement(["a", "b"], values, None).top_k == 1


def test_any_method_whose_result_is_an_attribution_can_be_compared(run, monkeypatch):
    """One that the contract gains later, with a request that has no stand-in, is run with what it takes."""
    seen = []

    class NewParams(contract.AttributionRequest):
        """A method of gradients."""

        baseline: str = "zero"

    def run_new(params, session):
        seen.append(params)
        subject = {name: getattr(params, name) for name in ("model", "prompt", "target", "foil")}
        return feature_ablation.run(contract.PerturbationRequest(**subject), session)

    found = SimpleNamespace(params_model=NewParams, name="new", path="explain/new", result=contract.Attribution)
    known = {**contract.comparable_methods(), "new": found}
    for module in (contract, compare_methods):
        monkeypatch.setattr(module, "comparable_methods", lambda: known)
    whole = compare_methods.implementation_of
    monkeypatch.setattr(compare_methods, "implementation_of", lambda m: run_new if m is found else whole(m))
    result = run(PATH, **ASKED, baseline="pad", methods=["shap", {"method": "new", "params": {"baseline": "mean"}}])
    assert [row.label for row in result.methods] == ["shap", "new"]
    assert seen[0].baseline == "mean"
    assert result.baseline.choice == "pad"


def test_the_notes_of_a_method_name_it_and_those_of_the_prompt_stand_once(run):
    methods = ["feature-ablation", "deeplift"]
    result = run("explain/compare-methods", prompt="The food was <mask> great", target=" but", methods=methods)
    assert [note.partition(" ")[0] for note in result.notes] == ["feature-ablation:", "deeplift:", "The"]
