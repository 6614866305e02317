"""The sweep against one plain forward for every changed run, each with hooks of its own."""

from contextlib import ExitStack

import numpy as np
import pytest
import torch

from explaind_worker.engine.activations.interventions import Edit, Variant
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.sweep.support_check import why_whole
from explaind_worker.engine.sweep.sweep import Sweep, SweepQuestion
from explaind_worker.models.pool.pool import ModelPool
from tests.support.families import ALL
from tests.worker.engine.plain_hooks import attach

PROMPTS = [(1, 9, 8, 7, 30, 31, 32, 33, 40), (1, 50, 51, 52, 60, 61, 62), (1, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79)]
WIDE = BatchLimits(tokens=4096, logits=1 << 22)


def sweep(model, questions, limits=WIDE, meter=None, report_progress=lambda *_: None):
    return Sweep(model, meter=meter or CostMeter(), report_progress=report_progress, limits=limits)(questions)


def plain(model, prompt, continuations, variant):
    """Log-probabilities of all continuations' tokens, one forward each, hooks written out."""
    found = []
    for continuation in continuations:
        ids = torch.tensor([[*prompt, *continuation[:-1]]])
        with torch.inference_mode(), ExitStack() as stack:
            for edit in variant.edits:
                stack.callback(attach(model, edit).remove)
            logits = model.network(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :].double()
        found += logits.log_softmax(-1)[range(len(continuation)), list(continuation)].tolist()
    return found


def everything(model, seed=0):
    """Variants of every place, at every layer, some at positions, with values, in several layers at once."""
    random = torch.Generator().manual_seed(seed)
    anatomy, variants = model.anatomy, []
    hidden = model.network.config.get_text_config().hidden_size

    def drawn(*shape):
        return torch.randn(*shape, generator=random)

    for layer in range(len(anatomy.blocks)):
        variants += [Variant((Edit(layer, "z", heads=(head,)),)) for head in range(anatomy.heads)]
        variants += [Variant((Edit(layer, point),)) for point in ("attn_out", "mlp_out")]
        variants.append(Variant((Edit(layer, "attn_out"), Edit(layer, "mlp_out"))))
        variants.append(Variant((Edit(layer, "resid_pre", positions=(2, 4), value=drawn(2, hidden)),)))
        variants.append(Variant((Edit(layer, "z", heads=(0, 2), value=drawn(1, 2, anatomy.head_dim)),)))
        variants.append(Variant((Edit(layer, "mlp_out", positions=(1, 3), value=drawn(1, hidden)),)))
    variants.append(Variant((Edit(2, "z", heads=(1,)), Edit(0, "z", heads=(3,)), Edit(1, "mlp_out"))))
    variants.append(Variant((Edit(0, "resid_pre", value=drawn(30, hidden)), Edit(2, "attn_out", positions=(0, 5)))))
    return variants


@pytest.mark.parametrize("family", ALL)
def test_a_sweep_is_one_plain_forward_for_every_run(loaded, family):
    model = loaded(family)
    assert why_whole(model) is None
    variants = everything(model)
    questions = [
        SweepQuestion(PROMPTS[0], ((4, 5), (6,)), variants),
        SweepQuestion(PROMPTS[1], ((9, 3), (6,)), variants[::3]),
        SweepQuestion(PROMPTS[2], ((4,), (6,)), variants[:2]),
    ]
    for question, scores in zip(questions, sweep(model, questions), strict=True):
        runs = [Variant(), *question.variants]
        expected = [plain(model, question.prompt, question.continuations, variant) for variant in runs]
        np.testing.assert_allclose(scores.logprobs, expected, atol=3e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "phi"])
def test_how_runs_are_batched_changes_nothing(loaded, family):
    model = loaded(family)
    questions = [SweepQuestion(prompt, ((4, 5), (6,)), everything(model)) for prompt in PROMPTS]
    wide, narrow = CostMeter(), CostMeter()
    together = sweep(model, questions, meter=wide)
    apart = sweep(model, questions, BatchLimits(tokens=40, logits=1000), meter=narrow)
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
    assert narrow.forwards > 5 * wide.forwards


def test_whole_runs_answer_the_same(loaded, monkeypatch):
    model = loaded("llama")
    questions = [SweepQuestion(prompt, ((4, 5), (6,)), everything(model)) for prompt in PROMPTS]
    meter, whole = CostMeter(), CostMeter()
    joined = sweep(model, questions, meter=meter)
    monkeypatch.setitem(model.verdicts, "whole_because", "for a test")
    read_whole = sweep(model, questions, meter=whole)
    for one, other in zip(joined, read_whole, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
    assert whole.dense_because == "for a test"
    assert meter.dense_because is None
    assert whole.tokens_evaluated > 1.4 * meter.tokens_evaluated
    assert whole.tokens_asked == meter.tokens_asked


def test_a_model_whose_blocks_see_the_rows_of_a_batch_is_read_whole(tiny_model, loaded):
    model = loaded("llama")
    verdicts, model.verdicts = model.verdicts, {}
    handle = model.anatomy.blocks[1].mlp.register_forward_hook(lambda _m, _a, out: out * out.shape[0])
    try:
        assert "differ by" in (why_whole(model) or "")
    finally:
        handle.remove()
        model.verdicts = verdicts


def test_changing_nothing_changes_nothing_and_a_change_does(loaded):
    model = loaded("llama")
    scores = sweep(model, [SweepQuestion(PROMPTS[0], ((4,),), [Variant(), Variant((Edit(0, "mlp_out"),))])])[0]
    assert scores.logprobs[1, 0] == scores.logprobs[0, 0]
    assert abs(scores.logprobs[2, 0] - scores.logprobs[0, 0]) > 1e-3


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_ablating_all_heads_is_removing_the_attention(loaded, family):
    model = loaded(family)  # no bias in the output projection
    pairs = [
        Variant((edit,))
        for layer in range(3)
        for edit in (Edit(layer, "z", heads=(0, 1, 2, 3)), Edit(layer, "attn_out"))
    ]
    scores = sweep(model, [SweepQuestion(PROMPTS[0], ((4,),), pairs)])[0].logprobs[1:, 0]
    np.testing.assert_allclose(scores[::2], scores[1::2], atol=1e-5)
    assert len(set(scores.round(3))) == 3


def test_zeroing_slices_of_what_the_attention_says_ablates_no_head(loaded):
    model = loaded("llama")
    width, attention = model.anatomy.head_dim, model.anatomy.blocks[1].attention

    def slice_away(_module, _args, out):
        changed = out[0].clone()
        changed[..., :width] = 0
        return (changed, *out[1:])

    true = sweep(model, [SweepQuestion(PROMPTS[0], ((4,),), [Variant((Edit(1, "z", heads=(0,)),))])])[0]
    handle = attention.register_forward_hook(slice_away)
    try:
        wrong = plain(model, PROMPTS[0], ((4,),), Variant())
    finally:
        handle.remove()
    assert abs(true.logprobs[1, 0] - wrong[0]) > 1e-3


def test_nothing_below_the_change_is_computed_again(loaded):
    model = loaded("llama")
    meters = []
    for layer in range(3):
        meters.append(CostMeter())
        variants = [Variant((Edit(layer, "z", heads=(head,)),)) for head in range(4)]
        sweep(model, [SweepQuestion(PROMPTS[0], ((4,),), variants)], meter=meters[-1])
    # One clean row in three blocks, and four rows in those from the changed one on.
    assert [meter.tokens_evaluated for meter in meters] == [round(9 * (3 + 4 * n) / 3) for n in (3, 2, 1)]
    assert {meter.forwards for meter in meters} == {1}


def test_progress_is_told_and_a_forward_out_of_memory_is_halved(loaded, monkeypatch):
    model = loaded("gpt2")
    told, meter = [], CostMeter()
    questions = [SweepQuestion(PROMPTS[0], ((4, 5),), everything(model))]
    expected = sweep(model, questions)[0]
    original = model.network.base_model.forward

    def forward(*args, **kwargs):
        if not meter.backoffs:
            raise torch.OutOfMemoryError("for a test")
        return original(*args, **kwargs)

    monkeypatch.setattr(model.network.base_model, "forward", forward)
    found = sweep(model, questions, meter=meter, report_progress=lambda *said: told.append(said))[0]
    np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=1e-4)
    assert meter.backoffs == 1
    assert told[0] == ("running interventions", 0, len(questions[0].variants) + 1, "runs")
    assert told[-1][1] == told[-1][2]


@pytest.mark.parametrize("tokens", [4096, 60])
def test_a_dry_run_counts_what_the_sweep_does(loaded, tiny_model, tokens):
    model, meta = loaded("gpt2"), ModelPool().meta_model(tiny_model("gpt2"))
    limits, done, counted = BatchLimits(tokens=tokens, logits=1 << 20), CostMeter(), CostMeter()
    questions = [SweepQuestion(prompt, ((4, 5), (6,)), everything(model)) for prompt in PROMPTS]
    scores, made_up = sweep(model, questions, limits, done), sweep(meta, questions, limits, counted)
    assert (counted.forwards, counted.tokens_evaluated, counted.tokens_asked, counted.reads) == (
        done.forwards,
        done.tokens_evaluated,
        done.tokens_asked,
        done.reads,
    )
    assert counted.expected_bytes > 0
    assert [s.logprobs.shape for s in made_up] == [s.logprobs.shape for s in scores]
