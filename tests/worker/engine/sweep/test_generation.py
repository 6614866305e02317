"""Continuations under changed runs against one run at a time, every token a whole forward with hooks of its own."""

from contextlib import ExitStack

import pytest
import torch

from explaind_worker.engine.activations.interventions import Edit, Variant
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.sweep.generation import continuations_under
from explaind_worker.models.pool.pool import ModelPool
from tests.support.families import REPRESENTATIVES
from tests.worker.engine.plain_hooks import attach

PROMPTS = [(1, 9, 8, 7, 30, 31, 32, 33, 40), (1, 50, 51, 52, 60, 61, 62), (1, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79)]
WIDE = BatchLimits(tokens=4096, logits=1 << 22)


def under(model, prompts, variants, new=6, limits=WIDE, meter=None, end_ids=frozenset()):
    said = lambda *_: None  # noqa: E731
    return continuations_under(
        model, prompts, variants, new, end_ids=end_ids, meter=meter or CostMeter(), report_progress=said, limits=limits
    )


def plain(model, prompt, variant, new=6, end_ids=frozenset()):
    said = []
    with torch.inference_mode(), ExitStack() as stack:
        for edit in variant.edits:
            stack.callback(attach(model, edit).remove)
        while len(said) < new:
            logits = model.network(input_ids=torch.tensor([[*prompt, *said]]), use_cache=False).logits[0, -1]
            if (token := int(logits.argmax())) in end_ids:
                break
            said.append(token)
    return said


def variants_of(model):
    heads = [Variant((Edit(layer, "z", heads=(head,)),)) for layer in range(3) for head in range(4)]
    mean = torch.linspace(-1, 1, model.anatomy.head_dim).view(1, 1, -1)
    later = [
        Variant((Edit(1, "z", heads=(2,), value=mean),)),
        Variant((Edit(0, "mlp_out"),)),
        Variant((Edit(2, "attn_out", positions=(2, 4)), Edit(0, "z", heads=(0, 3)))),
        Variant((Edit(1, "attn_out"), Edit(1, "mlp_out"))),
        Variant((Edit(2, "mlp_out", positions=(10, 13)),)),  # some of these are generated
    ]
    return heads + later


@pytest.mark.parametrize("family", [*REPRESENTATIVES, "mistral"])
def test_every_run_says_what_it_says_by_itself(loaded, family):
    model, variants = loaded(family), variants_of(loaded(family))
    asked = [variants, variants[::2], variants[:3]]
    found = under(model, PROMPTS, asked)
    for prompt, own, said in zip(PROMPTS, asked, found, strict=True):
        assert said == [plain(model, prompt, variant) for variant in [Variant(), *own]]
    assert len({tuple(one) for said in found for one in said}) > 3, "the runs do differ"


@pytest.mark.parametrize("family", ["gpt2", "mistral"])
def test_an_end_ends_a_continuation_and_is_no_part_of_it(loaded, family):
    model, variants = loaded(family), variants_of(loaded(family))
    said = under(model, PROMPTS, [variants] * 3)
    end_ids = {said[0][0][2], said[1][3][1], said[2][5][0]}  # of the clean run, and of changed ones
    found = under(model, PROMPTS, [variants] * 3, end_ids=end_ids)
    expected = [[plain(model, prompt, v, end_ids=end_ids) for v in [Variant(), *variants]] for prompt in PROMPTS]
    assert found == expected
    lengths = {len(one) for said in found for one in said}
    assert len(lengths) > 2, "they end at different lengths"


def test_how_runs_are_batched_changes_nothing(loaded, monkeypatch):
    model, variants = loaded("llama"), variants_of(loaded("llama"))
    expected = under(model, PROMPTS, [variants] * 3)
    monkeypatch.setattr("explaind_worker.engine.sweep.generation.CPU_ROWS", 3)
    assert under(model, PROMPTS, [variants] * 3, limits=BatchLimits(tokens=60, logits=1000)) == expected
    monkeypatch.setitem(model.verdicts, "whole_because", "for a test")
    assert under(model, PROMPTS, [variants] * 3) == expected


def test_runs_that_agree_with_the_clean_one_are_not_decoded(loaded):
    model, same = loaded("llama"), Variant((Edit(0, "resid_pre", positions=(0, 1), value=None),))
    unchanged = Variant((Edit(1, "mlp_out", positions=(500, 501)),))  # a place that is never reached
    agreeing, differing = CostMeter(), CostMeter()
    found = under(model, PROMPTS[:1], [[unchanged] * 20], meter=agreeing)
    assert found[0] == [found[0][0]] * 21
    under(model, PROMPTS[:1], [[same] * 20], meter=differing)
    assert agreeing.forwards == 1 + 5 + 1, "the clean run, token by token, and one sweep over its draft"
    assert differing.forwards > agreeing.forwards


def test_a_dry_run_counts_about_what_is_done(loaded, tiny_model):
    variants = variants_of(loaded("gpt2"))
    done, counted = CostMeter(), CostMeter()
    under(loaded("gpt2"), PROMPTS, [variants] * 3, meter=done)
    made_up = under(ModelPool().meta_model(tiny_model("gpt2")), PROMPTS, [variants] * 3, meter=counted)
    assert [len(said) for said in made_up] == [len(variants) + 1] * 3
    assert counted.tokens_asked == done.tokens_asked
    assert counted.tokens_evaluated == pytest.approx(done.tokens_evaluated, rel=0.5)
