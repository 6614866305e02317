"""Many prompts continued at once say what each of them says alone."""

import numpy as np
import pytest
import torch

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.generation.batched_greedy import Continuations
from explaind_worker.engine.generation.generate import greedy
from tests.support.families import ALL, shape_of

ROOMY = BatchLimits(tokens=1 << 20, logits=1 << 30)
PROMPTS = [
    "The food was great but the room was small and",
    "When Mary",
    "3 + 4 =",
    "Every fox is red. I don't like it... really! Once upon a time 12 and 3. The staff were",
    "John gave a drink to",
]
NEW = 12


def nothing(*_):
    pass


def ids_of(model, texts=PROMPTS):
    return [model.encoder.tokenizer(text)["input_ids"] for text in texts]


def alone(model, prompts, new=NEW):
    return [tuple(greedy(model, ids, new, meter=CostMeter(), report_progress=nothing)) for ids in prompts]


def together(model, prompts, new=NEW, *, limits=ROOMY, meter=None, stops=None, residuals=False):
    continuations = Continuations(
        model, new, meter=meter or CostMeter(), report_progress=nothing, limits=limits, residuals=residuals
    )
    return continuations(prompts, stops)


@pytest.mark.parametrize("family", ALL)
def test_ragged_prompts_say_together_what_they_say_alone(loaded, family):
    model = loaded(family)
    prompts = ids_of(model)
    assert len({len(ids) for ids in prompts}) == len(prompts)
    assert max(map(len, prompts)) > shape_of(family).get("sliding_window", 0)
    found = together(model, prompts)
    assert [one.token_ids for one in found] == alone(model, prompts)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "mistral", "gpt_neox"])
def test_rows_that_end_leave_the_others_alone(loaded, monkeypatch, family):
    model = loaded(family)
    prompts = ids_of(model)
    said = alone(model, prompts)
    # What some rows say first or in the middle now ends them.
    monkeypatch.setattr(model, "end_ids", frozenset({said[1][0], said[3][2]}))
    expected, meter = alone(model, prompts), CostMeter()
    found = together(model, prompts, meter=meter)
    assert [one.token_ids for one in found] == expected
    assert [one.finish == "end" for one in found] == [len(ids) < NEW for ids in expected]
    assert {one.finish for one in found} >= {"end"}
    # Every row costs its padded prompt, and then what it says: the token that ends it is read by nobody.
    steps = [min(len(ids) + 1, NEW) - 1 for ids in expected]
    assert meter.tokens_evaluated == len(prompts) * max(map(len, prompts)) + sum(steps)


def test_a_row_stops_where_it_is_told(loaded):
    model = loaded("llama")
    prompts = ids_of(model)
    found = together(model, prompts, stops=lambda index, ids: index == 2 and len(ids) == 3)
    whole = alone(model, prompts)
    assert (found[2].token_ids, found[2].finish) == (whole[2][:3], "stop")
    assert [one.token_ids for one in found[3:]] == whole[3:]


@pytest.mark.parametrize("tokens", [1, 30, 100])
def test_batches_change_nothing(loaded, tokens):
    model = loaded("gpt2")
    prompts, meter = ids_of(model), CostMeter()
    found = together(model, prompts, limits=BatchLimits(tokens=tokens, logits=1 << 30), meter=meter)
    assert [one.token_ids for one in found] == alone(model, prompts)
    assert meter.forwards > NEW or tokens == 100


def test_a_batch_that_does_not_fit_is_halved(loaded, monkeypatch):
    model, meter = loaded("llama"), CostMeter()
    forward = model.network.forward

    def narrow(*args, **kwargs):
        if len(kwargs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return forward(*args, **kwargs)

    prompts = ids_of(model)
    expected = alone(model, prompts)
    monkeypatch.setattr(model.network, "forward", narrow)
    assert [one.token_ids for one in together(model, prompts, meter=meter)] == expected
    assert meter.backoffs == 1


def test_memory_bounds_the_batch(loaded):
    model = loaded("llama")
    prompts = ids_of(model)
    footprint, longest = Footprint.of(model), max(map(len, prompts))
    one_row = footprint.forward_bytes(1, longest, cached=True) - footprint.cache_bytes(1, longest)
    meter = CostMeter()
    limits = BatchLimits(tokens=1 << 20, logits=1 << 30, bytes=one_row)
    found = together(model, prompts, 1, limits=limits, meter=meter)
    assert [one.token_ids for one in found] == alone(model, prompts, 1)
    assert meter.forwards > 1


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "mistral", "phi"])
def test_residuals_are_those_of_the_prompts_last_token(loaded, family):
    model = loaded(family)
    prompts = ids_of(model)
    for ids, one in zip(prompts, together(model, prompts, residuals=True), strict=True):
        with torch.inference_mode():
            base = model.network.base_model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        # The last of transformers' states is behind the final norm.
        states = torch.stack(base.hidden_states[1:-1])[:, 0, -1].double().numpy()
        np.testing.assert_allclose(one.residuals[:-1], states, rtol=1e-4, atol=2e-5)
        last = model.anatomy.final_norm(torch.tensor(one.residuals[-1], dtype=torch.float32))
        np.testing.assert_allclose(last.detach(), base.hidden_states[-1][0, -1], rtol=1e-4, atol=2e-5)
