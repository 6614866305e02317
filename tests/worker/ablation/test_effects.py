"""The first pass by gradients, generated answers, intervals, and what a dry run counts of ablations and patches."""

import numpy as np
import pytest
import torch
from scipy import stats

from explaind.contract.errors import GradientsUnavailable
from explaind_jobs.catalogue import DEMO, ModelEntry
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.structure.packed_gradients import GradientCheck
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session
from explaind_worker.statistics.paired_proportions import paired_difference
from explaind_worker.statistics.t_intervals import mean_interval, t_probability, t_quantile
from explaind_worker.statistics.wilson import wilson
from tests.worker.methods.explain.test_head_ablation import RAGGED, asked, indirect_objects
from tests.worker.methods.plain_runs import Plain
from tests.worker.session.test_estimate import carried_out, estimated

STEP = 5e-3  # norms compute in float32 whatever the model's type: smaller steps drown in that


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gpt_neox"])
@pytest.mark.parametrize("positions", ["all", "last"])
def test_the_first_pass_is_the_slope_of_the_metric(run, loaded, tiny_model, family, positions):
    """Against central differences in float64: the metric as every head is turned down a little."""
    result = run(
        "explain/head-ablation", entry=tiny_model(family), questions={"questions": RAGGED[1:]}, positions=positions,
        first_pass={"top_k": 3},
    )  # fmt: skip
    plain, ids = Plain(loaded(family)), asked(loaded, family, RAGGED[1:])

    def scaled(share, layer, head):
        """The mean metric with the head turned to this share."""
        metrics = []
        for prompt, answer, _ in ids:
            factors = torch.ones(len(prompt) + len(answer), 1, dtype=torch.float64)
            factors[len(prompt) - 1 if positions == "last" else 0 :] = share

            def change(passing, factors=factors):
                passing[:, head] *= factors
                return passing

            metrics.append(plain.logprob(prompt, answer, [(layer, "z", change)]))
        return np.mean(metrics)

    for layer, head in [(0, 1), (1, 3), (2, 0)]:
        slope = (scaled(1 + STEP, layer, head) - scaled(1 - STEP, layer, head)) / (2 * STEP)
        assert result.first_pass.effects[layer][head] == pytest.approx(slope, abs=1e-3)


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
def test_the_first_pass_leaves_the_strongest_heads_to_exact_runs(run, ablation):
    common = {
        "entry": DEMO, "questions": indirect_objects(4), "metric": "logit_difference", "ablation": ablation,
    }  # fmt: skip
    exact = run("explain/head-ablation", **common)
    looked = run("explain/head-ablation", **common, first_pass={"top_k": 6})
    approximate = np.array(looked.first_pass.effects)
    assert len(looked.ranking.effects) == 6
    weakest = min(abs(approximate[head]) for head in looked.first_pass.verified)
    assert sum(abs(approximate.flatten()) >= weakest) == 6
    for layer, head in looked.first_pass.verified:
        assert looked.grid[layer][head] == pytest.approx(exact.grid[layer][head], abs=1e-4)
    every = run("explain/head-ablation", **common, first_pass={"top_k": 32})
    np.testing.assert_allclose(every.grid, exact.grid, atol=1e-4)
    wanted, _ = stats.spearmanr(approximate.flatten(), np.array(exact.grid).flatten())
    assert every.first_pass.spearman == pytest.approx(wanted, abs=1e-6)
    assert every.first_pass.spearman > 0.5


def test_a_first_pass_needs_gradients(pool, tiny_model, monkeypatch):
    entry = tiny_model("llama", quantization="nf4")
    with pool.pin(entry) as model:
        monkeypatch.setattr(model, "gradients", GradientCheck("model.layers.0.mlp.up_proj", 0.4))
        with pytest.raises(GradientsUnavailable, match="off by 40% of their size"):
            carried_out(pool, entry, "explain/head-ablation", {"first_pass": {}})


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_accuracy_is_that_of_plainly_generated_answers(run, loaded, tiny_model, family):
    """The right answers are what the model says itself, so that it is right about all until something is ablated."""
    plain, tokens = Plain(loaded(family)), 3
    encoder, head = loaded(family).encoder, (1, 2)

    def said(prompt, changes=()):
        ids = list(prompt)
        for _ in range(tokens):
            ids.append(int(plain.logits(ids, changes)[-1].argmax()))
        return encoder.text_of(ids[len(prompt) :], after=prompt)

    prompts = [encoder.tokenizer.encode(q["question"]) for q in RAGGED]
    clean = [said(prompt) for prompt in prompts]

    def gone(passing):
        passing[:, head[1]] = 0.0
        return passing

    ablated = [said(prompt, [(head[0], "z", gone)]) for prompt in prompts]
    questions = [{"question": q["question"], "answer": text} for q, text in zip(RAGGED, clean, strict=True)]
    result = run(
        "explain/head-ablation", entry=tiny_model(family), questions={"questions": questions}, metric="accuracy",
        max_new_tokens=tokens, heads=[head], answer="first_line",
    )  # fmt: skip
    assert result.failures.clean_said == clean
    assert result.failures.ablated_said == [ablated]
    wrong = sum(result.failures.ablated[0])
    assert wrong == round(len(RAGGED) * (1 - np.mean(result.clean) + result.grid[head[0]][head[1]]))


def test_answers_fail_in_ways_that_are_told(run):
    result = run(
        "explain/head-ablation", entry=DEMO, questions="arithmetic", metric="accuracy", max_new_tokens=4,
        heads=[[0, 0], [3, 7]], greedy=1,
    )  # fmt: skip
    assert result.clean_mean == np.mean(result.clean)
    assert set(result.clean) <= {0.0, 1.0}
    right, count = int(sum(result.clean)), len(result.clean)
    assert (result.clean_low, result.clean_high) == wilson(right, count, 0.95), "as evaluate/questions says it"
    for found, effects in (
        (
            result.ranking,
            [result.effects[a][b] for a, b in zip(result.ranking.layers, result.ranking.heads, strict=True)],
        ),
        (result.greedy, result.greedy.by_question),
    ):
        for low, high, effect in zip(found.low, found.high, effects, strict=True):
            clean, ablated = np.array(result.clean), np.array(result.clean) - effect
            table = [int(((clean == a) & (ablated == b)).sum()) for a, b in ((1, 1), (1, 0), (0, 1), (0, 0))]
            assert (low, high) == paired_difference(*table, 0.95)
            assert -1 <= low <= np.mean(effect) <= high <= 1
    assert sum(result.failures.clean) == result.clean.count(0.0)
    assert result.failures.clean_said[0] == " 12"
    assert len(result.greedy.heads) == 1
    for counts, name in zip(result.failures.ablated, result.failures.components, strict=True):
        layer, head = (int(word.rstrip(",")) for word in name.split()[1::2])
        assert sum(counts) / 8 == pytest.approx(1 - result.clean_mean + result.grid[layer][head])


def test_intervals_are_those_of_the_paired_t_test():
    rng = np.random.default_rng(0)
    clean, ablated = rng.normal(size=(2, 7))
    mean, low, high = mean_interval((clean - ablated)[None], 0.9)
    told = stats.ttest_rel(clean, ablated).confidence_interval(0.9)
    np.testing.assert_allclose((low[0], high[0]), (told.low, told.high))
    assert mean[0] == pytest.approx(np.mean(clean - ablated))
    for freedom in (1, 2, 3, 4, 9, 30, 99):
        assert t_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-10)
        assert t_probability(1.3, freedom) == pytest.approx(stats.t.cdf(1.3, freedom), rel=1e-12)
    assert np.isnan(mean_interval(np.ones((2, 1)), 0.95)[1]).all()


def test_intervals_hold_as_often_as_they_say():
    samples = np.random.default_rng(1).normal(0.3, 1.0, size=(4000, 5))
    _, low, high = mean_interval(samples, 0.8)
    assert np.mean((low <= 0.3) & (high >= 0.3)) == pytest.approx(0.8, abs=0.02)


def test_one_question_has_no_interval(run, tiny_model):
    result = run("explain/layer-ablation", entry=tiny_model("llama"), questions={"questions": RAGGED[:1]})
    assert result.ranking.low == [None] * 9
    assert result.clean_low is None


PATCH = {"prompt": "When Mary and John went to the store, John gave", "target": " Mary", "foil": " John"}
PATCH["corrupted"] = PATCH["prompt"].replace(", John", ", Mary")


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("explain/head-ablation", {"questions": "logic"}),
        ("explain/head-ablation", {"ablation": "mean", "heads": [[0, 1], [3, 3]], "sets": [[[0, 0], [2, 0]]]}),
        ("explain/head-ablation", {"ablation": "resample", "first_pass": {"top_k": 64}}),
        ("explain/layer-ablation", {"ablation": "resample", "positions": "last"}),
        ("explain/layer-ablation", {"components": ["block"], "layers": [3]}),
        ("explain/activation-patching", PATCH),
        ("explain/activation-patching", {**PATCH, "direction": "noise", "grids": ["z"], "layers": [1, 2]}),
    ],
)
def test_what_is_counted_is_what_happens(pool, path, params):
    said = estimated(pool, DEMO, path, params)
    result, meter = carried_out(pool, DEMO, path, params)
    told = (said.forwards, said.tokens_evaluated, said.tokens_saved, said.evaluations)
    assert told == (meter.forwards, meter.tokens_evaluated, meter.tokens_saved, result.evaluations)
    assert said.fits


@pytest.mark.parametrize(
    "params", [{"greedy": 3}, {"first_pass": {"top_k": 4}, "greedy": 2}, {"metric": "accuracy", "max_new_tokens": 3}]
)
def test_what_depends_on_the_answers_is_counted_at_its_most(pool, params):
    said = estimated(pool, DEMO, "explain/head-ablation", params)
    _, meter = carried_out(pool, DEMO, "explain/head-ablation", params)
    assert meter.tokens_evaluated <= said.tokens_evaluated <= 4 * meter.tokens_evaluated


def test_a_recording_that_leaves_no_room_is_refused(tiny_model):
    from explaind.contract.errors import RequestTooLarge
    from explaind.contract.registry import find_method
    from explaind_worker.models.loading.loading import size_of
    from explaind_worker.models.pool.memory_budget import MemoryBudget

    entry: ModelEntry = tiny_model("llama")
    method = find_method("explain/layer-ablation")
    outcomes = []
    for ablation in ("zero", "resample"):
        tight = ModelPool(MemoryBudget(size_of(entry) + 400_000))
        request = method.params_model.model_validate(
            {"model": entry.name, "questions": {"questions": RAGGED * 8}, "ablation": ablation}
        )
        with Session(entry, tight, lambda *_: None) as session:
            try:
                implementation_of(method)(request, session)
                outcomes.append("ablated")
            except RequestTooLarge as error:
                outcomes.append(error.code)
    assert outcomes == ["ablated", "request_too_large"]
