from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.lenses import decoding
from explaind_worker.lenses.decoding import decode
from tests.support.families import REPRESENTATIVES

READINGS, PLACES = 3, 5


class Opaque(nn.Module):
    """An unembedding that cannot be cut: what a quantized one looks like."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, hidden):
        return self.inner(hidden)


def rows_of(model, readings=READINGS, places=PLACES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(readings, places, model.anatomy.hidden, generator=generator)


@torch.no_grad()
def logprobs_of(model, rows):
    """The plain way, in float64: [reading, place, vocabulary]."""
    anatomy = model.anatomy
    return anatomy.final_logits(anatomy.unembedding(anatomy.final_norm(rows))).double().log_softmax(-1)


def assert_equals_the_plain_way(model, rows, decoded, tracked=None, final=-1):
    logprobs = logprobs_of(model, rows)
    top = decoded.top_ids.shape[-1]
    best = logprobs.topk(top, dim=-1)
    np.testing.assert_allclose(decoded.top_logprobs, best.values, atol=2e-5)
    np.testing.assert_allclose(logprobs.gather(-1, torch.tensor(decoded.top_ids)), best.values, atol=2e-5)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    np.testing.assert_allclose(decoded.entropy, entropy, atol=5e-5)
    ours = logprobs[final]
    divergence = (ours.exp() * (ours - logprobs)).sum(-1)
    np.testing.assert_allclose(decoded.divergence, divergence, atol=5e-5, rtol=1e-4)
    if tracked is not None:
        index = tracked.expand(*logprobs.shape[:2], -1) if tracked.dim() == 1 else tracked.expand(len(rows), -1, -1)
        own = logprobs.gather(-1, index.clamp(min=0))
        ranks = (logprobs[..., None, :] > own[..., None]).sum(-1)
        np.testing.assert_allclose(decoded.tracked_logprobs, own.masked_fill(index < 0, torch.nan), atol=2e-5)
        np.testing.assert_array_equal(decoded.tracked_ranks, ranks.masked_fill(index < 0, -1))


@pytest.fixture(params=["whole", "tiles", "ragged", "opaque"])
def cut(request, monkeypatch):
    """How the vocabulary of some 330 tokens is cut; what the model becomes for it."""
    if request.param in {"tiles", "ragged"}:
        monkeypatch.setattr(decoding, "CPU_TILE", 1)
        monkeypatch.setattr(decoding, "LEAST_TOKENS", {"tiles": 64, "ragged": 77}[request.param])
    if request.param == "opaque":
        monkeypatch.setattr(decoding, "OPAQUE_TILE", 700)
        return lambda model: replace(
            model, anatomy=replace(model.anatomy, unembedding=Opaque(model.anatomy.unembedding))
        )
    return lambda model: model


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_every_number_is_that_of_the_whole_softmax(loaded, family, cut):
    model = loaded(family)
    rows, tracked = rows_of(model), torch.tensor([5, 64, 76, 77, model.anatomy.vocabulary - 1])
    decoded = decode(cut(model), rows, top=7, tracked=tracked, meter=CostMeter())
    assert_equals_the_plain_way(model, rows, decoded, tracked)
    assert decoded.divergence[-1].max() == 0.0


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_places_track_tokens_of_their_own_or_none(loaded, family, cut):
    model = loaded(family)
    tracked = torch.tensor([[5, -1], [-1, -1], [9, 300], [-1, 63], [64, 64]])
    rows = rows_of(model)
    decoded = decode(cut(model), rows, top=3, tracked=tracked, final=0, meter=CostMeter())
    assert_equals_the_plain_way(model, rows, decoded, tracked, final=0)
    assert np.isnan(decoded.tracked_logprobs[:, 1]).all()


def test_a_place_at_a_time_and_a_reading_at_a_time_change_nothing(loaded, monkeypatch):
    model = loaded("gpt2")
    rows, tracked = rows_of(model, readings=6), torch.tensor([11])
    whole = decode(model, rows, top=4, tracked=tracked, meter=CostMeter())
    monkeypatch.setattr(decoding, "CPU_TILE", 3 * 64)
    monkeypatch.setattr(decoding, "LEAST_TOKENS", 64)
    done = []
    parts = decode(
        model, rows, top=4, tracked=tracked, meter=CostMeter(), between=lambda at, total: done.append((at, total))
    )
    assert done == [(place + 1, PLACES) for place in range(PLACES)]
    np.testing.assert_array_equal(parts.top_ids, whole.top_ids)
    np.testing.assert_array_equal(parts.tracked_ranks, whole.tracked_ranks)
    np.testing.assert_allclose(parts.divergence, whole.divergence, atol=1e-5)
    np.testing.assert_allclose(parts.entropy, whole.entropy, atol=1e-5)


def test_of_equal_tokens_the_lower_id_comes_first_and_none_outranks_another(loaded, monkeypatch):
    model = loaded("llama")
    unembedding = nn.Linear(model.anatomy.hidden, 200, bias=False)
    rows = rows_of(model, readings=2, places=3)
    with torch.no_grad():
        unembedding.weight.zero_()
        unembedding.weight[[3, 130, 199]] = model.anatomy.final_norm(rows)[0, 0]
    tied = replace(model, anatomy=replace(model.anatomy, unembedding=unembedding, vocabulary=200))
    monkeypatch.setattr(decoding, "CPU_TILE", 1)
    monkeypatch.setattr(decoding, "LEAST_TOKENS", 64)
    decoded = decode(tied, rows, top=3, tracked=torch.tensor([3, 130, 199]), meter=CostMeter())
    assert decoded.top_ids[0, 0].tolist() == [3, 130, 199]
    assert decoded.tracked_ranks[0, 0].tolist() == [0, 0, 0]


def test_more_tokens_than_the_vocabulary_has_are_all_of_them(loaded):
    model = loaded("llama")
    decoded = decode(model, rows_of(model, places=1), top=10_000, meter=CostMeter())
    assert sorted(decoded.top_ids[0, 0].tolist()) == list(range(model.anatomy.vocabulary))
    assert np.exp(decoded.top_logprobs).sum(-1) == pytest.approx(np.ones((READINGS, 1)))


def test_rows_are_changed_before_the_norm(loaded):
    model = loaded("llama")
    rows = rows_of(model)
    turned = decode(model, rows, top=2, through=lambda reading, x: x if reading == 2 else -x, meter=CostMeter())
    expected = torch.cat([-rows[:2], rows[2:]])
    assert_equals_the_plain_way(model, expected, turned)
    with pytest.raises(AssertionError):
        assert_equals_the_plain_way(model, rows, turned)


def test_large_logits_stay_finite_and_rows_far_apart_keep_their_numbers(loaded, cut):
    model = loaded("gpt2")
    unembedding = nn.Linear(model.anatomy.hidden, model.anatomy.vocabulary, bias=True)
    nn.init.normal_(unembedding.weight, std=30.0)
    model = replace(model, anatomy=replace(model.anatomy, unembedding=unembedding))
    rows = rows_of(model)
    decoded = decode(cut(model), rows, top=3, tracked=torch.tensor([1, 2]), meter=CostMeter())
    logprobs = logprobs_of(model, rows)
    assert float(logprobs.min()) < -500, "the control: this must be extreme"
    best = logprobs.topk(3, dim=-1)
    np.testing.assert_allclose(decoded.top_logprobs, best.values, atol=1e-3, rtol=1e-5)
    ours = logprobs[-1]
    np.testing.assert_allclose(decoded.divergence, (ours.exp() * (ours - logprobs)).sum(-1), atol=1e-3, rtol=1e-5)


def test_without_a_final_reading_nothing_is_compared(loaded):
    model = loaded("llama")
    assert decode(model, rows_of(model), top=1, final=None, meter=CostMeter()).divergence is None


def test_a_batch_that_does_not_fit_is_halved(loaded, monkeypatch):
    model = loaded("llama")
    rows = rows_of(model)
    whole, meter = decode(model, rows, top=2, meter=CostMeter()), CostMeter()
    plain = decoding._decoded

    def short_of_memory(model, rows, *rest):
        if rows.shape[1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(model, rows, *rest)

    monkeypatch.setattr(decoding, "_decoded", short_of_memory)
    halved = decode(model, rows, top=2, meter=meter)
    assert meter.backoffs == 1
    np.testing.assert_array_equal(halved.top_ids, whole.top_ids)
