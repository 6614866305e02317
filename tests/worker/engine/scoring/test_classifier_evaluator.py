"""The value function of classifiers against one plain forward per row."""

import numpy as np
import pytest
import torch

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.blocks.units import ReplacementText
from explaind.contract.errors import OutOfMemory
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.engine.scoring.value_function import ValueFunction
from explaind_worker.models.loading.classifier_check import check_classifier
from tests.support.classifiers import FAMILIES
from tests.support.reference import row_logits

PROMPT = "Once upon a time Mary gave a drink"
ABSENT = {"mask": "mask", "pad": "pad", "remove": "remove", "text": ReplacementText(text=" and the")}


def game(model, baseline="remove", prompt=PROMPT):
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=prompt))
    unit_map = units_of(encoded, "word")
    return Masker(encoded, unit_map, replacement_for(baseline, model.encoder, encoded, unit_map))


def value_function(model, players, asked=(2, 0), *, limits=None, meter=None, report_progress=lambda *_: None):
    continuations = [(index,) for index in asked]
    return ValueFunction(
        model, players, continuations, meter=meter or CostMeter(), report_progress=report_progress, limits=limits
    )


def some(players, count=14, seed=0):
    return np.random.default_rng(seed).random((count, players.count)) < 0.5


def plain(model, players, coalitions):
    """Logits [coalition, class], a forward each."""
    return np.stack([row_logits(model, row) for row in players.rows(coalitions)])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("baseline", ABSENT)
def test_equals_one_forward_per_row(classifier, family, baseline):
    """Rows of many lengths, padded in batches of four or so; a padding token as stand-in is read as the model does."""
    model = classifier(family)
    players = game(model, ABSENT[baseline])
    coalitions = some(players)
    scores = value_function(model, players, limits=BatchLimits(60, 1 << 20))(coalitions)
    expected = plain(model, players, coalitions)
    np.testing.assert_allclose(scores.logits, expected[:, [2, 0]], atol=1e-4)
    logprobs = expected - np.logaddexp.reduce(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(scores.logprobs, logprobs[:, [2, 0]], atol=1e-4)
    assert np.ptp(scores.logits) > 0.1, "the coalitions must differ for this to show anything"


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_causal_body_without_a_padding_token(classifier, family):
    model = classifier(family, pad_token_id=None)
    assert model.network.config.pad_token_id is None
    players = game(model)
    coalitions = some(players)
    scores = value_function(model, players)(coalitions)
    np.testing.assert_allclose(scores.logits, plain(model, players, coalitions)[:, [2, 0]], atol=1e-4)


def test_what_padding_would_change_is_batched_by_length(classifier):
    """A network that forgets its mask: it is found out, and right all the same; padded it would be wrong."""
    model = classifier("bert")
    players = game(model)
    coalitions = some(players, 30)
    limits = BatchLimits(10**6, 10**6)

    def forget(_module, args, kwargs):
        return args, kwargs | {"attention_mask": None}

    handle = model.network.bert.register_forward_pre_hook(forget, with_kwargs=True)
    try:
        found = check_classifier(model.network, model.encoder)
        assert found["pads"] is False
        expected = plain(model, players, coalitions)[:, [2, 0]]
        padded = value_function(model, players, limits=limits)(coalitions)
        assert np.abs(padded.logits - expected).max() > 1e-2
        model.pads, meter = False, CostMeter()
        apart = value_function(model, players, limits=limits, meter=meter)(coalitions)
        np.testing.assert_allclose(apart.logits, expected, atol=1e-4)
        assert meter.forwards == len({len(row) for row in players.rows(coalitions)})
    finally:
        model.pads = True
        handle.remove()


def test_the_batch_size_does_not_matter(classifier):
    model = classifier("electra")
    players = game(model)
    coalitions = some(players, 40)
    small = value_function(model, players, limits=BatchLimits(1, 1))(coalitions)
    large = value_function(model, players, limits=BatchLimits(10**6, 10**9))(coalitions)
    np.testing.assert_allclose(small.logprobs, large.logprobs, atol=1e-5)


def test_equal_rows_are_evaluated_once_for_all_classes(classifier):
    model, meter = classifier("bert"), CostMeter()
    players = game(model, "mask")
    value = value_function(model, players, (0, 1, 2), meter=meter)
    coalitions = np.zeros((50, players.count), dtype=bool)
    coalitions[25:, 0] = True
    first = value(coalitions)
    length = len(next(players.rows(coalitions)))
    assert (meter.forwards, meter.tokens_evaluated, meter.tokens_saved) == (1, 2 * length, 48 * length)
    again = value(coalitions[::-1])
    assert meter.forwards == 1
    np.testing.assert_array_equal(again.logits, first.logits[::-1])


def test_limits_bound_each_forward(classifier):
    model = classifier("distilbert")
    players, seen = game(model), []
    handle = model.network.distilbert.register_forward_pre_hook(
        lambda _m, args, kwargs: seen.append(tuple((args[0] if args else kwargs["input_ids"]).shape)),
        with_kwargs=True,
    )
    try:
        coalitions = some(players, 30)
        value_function(model, players, limits=BatchLimits(64, 1 << 30))(coalitions)
        assert max(rows * tokens for rows, tokens in seen) <= 64
        seen.clear()
        value_function(model, players, limits=BatchLimits(1 << 30, 2 * len(model.classes)))(coalitions)
        assert max(rows for rows, _ in seen) == 2
        seen.clear()
        footprint = Footprint.of(model)
        room = footprint.forward_bytes(4, players.longest, cached=True)
        value_function(model, players, limits=BatchLimits(1 << 30, 1 << 30, bytes=room))(coalitions)
        assert 4 <= max(rows for rows, _ in seen) < 20
        assert all(footprint.forward_bytes(rows, tokens, cached=True) <= room for rows, tokens in seen)
    finally:
        handle.remove()


def test_checkpoint_may_stop_the_work_between_batches(classifier):
    model, seen = classifier("bert"), []
    players = game(model)

    class Stop(Exception):
        pass

    def report_progress(phase, done, total, unit):
        seen.append((phase, done, total, unit))
        if done >= 10:
            raise Stop

    with pytest.raises(Stop):
        value_function(model, players, limits=BatchLimits(40, 1 << 30), report_progress=report_progress)(
            some(players, 60)
        )
    assert seen[0] == ("evaluating", 0, 60, "coalitions")
    assert 10 <= seen[-1][1] < 60
    assert not model.lock.locked()


@pytest.mark.parametrize("family", ["roberta", "llama"])
def test_out_of_memory_halves_the_batch_and_goes_on(classifier, family):
    model = classifier(family)
    players, meter, seen = game(model), CostMeter(), []
    coalitions = some(players, 12)
    expected = value_function(model, players)(coalitions)

    def exhaust(_module, args, kwargs, _output):
        rows = len(args[0] if args else kwargs["input_ids"])
        if rows > most:
            raise torch.OutOfMemoryError("no more memory")
        seen.append(rows)

    handle = model.network.base_model.register_forward_hook(exhaust, with_kwargs=True)
    try:
        most = 5
        scores = value_function(model, players, meter=meter)(coalitions)
        most = 0
        with pytest.raises(OutOfMemory):
            value_function(model, players)(coalitions[:1])
    finally:
        handle.remove()
    np.testing.assert_allclose(scores.logits, expected.logits, atol=1e-5)
    assert max(seen) <= 5
    assert meter.backoffs >= 1
    assert not model.lock.locked()


def test_rules_of_several_classes_and_of_numbers(classifier):
    model = classifier("bert", problem_type="multi_label_classification")
    players = game(model)
    coalitions = some(players)
    expected = plain(model, players, coalitions)
    scores = value_function(model, players, (1,))(coalitions)
    np.testing.assert_allclose(scores.logprobs[:, 0], -np.log1p(np.exp(-expected[:, 1])), atol=1e-4)
    number = classifier("bert", id2label={0: "SCORE"}, label2id={"SCORE": 0})
    scores = value_function(number, players, (0,))(coalitions)
    np.testing.assert_allclose(scores.logits, plain(number, players, coalitions), atol=1e-4)
    assert np.isnan(scores.logprobs).all()


def test_bfloat16_answers_within_its_rounding(classifier):
    exact, model = classifier("bert"), classifier("bert", fields={"dtype": "bfloat16"})
    assert model.dtype == "bfloat16"
    players = game(model)
    coalitions = some(players)
    scores = value_function(model, players)(coalitions)
    expected = plain(exact, players, coalitions)[:, [2, 0]]
    assert np.abs(scores.logits - expected).max() < 0.05 * np.abs(expected).max()
