"""Activation patching against plain hooks one patch at a time, and what must hold of any patch."""

from typing import Any

import numpy as np
import pytest

from explaind.contract.blocks.hook_points import HookPoint
from explaind.contract.errors import InvalidRequest, TargetTooLong, WrongModelKind
from explaind.contract.methods.explain.activation_patching import ActivationPatchingParams
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import DEMO
from explaind_worker.engine.activations.capture import capture
from explaind_worker.engine.activations.interventions import Edit, Variant
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.sweep.sweep import Sweep, SweepQuestion
from explaind_worker.methods.explain.activation_patching import run as patch
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session
from tests.support.families import REPRESENTATIVES
from tests.worker.methods.plain_runs import Plain

CLEAN = "the room was great and John was rude"
CORRUPTED = "the food was great and Mary was rude"
STORY = "When Mary and John went to the store, John gave a drink to"


def ids_of(loaded, family, text):
    return loaded(family).encoder.tokenizer.encode(text)


@pytest.mark.parametrize(
    ("family", "direction"),
    [*[(family, "denoise") for family in REPRESENTATIVES], ("gpt2", "noise"), ("llama", "noise")],
)
def test_patches_are_those_of_plain_hooks(run, loaded, tiny_model, family, direction):
    target, foil = " great", " rude"
    result = run(
        "explain/activation-patching", entry=tiny_model(family), prompt=CLEAN, corrupted=CORRUPTED, target=target,
        foil=foil, direction=direction, layers=[0, 2], positions=[0, 3, 9],
    )  # fmt: skip
    plain = Plain(loaded(family))
    clean, corrupted = (ids_of(loaded, family, text) for text in (CLEAN, CORRUPTED))
    base, source = (corrupted, clean) if direction == "denoise" else (clean, corrupted)
    tokens = loaded(family).encoder.tokenizer
    answers = [tokens.encode(text, add_special_tokens=False) for text in (target, foil)]

    def score(ids, changes=()):
        good, bad = (plain.logprob(ids, answer, changes) for answer in answers)
        return good - bad

    before, span = score(base), score(source) - score(base)
    assert result.clean_score == pytest.approx(score(clean), abs=2e-4)
    assert result.corrupted_score == pytest.approx(score(corrupted), abs=2e-4)
    for grid in result.grids:
        assert grid.layers == [0, 2]
        assert grid.columns == ([0, 1, 2, 3] if grid.point == "z" else [0, 3, 9])
        for layer, effects, scores in zip(grid.layers, grid.effects, grid.scores, strict=True):
            said = plain.seen(source, layer, grid.point)
            for place, column in enumerate(grid.columns):
                changed = _patched(said, grid.point, column, len(clean))
                wanted = score(base, [(layer, grid.point, changed)])
                assert scores[place] == pytest.approx(wanted, abs=3e-4)
                assert effects[place] == pytest.approx((wanted - before) / span, abs=3e-4 * max(1, 1 / abs(span)))


def _patched(said, point, column, length):
    if point == "z":

        def heads(passing):
            passing[:length, column] = said[:, column]
            return passing

        return heads

    def position(passing):
        passing[column] = said[column]
        return passing

    return position


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_patching_everything_gives_the_clean_run(loaded, family):
    """The stream that enters any layer, at all positions; or what every layer adds from the embeddings on."""
    model, meter = loaded(family), CostMeter()
    clean, corrupted = (tuple(ids_of(loaded, family, text)) for text in (CLEAN, CORRUPTED))
    layers = range(len(model.anatomy.blocks))
    found = capture(model, clean, ["resid_pre", "z"], meter=meter)
    whole = [Variant((Edit(layer, "resid_pre", value=found[HookPoint("resid_pre", layer)]),)) for layer in layers]
    heads = Edit(0, "z", heads=tuple(range(4)), value=found[HookPoint("z", 0)])
    sweep = Sweep(model, meter=meter, report_progress=lambda *_: None, limits=BatchLimits.for_device(model.device))
    patched, wanted = sweep(
        [SweepQuestion(corrupted, ((9,),), [*whole, Variant((heads,))]), SweepQuestion(clean, ((9,),), ())]
    )
    np.testing.assert_allclose(patched.logits[1:-1, 0], wanted.logits[0, 0], atol=2e-4)
    assert abs(patched.logits[0, 0] - wanted.logits[0, 0]) > 1e-3, "negative control: the runs do differ"
    assert abs(patched.logits[-1, 0] - wanted.logits[0, 0]) > 1e-3, "one layer's heads are not everything"


def test_the_path_of_the_indirect_object_is_found(run):
    result = run(
        "explain/activation-patching", entry=DEMO, prompt=STORY, corrupted=STORY.replace(", John", ", Mary"),
        target=" Mary", foil=" John", score="logit",
    )  # fmt: skip
    assert result.clean_score > 5
    assert result.corrupted_score < -5
    changed = result.tokens.index(" John", 6)
    first = result.grid("resid_pre").effects[0]
    assert first[changed] == pytest.approx(1.0, abs=1e-4), "below the first layer the changed token is everything"
    assert all(abs(effect) < 1e-4 for place, effect in enumerate(first) if place != changed)
    assert result.grid("attn_out").effects[3][-1] > 0.9, "the last layer reads the name at the last token"
    heads = np.array(result.grid("z").effects)
    assert {(3, 0), (3, 1)} == {
        tuple(map(int, np.unravel_index(i, heads.shape))) for i in heads.flatten().argsort()[-2:]
    }
    assert result.evaluations == 3 * 4 * 5 + 4 * 8
    with pytest.raises(KeyError):
        run(
            "explain/activation-patching", entry=DEMO, prompt=STORY, corrupted=STORY.replace("Mary", "Anna"),
            grids=["z"],
        ).grid("mlp_out")  # fmt: skip


def test_a_chat_and_the_models_own_answer(run, tiny_model):
    def chat(text):
        return [{"role": "user", "content": text}]

    result = run(
        "explain/activation-patching", entry=tiny_model("llama"), messages=chat(CLEAN),
        corrupted_messages=chat(CORRUPTED), grids=["resid_pre"], layers=[1], positions=[0, 4],
    )  # fmt: skip
    [grid] = result.grids
    assert (grid.layers, grid.columns) == ([1], [0, 4])
    assert grid.effects[0][0] == 0.0
    assert result.target.text
    assert "<|user|>" in result.corrupted


def test_what_cannot_be_patched_is_refused_before_the_weights(tiny_model, tiny_classifier):
    fresh = ModelPool()
    method = find_method("explain/activation-patching")

    def refused(error, pointer, entry=None, **params):
        entry = entry or tiny_model("llama")
        request = method.params_model.model_validate(
            {"model": entry.name, "prompt": CLEAN, "corrupted": CORRUPTED, "target": " was", **params}
        )
        with Session(entry, fresh, lambda *_: None) as session, pytest.raises(error) as caught:
            implementation_of(method)(request, session)
        assert pointer in [field.pointer for field in caught.value.errors]
        assert fresh.resident() == []
        return caught.value

    error = refused(InvalidRequest, "/corrupted", corrupted="the food")
    assert (
        "The prompt has 21 tokens and the corrupted one 3" in error.detail
        or "tokens and the corrupted one" in error.detail
    )
    refused(InvalidRequest, "/corrupted", corrupted=CLEAN)
    refused(InvalidRequest, "/layers/1", layers=[0, 3])
    refused(InvalidRequest, "/positions/0", positions=[500])
    refused(InvalidRequest, "/foil", foil=" was")
    refused(TargetTooLong, "/target", target=" was" * 120)
    refused(WrongModelKind, "/model", entry=tiny_classifier("bert"), target=None)


def test_runs_that_answer_alike_have_nothing_to_patch(run, tiny_model):
    """The tokens that differ lie outside of what a sliding window lets the last one see."""
    far = " and the room was small" * 6
    with pytest.raises(InvalidRequest, match="no difference for a patch to carry") as caught:
        run(
            "explain/activation-patching", entry=tiny_model("mistral"), prompt=CLEAN + far, corrupted=CORRUPTED + far,
            target=" great", grids=["z"],
        )  # fmt: skip
    assert caught.value.errors[0].pointer == "/corrupted"


def test_a_cancelled_job_keeps_the_grids_that_are_done(pool, tiny_model):
    class StopError(Exception):
        pass

    def stop(phase, *_):
        if phase.startswith("mlp_out"):
            raise StopError

    entry = tiny_model("gpt2")
    request = ActivationPatchingParams.model_validate(
        {"model": entry.name, "prompt": CLEAN, "corrupted": CORRUPTED, "grids": ["z", "mlp_out"], "layers": [0]}
    )
    with Session(entry, pool, stop) as session:
        with pytest.raises(StopError):
            patch(request, session)
        assert session.job.make_partial_result is not None
        part: Any = session.job.make_partial_result()
    assert [grid.point for grid in part.grids] == ["z"]
