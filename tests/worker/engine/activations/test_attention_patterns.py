"""Attention weights as the model computes them, and the scores of hand-made patterns by brute force."""

import math

import numpy as np
import pytest
import torch

from explaind.contract.errors import SelfCheckFailed
from explaind_worker.engine.activations.attention_patterns import KeptPatterns, PatternScores, watch_patterns
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.models.structure.attention_implementation import using_attention
from tests.support.families import ALL, families

IDS = [1, 40, 50, 60, 40, 70, 50, 60, 41, 42]


def hooks(model) -> list[int]:
    return [len(block.attention._forward_hooks) for block in model.anatomy.blocks]


def random_patterns(heads: int, tokens: int, seed: int = 0) -> torch.Tensor:
    """Causal weights [head, query, key]."""
    torch.manual_seed(seed)
    scores = torch.randn(heads, tokens, tokens) + torch.full((tokens, tokens), -math.inf).triu(1)
    return scores.softmax(-1)


def scored(ids, weights, **asked):
    made = PatternScores(ids, **asked)
    made.see(0, weights)
    return {name: values and values[0] for name, values in made.scores(1, len(weights)).items()}


def by_brute_force(ids: list[int], weights: np.ndarray, sinks: list[int]) -> dict[str, float]:
    """The scores of one head [query, key], place by place."""
    found = {name: [] for name in ("previous_token", "duplicate_token", "induction", "first_token", "current_token")}
    found |= {"sink": [], "entropy": []}
    for i in range(1, len(ids)):
        row = weights[i]
        found["previous_token"].append(row[i - 1])
        found["first_token"].append(row[0])
        found["current_token"].append(row[i])
        found["sink"].append(sum(row[j] for j in sinks if j <= i))
        found["entropy"].append(-sum(p * math.log(p) for p in row[: i + 1] if p > 0))
        earlier = [j for j in range(i) if ids[j] == ids[i]]
        if earlier:
            found["duplicate_token"].append(sum(row[j] for j in earlier))
        after = [j + 1 for j in earlier if j + 1 < i]
        if after:
            found["induction"].append(sum(row[j] for j in after))
    return {name: float(np.mean(values)) for name, values in found.items()}


@pytest.mark.parametrize("ids", [[1, 5, 6, 7, 5, 6, 6, 8], [3, 3, 3, 3], [1, 2, 9, 1, 2, 9, 1]])
def test_scores_are_those_counted_place_by_place(ids):
    weights = random_patterns(3, len(ids))
    found = scored(ids, weights, sinks=[0, 2])
    for head in range(3):
        expected = by_brute_force(ids, weights[head].numpy(), [0, 2])
        for name, value in expected.items():
            assert found[name][head] == pytest.approx(value, abs=1e-6), name


def test_made_heads_are_told_apart():
    ids = [1, 5, 6, 7, 8, 5, 6, 7, 8]
    previous, duplicate, induction, sink = (torch.zeros(9, 9) for _ in range(4))
    for i in range(9):
        previous[i, max(0, i - 1)] = 1
        sink[i, 0] = 1
        duplicate[i, i - 4 if i > 4 else 0] = 1
        induction[i, i - 3 if i > 4 else 0] = 1
    found = scored(ids, torch.stack([previous, duplicate, induction, sink]))
    np.testing.assert_allclose(found["previous_token"], [1, 1 / 8, 1 / 8, 1 / 8])
    np.testing.assert_allclose(found["duplicate_token"], [0, 1, 0, 0])
    np.testing.assert_allclose(found["induction"], [0, 0, 1, 0])
    np.testing.assert_allclose(found["first_token"], [1 / 8, 0.5, 0.5, 1])
    np.testing.assert_allclose(found["entropy"], [0] * 4, atol=1e-12)
    alike = scored(ids, torch.ones(1, 9, 9).tril() / torch.arange(1, 10)[:, None])
    assert alike["entropy"][0] == pytest.approx(np.mean([math.log(n) for n in range(2, 10)]))
    assert max(alike[name][0] for name in ("previous_token", "duplicate_token", "induction")) < 0.3


def test_scores_of_what_does_not_occur_are_none():
    found = scored([1, 5, 6, 7], random_patterns(2, 4))
    assert found["duplicate_token"] is None
    assert found["induction"] is None
    alone = PatternScores([1])
    alone.see(0, torch.ones(2, 1, 1))
    assert alone.scores(1, 2)["previous_token"] == [[0.0, 0.0]]


def test_only_the_second_time_is_looked_at_in_a_probe():
    weights = random_patterns(1, 9)
    ids = [1, 5, 6, 7, 8, 5, 6, 7, 8]
    found = scored(ids, weights, looking=range(5, 9))
    assert found["previous_token"][0] == pytest.approx(float(np.mean([weights[0, i, i - 1] for i in range(5, 9)])))
    assert found["induction"][0] == pytest.approx(float(np.mean([weights[0, i, i - 3] for i in range(5, 9)])))


@pytest.mark.parametrize("family", ALL)
def test_weights_are_those_that_transformers_gives(loaded, family):
    model = loaded(family)
    ids = torch.tensor([IDS])
    before = model.network.config._attn_implementation
    with torch.inference_mode():
        untouched = model.network(input_ids=ids).logits
        with using_attention(model.network, "eager"):
            theirs = model.network(input_ids=ids, output_attentions=True).attentions
    seen: dict[int, torch.Tensor] = {}
    hooked = hooks(model)  # transformers keeps some of its own
    watch_patterns(model, IDS, lambda layer, weights: seen.update({layer: weights.clone()}), meter=CostMeter())
    for layer, weights in enumerate(theirs):
        assert torch.equal(seen[layer], weights[0])
        torch.testing.assert_close(seen[layer].sum(-1), torch.ones(4, len(IDS)))
        assert not seen[layer].triu(1).any(), "nobody looks ahead"
    assert model.network.config._attn_implementation == before
    with torch.inference_mode():
        assert torch.equal(model.network(input_ids=ids).logits, untouched)
    assert hooks(model) == hooked


@pytest.mark.parametrize("family", families("sliding"))
def test_nobody_looks_outside_a_sliding_window(loaded, family):
    seen: dict[int, torch.Tensor] = {}
    watch_patterns(loaded(family), IDS, lambda layer, weights: seen.update({layer: weights.clone()}), meter=CostMeter())
    outside = torch.ones(len(IDS), len(IDS)).tril(-6).bool()
    limited = [not weights[:, outside].any() for weights in seen.values()]
    assert any(limited)
    assert all(limited) == (family != "gemma2"), "Gemma 2's windows are on some layers only"


def test_the_implementation_comes_back_after_an_error(loaded):
    network = loaded("llama").network
    before, hooked = network.config._attn_implementation, hooks(loaded("llama"))

    def fail(_layer: int, _weights: torch.Tensor) -> None:
        raise RuntimeError("seen enough")

    with pytest.raises(RuntimeError, match="seen enough"):
        watch_patterns(loaded("llama"), IDS, fail, meter=CostMeter())
    assert network.config._attn_implementation == before
    assert hooks(loaded("llama")) == hooked


def test_an_attention_without_weights_is_refused(loaded, monkeypatch):
    model = loaded("llama")
    attention = model.anatomy.blocks[1].attention
    forward = attention.forward
    monkeypatch.setattr(attention, "forward", lambda *args, **named: (forward(*args, **named)[0], None))
    with pytest.raises(SelfCheckFailed, match="shows no attention weights"):
        watch_patterns(model, IDS, lambda *_: None, meter=CostMeter())


def test_only_the_chosen_weights_are_kept(loaded):
    kept, seen = KeptPatterns([(2, 1), (0, 3)], [7, 2], tokens=len(IDS)), {}
    watch_patterns(
        loaded("llama"),
        IDS,
        lambda layer, w: (seen.update({layer: w.clone()}), kept.see(layer, w))[0],
        meter=CostMeter(),
    )
    first, second = kept.patterns
    np.testing.assert_array_equal(first, seen[2][1][[7, 2]].numpy())
    np.testing.assert_array_equal(second, seen[0][3][[7, 2]].numpy())
