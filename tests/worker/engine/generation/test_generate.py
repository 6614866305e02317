import pytest
import torch

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.generation.generate import Generator, Sampling, greedy, read
from tests.support.families import with_representatives
from tests.support.reference import token_logprobs

PROMPT = [1, 40, 51, 62, 73]


@pytest.mark.parametrize("family", with_representatives("sliding", "fused"))
def test_greedy_equals_transformers_generate(loaded, family):
    model = loaded(family)
    expected = model.network.generate(
        torch.tensor([PROMPT]), attention_mask=torch.ones(1, len(PROMPT), dtype=torch.long), max_new_tokens=12,
        do_sample=False,
    )[0, len(PROMPT) :].tolist()  # fmt: skip
    ended = [t for t in expected if t not in model.end_ids]
    assert greedy(model, PROMPT, 12, meter=CostMeter(), report_progress=lambda *_: None) == ended


def test_greedy_ends_before_an_end_token(loaded, monkeypatch):
    model = loaded("gpt2")
    whole = greedy(model, PROMPT, 12, meter=CostMeter(), report_progress=lambda *_: None)
    monkeypatch.setattr(model, "end_ids", frozenset({whole[-1]}))
    found = greedy(model, PROMPT, 12, meter=CostMeter(), report_progress=lambda *_: None)
    assert found == whole[: whole.index(whole[-1])]


@pytest.mark.parametrize("family", with_representatives("sliding", "fused"))
def test_readings_equal_one_forward(loaded, family):
    model = loaded(family)
    ids = [*PROMPT, 9, 80, 22]
    readings = read(model, ids, 2, 3, meter=CostMeter())
    assert [r.logprob for r in readings] == pytest.approx(token_logprobs(model, ids[:2], ids[2:]), abs=1e-4)
    with torch.no_grad():
        logprobs = model.network(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    for place, reading in enumerate(readings, start=1):
        ranked = logprobs[place].argsort(descending=True).tolist()
        assert reading.rank == ranked.index(reading.token_id)
        assert [t for t, _ in reading.top] == ranked[:3]


def test_generated_logprobs_are_of_the_unchanged_distribution(loaded):
    model = loaded("llama")
    generator = Generator(model, PROMPT, Sampling(temperature=2.0, top_k=5, seed=1), meter=CostMeter())
    readings = [generator.step(2) for _ in range(6)]
    ids = [r.token_id for r in readings]
    assert [r.logprob for r in readings] == pytest.approx(token_logprobs(model, PROMPT, ids), abs=1e-4)
    assert all(r.rank < 5 for r in readings), "top_k must hold"


def sample(model, **fields):
    generator = Generator(model, PROMPT, Sampling(**fields), meter=CostMeter())
    return [generator.step(0).token_id for _ in range(8)]


def test_a_seed_means_the_same_text(loaded):
    model = loaded("llama")
    assert sample(model, temperature=1.5, seed=4) == sample(model, temperature=1.5, seed=4)
    assert sample(model, temperature=1.5, seed=4) != sample(model, temperature=1.5, seed=5)


def test_a_tiny_nucleus_is_greedy(loaded):
    model = loaded("llama")
    assert sample(model, temperature=1.0, top_p=1e-6, seed=3) == sample(model)


def test_one_token_is_read_per_step_after_the_prompt(loaded):
    meter = CostMeter()
    generator = Generator(loaded("llama"), PROMPT, Sampling(), meter=meter)
    for _ in range(4):
        generator.step(0)
    assert meter.tokens_evaluated == len(PROMPT) + 3


def unembedded(model, fails):
    """Notes how many places are unembedded at once; `fails` says where that runs out of memory."""
    seen = []

    def hook(_module, args):
        places = args[0].shape[-2]
        if args[0].dim() == 2:  # the whole text's places, not the forward's own last one
            if fails(places):
                raise torch.OutOfMemoryError("no more memory")
            seen.append(places)

    return seen, model.anatomy.unembedding.register_forward_pre_hook(hook)


@pytest.mark.parametrize("free_places", [None, 3], ids=["out of memory", "little memory"])
def test_a_text_is_read_in_parts_where_memory_is_short(loaded, free_places):
    model, meter = loaded("llama"), CostMeter()
    ids = [*PROMPT, *range(100, 120)]
    expected = read(model, ids, 1, 2, meter=CostMeter())
    limits = BatchLimits(1, 1, bytes=3 * Footprint.of(model).logit_bytes(1)) if free_places else None
    seen, handle = unembedded(model, lambda places: places > 3)
    try:
        readings = read(model, ids, 1, 2, meter=meter, limits=limits)
    finally:
        handle.remove()
    assert sum(seen) == len(ids) - 1
    assert [r.token_id for r in readings] == [r.token_id for r in expected]
    assert [r.logprob for r in readings] == pytest.approx([r.logprob for r in expected], abs=1e-5)
    assert [r.rank for r in readings] == [r.rank for r in expected]
    assert (meter.backoffs == 0) == (free_places is not None)
