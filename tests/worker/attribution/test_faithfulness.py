"""Faithfulness: on games whose answer is known, against plain forwards, and where an attribution is right or wrong."""

import json
import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from explaind.contract.blocks.attribution import AttributionRequest
from explaind.contract.blocks.attribution_result import Faithfulness, Replacement
from explaind.contract.blocks.faithfulness import FaithfulnessOptions, removal_counts
from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.blocks.units import ReplacementText, Unit
from explaind.contract.errors import NoBaselineToken, NonFiniteScore, TargetTooLong
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import DEMO
from explaind_worker.attribution.faithfulness import faithfulness_of, removal_game
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.models.demo.cases import generate_cases
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.text import tokenizer
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session
from tests.support.reference import token_logprobs

PROMPT = "When Mary and John went to the store, John gave a drink to"
MEASURES = ("comprehensiveness_mean", "sufficiency_mean", "deletion_area", "insertion_area")


class SyntheticGame:
    """A game with a score of our own."""

    replacement = Replacement(choice="mask")

    def __init__(self, units, score):
        self.units = [Unit(text=str(i), start=i, end=i + 1) for i in range(units)]
        self.score = score
        self.asked = []

    def play(self, coalitions):
        self.asked.append(coalitions)
        scores = np.array([self.score(row) for row in coalitions])
        return np.stack([scores - 1.0, np.ones_like(scores)], axis=1)  # two columns that add up to the score


def additive(worth, base=-3.0):
    return SyntheticGame(len(worth), lambda present: base + float(present @ worth))


def checked(values, game, **options):
    return faithfulness_of(values, game, FaithfulnessOptions(**options))


def numbers(faithfulness):
    return [getattr(faithfulness, name) for name in MEASURES]


@pytest.mark.parametrize("units", [12, 25, 120])
def test_the_values_of_an_additive_game_beat_every_random_order(units):
    worth = np.random.default_rng(units).normal(size=units)
    found = checked(worth, additive(worth), random_orders=30)
    assert [number.beats for number in numbers(found)] == [1.0] * 4
    assert all(number.z > 1 for number in numbers(found))


def test_no_order_at_all_beats_that_of_an_additive_game():
    worth = np.array([2.0, -1.0, 0.5, 0.1, -0.3])
    best = checked(worth, additive(worth))
    for order in permutations(range(5)):
        other = checked(-np.argsort(order), additive(worth))
        assert best.deletion.area <= other.deletion.area + 1e-12
        assert best.insertion.area >= other.insertion.area - 1e-12
        assert best.comprehensiveness_mean.value >= other.comprehensiveness_mean.value - 1e-12
        assert best.sufficiency_mean.value <= other.sufficiency_mean.value + 1e-12


def test_a_reversed_order_is_worse_than_random_and_a_shuffled_one_is_near():
    worth = np.random.default_rng(0).normal(size=30)
    reverse = checked(-worth, additive(worth), random_orders=50)
    assert [number.beats for number in numbers(reverse)] == [0.0] * 4
    assert all(number.z < -1.5 for number in numbers(reverse))
    z = []
    for seed in range(40):
        shuffled = np.random.default_rng(seed).permutation(worth)
        found = checked(shuffled, additive(worth), random_orders=50, seed=seed)
        z.append([number.z for number in numbers(found)])
    assert np.abs(np.mean(z, axis=0)).max() < 0.5
    assert 0.6 < np.std(z, axis=0).min() < np.std(z, axis=0).max() < 1.6


def test_curves_begin_and_end_at_the_full_and_the_empty_score():
    worth = np.array([4.0, 2.0, 1.0, -1.0])
    found = checked(worth, additive(worth))
    assert found.deletion.x == [0, 0.25, 0.5, 0.75, 1]
    assert found.deletion.y == [3, -1, -3, -4, -3]
    assert found.insertion.y == [-3, 1, 3, 4, 3]
    assert found.random_deletion.y[0] == found.random_insertion.y[-1] == 3
    assert found.random_deletion.y[-1] == found.random_insertion.y[0] == -3
    assert found.deletion.area == pytest.approx((3 / 2 - 1 - 3 - 4 - 3 / 2) / 4)
    assert found.deletion_area.value == found.deletion.area
    assert found.shares == [0.01, 0.05, 0.1, 0.2, 0.5]
    assert found.comprehensiveness == [4, 4, 4, 4, 6]
    assert found.sufficiency == [2, 2, 2, 2, 0]
    assert found.comprehensiveness_mean.value == pytest.approx(22 / 5)


def test_one_unit_is_all_there_is():
    found = checked([0.7], additive(np.array([2.0])))
    assert found.deletion.y == [-1, -3]
    assert found.comprehensiveness == [2.0] * 5, "of all units: full minus empty"
    assert found.sufficiency == [0.0] * 5, "of all units: nothing is lost"
    for number in numbers(found):
        assert (number.z, number.beats, number.random_deviation) == (None, 0.5, 0.0)
    json.loads(found.model_dump_json(), parse_constant=pytest.fail)


def test_two_units_have_two_orders():
    right = checked([2.0, 1.0], additive(np.array([2.0, 1.0])), random_orders=400)
    wrong = checked([1.0, 2.0], additive(np.array([2.0, 1.0])), random_orders=400)
    assert right.deletion.y == [0, -2, -3]
    assert wrong.deletion.y == [0, -1, -3]
    assert right.deletion_area.beats == pytest.approx(0.75, abs=0.06), "half of the orders tie"
    assert right.deletion_area.beats - wrong.deletion_area.beats == pytest.approx(0.5)
    assert right.deletion_area.z == pytest.approx(1.0, abs=0.15)
    worse = 2 * wrong.deletion_area.beats
    assert right.deletion_area.random_deviation == pytest.approx(0.5 * math.sqrt(worse * (1 - worse) * 400 / 399))
    assert right.random_deletion.area == pytest.approx(right.deletion_area.random_mean), "of the random orders alone"
    assert right.random_insertion.area == pytest.approx(right.insertion_area.random_mean)


def test_ties_are_broken_by_place_in_the_prompt():
    game = additive(np.array([0.0, 1.0, 2.0]))
    found = checked([5.0, 5.0, 5.0], game)
    assert found.deletion.y == [0, 0, -1, -3]
    assert found == checked([0.0, 0.0, 0.0], game)


def test_a_score_that_never_changes_tells_no_order_from_another():
    found = checked(np.arange(6.0), SyntheticGame(6, lambda _: 1 / 3))
    assert {number.z for number in numbers(found)} == {None}
    assert {number.beats for number in numbers(found)} == {0.5}


def test_everything_is_asked_at_once_and_bounded():
    game = additive(np.random.default_rng(0).normal(size=300))
    found = checked(np.arange(300.0), game, random_orders=7, steps=10)
    (asked,) = game.asked
    assert found.evaluations == len(asked) == len(np.unique(asked, axis=0))
    assert found.evaluations <= FaithfulnessOptions(random_orders=7, steps=10).most_evaluations(300) < 200
    assert found.deletion.x == [count / 300 for count in removal_counts(300, 10)]


@pytest.mark.parametrize("baseline", ["mask", "remove"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_curves_equal_those_of_plain_forwards(run, loaded, tiny_model, family, baseline):
    model, target = loaded(family), " Mary went"
    result = run(
        "explain/feature-ablation", entry=tiny_model(family), prompt=PROMPT, target=target, foil=" the store",
        baseline=baseline, faithfulness={"random_orders": 3, "seed": 5},
    )  # fmt: skip
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    unit_map = units_of(encoded, "word")
    players = Masker(encoded, unit_map, replacement_for(baseline, model.encoder, encoded, unit_map))
    ids, foil = (model.encoder.continuation(encoded, text) for text in (target, " the store"))

    def plain(present):
        row = next(iter(players.rows(np.isin(np.arange(players.count), list(present))[None])))
        return sum(token_logprobs(model, row, ids)) - sum(token_logprobs(model, row, foil))

    units = range(players.count)
    best_first = sorted(units, key=lambda unit: (-result.values[unit], unit))
    deletion = [plain(set(best_first[count:])) for count in range(len(units) + 1)]
    insertion = [plain(set(best_first[:count])) for count in range(len(units) + 1)]
    found = result.faithfulness
    np.testing.assert_allclose(found.deletion.y, deletion, atol=3e-4)
    np.testing.assert_allclose(found.insertion.y, insertion, atol=3e-4)
    np.testing.assert_allclose(found.deletion.x, np.arange(len(units) + 1) / len(units))
    top = [max(1, math.ceil(round(share * len(units), 9))) for share in (0.01, 0.05, 0.1, 0.2, 0.5)]
    np.testing.assert_allclose(found.comprehensiveness, [deletion[0] - deletion[k] for k in top], atol=3e-4)
    np.testing.assert_allclose(found.sufficiency, [deletion[0] - insertion[k] for k in top], atol=3e-4)
    assert found.deletion.area == pytest.approx(np.trapezoid(deletion, dx=1 / len(units)), abs=3e-4)
    assert found.deletion.y[0] == pytest.approx(result.full_value)
    assert found.deletion.y[-1] == pytest.approx(result.base_value)
    assert found.baseline == result.baseline


def test_what_the_method_has_evaluated_is_free(pool, tiny_model):
    method, entry = find_method("explain/shap"), tiny_model("llama")
    asked = {"model": entry.name, "prompt": "Mary and John went", "target": " to", "algorithm": "exact"}
    seen = []
    for faithfulness in (False, {"random_orders": 100}):
        params = method.params_model.model_validate({**asked, "faithfulness": faithfulness})
        phases = []
        with Session(entry, pool, lambda phase, *_, to=phases: to.append(phase)) as session:
            result = implementation_of(method)(params, session)
            seen.append((session.job.meter.forwards, session.job.meter.tokens_evaluated))
    assert seen[0] == seen[1]
    assert result.faithfulness.evaluations <= 16
    assert phases[-1] == "measuring faithfulness: evaluating"


def test_a_generated_target_is_generated_once(pool, tiny_model):
    method, entry = find_method("explain/feature-ablation"), tiny_model("llama")
    target = {"generate": {"max_new_tokens": 4}}
    params = method.params_model.model_validate(
        {"model": entry.name, "prompt": PROMPT, "target": target, "faithfulness": True}
    )
    phases = []
    with Session(entry, pool, lambda phase, done, *_: phases.append((phase, done))) as session:
        result = implementation_of(method)(params, session)
    assert phases.count(("generating", 0)) == 1
    assert result.faithfulness.deletion.y[0] == pytest.approx(result.full_value)


def test_it_is_there_only_where_it_was_asked_for(run):
    assert run("explain/shap", prompt="Mary and John", target=" went").faithfulness is None


@pytest.mark.parametrize("prompt", ["x", "great great great", "naïve 👨‍👩‍👧 日本", "food " * 60])
def test_odd_prompts(run, prompt):
    for units in ("token", "word"):
        asked = {"prompt": prompt, "target": " the", "units": units, "faithfulness": {"random_orders": 2}}
        found = run("explain/feature-ablation", **asked).faithfulness
        assert found == Faithfulness.model_validate_json(found.model_dump_json())
        assert all(math.isfinite(y) for y in found.deletion.y + found.insertion.y)


@pytest.mark.parametrize("score", ["logprob", "prob", "logit"])
def test_it_is_told_in_the_units_of_the_score(run, score):
    result = run("explain/feature-ablation", prompt=PROMPT, target=" Mary", score=score, faithfulness=True)
    curve = result.faithfulness.deletion.y
    assert (curve[0], curve[-1]) == pytest.approx((result.full_value, result.base_value))
    if score == "prob":
        assert all(0 <= y <= 1 for y in curve)


def test_labels_and_messages(run):
    messages = [{"role": "user", "content": "The food was great"}, {"role": "assistant", "content": "I like"}]
    target = {"labels": [" the food", " red"], "explain": " red"}
    result = run("explain/feature-ablation", messages=messages, target=target, faithfulness=True)
    assert result.faithfulness.deletion.y[0] == pytest.approx(result.full_value)


def test_another_baseline_than_the_methods_own(run):
    asked = {"prompt": PROMPT, "target": " Mary", "baseline": "mask"}
    own = run("explain/feature-ablation", **asked, faithfulness=True)
    other = run("explain/feature-ablation", **asked, faithfulness={"baseline": "remove"})
    assert (own.faithfulness.baseline.choice, other.faithfulness.baseline.choice) == ("mask", "remove")
    assert own.values == other.values
    removed = run("explain/feature-ablation", **{**asked, "baseline": "remove"})
    assert other.faithfulness.deletion.y[-1] == pytest.approx(removed.base_value, abs=1e-4)


class GradientRequest(AttributionRequest):
    """One whose baseline may be of embeddings that no token has."""

    baseline: ReplacementText | str = "mask"


@pytest.mark.parametrize(
    ("baseline", "removed_with", "text"),
    [
        ("mask", None, "<mask>"),
        ("pad", None, "<pad>"),
        ("zero", None, "<mask>"),
        (ReplacementText(text=" red"), None, " red"),
        ("pad", "mask", "<mask>"),
    ],
)
def test_a_request_by_gradients_is_checked_with_its_baseline(pool, tiny_model, baseline, removed_with, text):
    request = GradientRequest(model="tiny-llama", prompt="Mary and John", baseline=baseline)
    with Session(tiny_model("llama"), pool, lambda *_: None) as session:
        for asked in (request, AttributionRequest(model="m", prompt="Mary and John")):
            game = removal_game(asked, FaithfulnessOptions(baseline=removed_with), session)
            assert game.replacement.text == (text if asked is request else "<mask>")


@pytest.mark.parametrize(
    ("error", "pointer", "fields"),
    [
        (TargetTooLong, "/target", {"target": " food" * 200}),
        (NoBaselineToken, "/faithfulness/baseline", {"faithfulness": {"baseline": "remove"}}),
        (NoBaselineToken, "/baseline", {"faithfulness": True, "baseline": "remove"}),
    ],
)
def test_it_is_refused_before_the_weights_are_loaded(tiny_model, monkeypatch, error, pointer, fields):
    fresh, method = ModelPool(), find_method("explain/feature-ablation")
    asked = {"model": "m", "prompt": "Mary and", "target": " the", "faithfulness": True, **fields}
    if error is NoBaselineToken:  # a model without a start token
        prompt = tokenizer.Encoder.prompt

        def without_start(self, request):
            made = prompt(self, request)
            units = {name: getattr(made, name)[1:] for name in ("token_ids", "spans", "special")}
            return replace(made, **units)

        monkeypatch.setattr(tokenizer.Encoder, "prompt", without_start)
    with pytest.raises(error) as caught:
        implementation_of(method)(
            method.params_model.model_validate(asked), Session(tiny_model("llama"), fresh, lambda *_: None)
        )
    assert [e.pointer for e in caught.value.errors] == [pointer]
    assert fresh.resident() == []


def test_a_model_that_answers_nan_fails_the_check(loaded, run):
    handle = loaded("llama").anatomy.unembedding.register_forward_hook(lambda _m, _a, output: output * float("nan"))
    try:
        with pytest.raises(NonFiniteScore):
            run("explain/feature-ablation", prompt=PROMPT, target=" the", faithfulness=True)
    finally:
        handle.remove()


@pytest.mark.parametrize("task", ["sentiment", "indirect_object", "two_digit_addition"])
def test_shapley_values_beat_random_orders_where_the_cause_is_planted(pool, task):
    method, options = find_method("explain/shap"), FaithfulnessOptions(random_orders=20)
    beats, shuffled = [], []
    for case in generate_cases(task, 4, seed=11, split="heldout"):
        asked = {"model": "demo", "prompt": case.prompt, "target": case.answer, "foil": case.foil}
        params = method.params_model.model_validate({**asked, "faithfulness": options})
        with Session(DEMO, pool, lambda *_: None) as session:
            result = implementation_of(method)(params, session)
            game = removal_game(params, options, session)
            for seed in range(4):
                values = np.random.default_rng(seed).permutation(result.values)
                shuffled.append([number.beats for number in numbers(faithfulness_of(values, game, options))])
        beats.append([number.beats for number in numbers(result.faithfulness)])
    assert np.mean(beats, axis=0).min() > 0.85
    assert 0.3 < np.mean(shuffled) < 0.7, "negative control"
