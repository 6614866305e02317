"""Head and layer ablation against plain hooks one at a time, and what must hold of any ablation."""

from typing import Any

import numpy as np
import pytest
import torch

from explaind.contract.errors import InvalidRequest, InvalidTarget, TargetTooLong, WrongModelKind
from explaind.contract.methods.explain.head_ablation import HeadAblationParams
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import DEMO
from explaind_worker.methods.explain.head_ablation import run as ablate
from explaind_worker.models.demo.cases import generate_cases
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session
from tests.support.families import REPRESENTATIVES
from tests.worker.methods.plain_runs import Plain, put

RAGGED = [
    {"question": "The food was", "answer": "great", "foil": "small"},
    {"question": "When Mary and John went to the store, John gave a", "answer": "drink", "foil": "room"},
    {"question": "I don't like 12 and", "answer": "7 red", "foil": "7 fox"},
]
HEADS = [[0, 0], [0, 3], [1, 2], [2, 1]]


@pytest.fixture(scope="module")
def plain(loaded):
    made = {}
    return lambda family: made.setdefault(family, Plain(loaded(family)))


def asked(loaded, family, questions):
    """Prompt, answer and foil of each question as token ids; an answer follows after a space."""
    encode = loaded(family).encoder.tokenizer.encode
    return [
        (
            encode(q["question"]),
            encode(" " + q["answer"], add_special_tokens=False),
            encode(" " + q["foil"], add_special_tokens=False),
        )
        for q in questions
    ]


def values(plain, questions, ablation, layer, place):
    """What takes a part's place in each question; of two questions the other's is the resampled one."""
    if ablation == "zero":
        return [0.0] * len(questions)
    if ablation == "mean":
        said = [plain.seen(prompt, layer, place) for prompt, *_ in questions]
        return [torch.cat(said).mean(0, keepdim=True)] * len(questions)
    lengths = [len(prompt) for prompt, *_ in questions]
    one, other = (plain.seen([*prompt, *answer[:-1]], layer, place) for prompt, answer, _ in questions)
    return [_ends_together(other, lengths[1], lengths[0]), _ends_together(one, lengths[0], lengths[1])]


def _cut(value, heads, first):
    """Of these heads, and of the positions from `first` on unless it is one value for all."""
    if not isinstance(value, torch.Tensor):
        return value
    own = value[first:] if len(value) > 1 else value
    return own[:, list(heads)] if heads else own


def _ends_together(said, own, wanted):
    """What a prompt of `own` tokens says (and its answer after it), for one of `wanted` tokens."""
    if own >= wanted:
        return said[own - wanted :]
    return torch.cat([said[:1]] * (wanted - own) + [said])


def expected(plain, questions, metric, ablation, positions, layer, place, heads=()):
    """Clean minus ablated, one plain forward each."""
    effects = []
    found = values(plain, questions, ablation, layer, place)
    for (prompt, answer, foil), value in zip(questions, found, strict=True):
        first = len(prompt) - 1 if positions == "last" else 0
        changes = [(layer, place, put(_cut(value, heads, first), heads=heads, first=first))]
        measure = plain.logprob if metric == "logprob" else plain.difference
        continuations = (answer,) if metric == "logprob" else (answer, foil)
        effects.append(measure(prompt, *continuations) - measure(prompt, *continuations, changes))
    return effects


@pytest.mark.parametrize(
    ("family", "metric", "ablation", "positions"),
    [
        *[(family, "logprob", "zero", "all") for family in REPRESENTATIVES],
        *[(family, "logit_difference", "mean", "all") for family in REPRESENTATIVES],
        *[(family, "logprob", "resample", "all") for family in ("gpt2", "llama", "gemma2", "phi")],
        *[(family, "logit_difference", "resample", "last") for family in ("llama", "gpt_neox")],
        *[(family, "logprob", "mean", "last") for family in ("gpt2", "gemma2")],
    ],
)
def test_heads_are_ablated_as_by_plain_hooks(run, loaded, plain, tiny_model, family, metric, ablation, positions):
    questions = RAGGED[:2] if ablation == "resample" else RAGGED
    result = run(
        "explain/head-ablation", entry=tiny_model(family), questions={"questions": questions}, metric=metric,
        ablation=ablation, positions=positions, heads=HEADS, sets=[[[0, 0], [0, 3]], [[1, 0], [1, 2]]], seed=2,
    )  # fmt: skip
    ids = asked(loaded, family, questions)
    for layer, head in HEADS:
        wanted = expected(plain(family), ids, metric, ablation, positions, layer, "z", (head,))
        np.testing.assert_allclose(result.effects[layer][head], wanted, atol=2e-4)
        assert result.grid[layer][head] == pytest.approx(np.mean(wanted), abs=2e-4)
    for number, (layer, heads) in enumerate([(0, (0, 3)), (1, (0, 2))]):
        wanted = expected(plain(family), ids, metric, ablation, positions, layer, "z", heads)
        np.testing.assert_allclose(result.sets.by_question[number], wanted, atol=2e-4)
    assert result.grid[0][1] is None
    assert result.effects[2][0] is None
    assert max(abs(effect) for row in result.grid for effect in row if effect is not None) > 0.01


@pytest.mark.parametrize(
    ("family", "ablation"),
    [
        *[(family, "zero") for family in REPRESENTATIVES],
        ("gemma2", "mean"),
        ("llama", "mean"),
        ("gpt_neox", "resample"),
    ],
)
def test_layers_are_ablated_as_by_plain_hooks(run, loaded, plain, tiny_model, family, ablation):
    questions = RAGGED[:2]
    result = run(
        "explain/layer-ablation", entry=tiny_model(family), questions={"questions": questions}, ablation=ablation,
        layers=[2, 0],
    )  # fmt: skip
    assert (result.layers, result.components) == ([2, 0], ["attention", "mlp", "block"])
    ids = asked(loaded, family, questions)
    for row, layer in enumerate(result.layers):
        for column, place in enumerate(["attn_out", "mlp_out"]):
            wanted = expected(plain(family), ids, "logprob", ablation, "all", layer, place)
            np.testing.assert_allclose(result.effects[row][column], wanted, atol=2e-4)
        found = [values(plain(family), ids, ablation, layer, place) for place in ("attn_out", "mlp_out")]
        for number, (prompt, answer, _) in enumerate(ids):
            changes = [
                (layer, place, put(of[number])) for place, of in zip(("attn_out", "mlp_out"), found, strict=True)
            ]
            wanted = plain(family).logprob(prompt, answer) - plain(family).logprob(prompt, answer, changes)
            assert result.effects[row][2][number] == pytest.approx(wanted, abs=2e-4)


def test_resampling_from_the_same_prompt_changes_nothing(run, tiny_model):
    for path in ("explain/head-ablation", "explain/layer-ablation"):
        result = run(
            path, entry=tiny_model("gemma2"), questions={"questions": [RAGGED[1], RAGGED[1]]}, ablation="resample"
        )
        assert np.abs(np.array(result.effects)).max() < 1e-4
        other = run(path, entry=tiny_model("gemma2"), questions={"questions": RAGGED[:2]}, ablation="resample")
        assert np.abs(np.array(other.effects)).max() > 0.1, "negative control"


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_all_heads_are_the_attention(run, loaded, tiny_model, family):
    """Up to the bias of the output projection, which belongs to no head."""
    asked_about = {"entry": tiny_model(family), "questions": {"questions": RAGGED}}
    every = [[[layer, head] for head in range(4)] for layer in range(3)]

    def difference():
        heads = run("explain/head-ablation", **asked_about, heads=[], sets=every)
        layers = run("explain/layer-ablation", **asked_about, components=["attention"])
        return np.abs(np.array(heads.sets.by_question) - np.array(layers.effects)[:, 0]).max()

    assert difference() < 1e-4
    bias = getattr(loaded(family).anatomy.blocks[1].output_projection, "bias", None)
    if bias is not None:
        kept = bias.detach().clone()
        try:
            bias.data.normal_(generator=torch.Generator().manual_seed(1))
            assert difference() > 1e-3
        finally:
            bias.data.copy_(kept)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_slices_of_the_attentions_output_are_no_heads(run, loaded, plain, tiny_model, family):
    """Negative control: what is often done instead gives other numbers."""
    result = run("explain/head-ablation", entry=tiny_model(family), questions={"questions": RAGGED[:1]})
    [(prompt, answer, _)] = asked(loaded, family, RAGGED[:1])
    width = plain(family).anatomy.hidden // 4
    apart = []
    for layer in range(3):
        for head in range(4):

            def slice_gone(passing, start=head * width):
                passing[:, start : start + width] = 0.0
                return passing

            changed = plain(family).logprob(prompt, answer, [(layer, "module", slice_gone)])
            wrong = plain(family).logprob(prompt, answer) - changed
            apart.append(abs(wrong - result.effects[layer][head][0]))
    assert np.median(apart) > 0.02


def indirect_objects(count=8):
    cases = generate_cases("indirect_object", count, seed=3, split="heldout")
    return {"questions": [{"question": c.prompt, "answer": c.answer, "foil": c.foil} for c in cases]}


def test_the_heads_that_name_the_indirect_object_are_found(run):
    found = {
        ablation: run(
            "explain/head-ablation", entry=DEMO, questions=indirect_objects(), metric="logit_difference",
            ablation=ablation,
        )
        for ablation in ("zero", "mean")
    }  # fmt: skip
    for result in found.values():
        assert result.clean_mean > 5
        assert result.ranking.effects[0] > 2
        assert result.ranking.low[0] > 0, "it is sure of it"
        assert result.ranking.effects == sorted(result.ranking.effects, reverse=True)
        grid = [
            result.grid[layer][head] for layer, head in zip(result.ranking.layers, result.ranking.heads, strict=True)
        ]
        assert grid == result.ranking.effects
    tops = {(r.ranking.layers[0], r.ranking.heads[0]) for r in found.values()}
    assert len(tops) == 1


def test_removing_greedily_is_what_brute_force_finds(run):
    common = {"entry": DEMO, "questions": indirect_objects(3), "metric": "logit_difference"}
    heads = [[3, 0], [3, 1], [0, 0], [0, 5], [1, 6]]
    result = run("explain/head-ablation", **common, heads=heads, greedy=3)
    gone: list = []
    for step, removed in enumerate(result.greedy.heads):
        left = [head for head in heads if head not in gone]
        brute = run("explain/head-ablation", **common, heads=[], sets=[[*gone, head] for head in left])
        best = int(np.argmax(brute.sets.effects))
        assert list(removed) == left[best]
        assert result.greedy.effects[step] == pytest.approx(brute.sets.effects[best], abs=1e-4)
        assert result.greedy.metric[step] == pytest.approx(result.clean_mean - brute.sets.effects[best], abs=1e-4)
        gone.append(left[best])
    assert run("explain/head-ablation", **common, heads=heads[:2], greedy=9).greedy.heads == [(3, 0), (3, 1)]


def test_what_cannot_be_asked_is_refused_before_the_weights(tiny_model, tiny_classifier):
    fresh = ModelPool()
    entry = tiny_model("llama")

    def refused(error, pointer, path="explain/head-ablation", entry=entry, **params):
        method = find_method(path)
        request = method.params_model.model_validate(
            {"model": entry.name, "questions": {"questions": RAGGED}, **params}
        )
        with Session(entry, fresh, lambda *_: None) as session, pytest.raises(error) as caught:
            implementation_of(method)(request, session)
        assert pointer in [field.pointer for field in caught.value.errors]
        assert fresh.resident() == []
        return caught.value

    error = refused(InvalidRequest, "/heads/1/0", heads=[[0, 0], [3, 0]])
    assert "There is no layer 3: there are 3" in error.detail
    refused(InvalidRequest, "/sets/0/0/1", sets=[[[0, 4]]])
    refused(InvalidRequest, "/layers/0", path="explain/layer-ablation", layers=[7])
    one = {"questions": RAGGED[:1]}
    refused(InvalidRequest, "/questions", questions=one, ablation="resample")
    bare = {"questions": [RAGGED[0], {"question": "3 + 4 =", "answer": "7"}]}
    error = refused(InvalidRequest, "/questions/questions/1/foil", questions=bare, metric="logit_difference")
    assert "no foil" in error.detail
    begins = {"questions": [{"question": "3 + 4 =", "answer": "7", "foil": "7 red"}]}
    refused(InvalidTarget, "/questions/questions/0/foil", questions=begins, metric="logit_difference")
    refused(TargetTooLong, "/max_new_tokens", metric="accuracy", max_new_tokens=1000)
    refused(WrongModelKind, "/model", entry=tiny_classifier("bert"))


def test_a_cancelled_job_keeps_what_is_known(tiny_model, pool):
    class StopError(Exception):
        pass

    def stop(phase, *_):
        if phase.startswith("removing head 2"):
            raise StopError

    entry = tiny_model("llama")
    request = HeadAblationParams.model_validate(
        {"model": entry.name, "questions": {"questions": RAGGED}, "heads": HEADS, "greedy": 3}
    )
    with Session(entry, pool, stop) as session:
        with pytest.raises(StopError):
            ablate(request, session)
        assert session.job.make_partial_result is not None
        part: Any = session.job.make_partial_result()
    assert len(part.ranking.effects) == 4
    assert len(part.greedy.heads) == 1
