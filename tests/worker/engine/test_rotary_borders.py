"""Every way the engine reads rows, on models whose rotary factors depend on length, against one row at a time.

The rows lie on both sides of the border; the reference is a copy of the model that has read nothing before.
"""

import threading
from contextlib import ExitStack

import numpy as np
import pytest
import torch

from explaind.contract.blocks.hook_points import HookPoint
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.engine.activations.capture import capture_rows
from explaind_worker.engine.activations.direct_logit_attribution import Read, split_logits
from explaind_worker.engine.activations.interventions import Edit, Variant
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.generation.batched_greedy import Continuations
from explaind_worker.engine.generation.generate import greedy
from explaind_worker.engine.gradients.deeplift import deeplift
from explaind_worker.engine.gradients.differentiable_score import EmbeddedQuestion, embed
from explaind_worker.engine.gradients.score_gradient import Path
from explaind_worker.engine.scoring import tree_support
from explaind_worker.engine.scoring.classifier_evaluator import ClassRows
from explaind_worker.engine.scoring.dense_evaluator import DenseRows
from explaind_worker.engine.scoring.rows import AskedRow, grouped
from explaind_worker.engine.scoring.score_query import ScoreSpec
from explaind_worker.engine.scoring.tree_evaluator import TreeRows
from explaind_worker.engine.sweep import runs as sweep_runs
from explaind_worker.engine.sweep import support_check
from explaind_worker.engine.sweep.generation import continuations_under
from explaind_worker.engine.sweep.sweep import Sweep, SweepQuestion
from explaind_worker.models.loading.loading import load_encoder, load_model
from explaind_worker.models.structure.rotary_lengths import RotaryLengths
from tests.support.rotary_models import BORDER, CLASSIFIERS, KINDS, Alone, save_rotary
from tests.worker.engine.plain_hooks import attach

WIDE = BatchLimits(tokens=4096, logits=1 << 24)
LENGTHS = (9, 13, 14, 15, 16, 17, 18, 20, 20, 24)
OFF = 0.1  # values without the mending are off by more than this
SIDES = "longrope", "dynamic"


def silent(*_):
    return None


def tokens(length, seed=0):
    """Tokens of a row; rows of one seed share their beginnings."""
    return tuple(int(token) for token in (np.arange(length) * 31 + 17 * seed + 7) % 300 + 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """`folder("longrope")`: where the tiny model of that kind lies."""
    known = {}

    def of(kind, *, classifier=False):
        if (kind, classifier) not in known:
            known[kind, classifier] = tmp_path_factory.mktemp(kind)
            save_rotary(known[kind, classifier], kind, tokenizer, classifier=classifier)
        return known[kind, classifier]

    return of


@pytest.fixture(scope="module")
def model(folder):
    """`model("longrope")`: the tiny model of that kind in memory."""
    known = {}

    def of(kind, *, classifier=False):
        if (kind, classifier) not in known:
            entry = ModelEntry(name=kind, path=folder(kind, classifier=classifier))
            known[kind, classifier] = load_model(entry, load_encoder(entry), threading.Lock())
        return known[kind, classifier]

    return of


@pytest.fixture(scope="module")
def alone(folder):
    """`alone("longrope")`: the reference."""
    known = {}

    def of(kind, *, classifier=False):
        if (kind, classifier) not in known:
            known[kind, classifier] = Alone(folder(kind, classifier=classifier), classifier=classifier)
        return known[kind, classifier]

    return of


@pytest.fixture
def border_unheeded(monkeypatch):
    """The engine as it would be if all lengths were taken to be alike."""
    monkeypatch.setattr(RotaryLengths, "last", lambda _, length: 1 << 22)
    monkeypatch.setattr(RotaryLengths, "alike", lambda *_: True)
    monkeypatch.setattr(RotaryLengths, "vary", False)


def rows_of(continuations, lengths=LENGTHS):
    return [
        AskedRow(
            (number, bytes([number, index])), np.concatenate([np.array(tokens(length, index % 2)), group.fed]), group
        )
        for number, group in enumerate(grouped(continuations))
        for index, length in enumerate(lengths)
    ]


def scored(evaluator, model):
    """Log-probabilities of two continuations after rows of all lengths, and the rows."""
    rows = rows_of([(5, 6, 7), (8,)])
    found = {row.key: answer[1, :, 0] for row, answer in evaluator(model, WIDE, CostMeter())(rows)}
    return rows, np.concatenate([found[row.key] for row in rows])


def expected_scores(alone, rows):
    made = []
    for row in rows:
        prompt = row.tokens[: len(row.tokens) - len(row.group.fed)].tolist()
        made += alone.logprobs(prompt, row.group.read[:, 0].tolist())
    return np.array(made)


@pytest.mark.parametrize("evaluator", [TreeRows, DenseRows])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_score_as_they_do_alone(model, alone, kind, evaluator):
    rows, found = scored(evaluator, model(kind))
    np.testing.assert_allclose(found, expected_scores(alone(kind), rows), atol=1e-3)


@pytest.mark.usefixtures("border_unheeded")
@pytest.mark.parametrize("evaluator", [TreeRows, DenseRows])
@pytest.mark.parametrize("kind", KINDS)
def test_without_a_border_rows_would_score_otherwise(model, alone, kind, evaluator):
    rows, found = scored(evaluator, model(kind))
    assert np.abs(found - expected_scores(alone(kind), rows)).max() > OFF


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifiers_rows_are_read_as_they_are_alone(model, alone, kind, monkeypatch):
    classifier, reference = model(kind, classifier=True), alone(kind, classifier=True)
    rows = rows_of([(0,), (1,)])
    expected = np.stack([reference.logits(row.tokens)[:2].numpy() for row in rows])

    def found():
        answers = {row.key: answer[0, 0] for row, answer in ClassRows(classifier, WIDE, CostMeter())(rows)}
        return np.stack([answers[row.key] for row in rows])

    assert classifier.pads, "below the border rows of several lengths share a batch"
    np.testing.assert_allclose(found(), expected, atol=1e-3)
    monkeypatch.setattr(RotaryLengths, "alike", lambda *_: True)
    assert np.abs(found() - expected).max() > OFF


def test_rows_below_a_border_share_their_forwards(model):
    meter = CostMeter()
    list(DenseRows(model("longrope"), WIDE, meter)(rows_of([(8,)])))
    assert meter.forwards == 2, "one for each side"


@pytest.mark.parametrize("kind", KINDS)
def test_generation_says_what_whole_forwards_say(model, alone, kind):
    for prompt in (tokens(12), tokens(16, 1), tokens(19)):
        said = greedy(model(kind), prompt, 10, meter=CostMeter(), report_progress=silent)
        assert said == until_end(alone(kind).greedy(prompt, 10), model(kind))


def until_end(said, model):
    return said[: next((place for place, token in enumerate(said) if token in model.end_ids), len(said))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_prompts_goes_on_as_each_does_alone(model, alone, kind):
    prompts = [tokens(length, seed) for seed, length in enumerate((7, 11, 14, 14, 16, 17, 21))]
    batch = Continuations(
        model(kind), 9, meter=CostMeter(), report_progress=silent, limits=WIDE, residuals=kind == "longrope"
    )
    found = batch(prompts)
    for prompt, continued in zip(prompts, found, strict=True):
        assert list(continued.token_ids) == until_end(alone(kind).greedy(prompt, 9), model(kind))
        assert (continued.residuals is not None) == (kind == "longrope")


@pytest.mark.usefixtures("border_unheeded")
@pytest.mark.parametrize("kind", SIDES)
def test_without_a_border_generation_would_say_something_else(model, alone, kind):
    prompts = [tokens(12, seed) for seed in range(5)]
    said = [greedy(model(kind), prompt, 10, meter=CostMeter(), report_progress=silent) for prompt in prompts]
    assert said != [until_end(alone(kind).greedy(prompt, 10), model(kind)) for prompt in prompts]


def variants_of(model):
    heads = [
        Variant((Edit(layer, "z", heads=(head,)),)) for layer in (0, len(model.anatomy.blocks) - 1) for head in (0, 3)
    ]
    value = torch.linspace(-1, 1, model.anatomy.hidden)[None]
    return [*heads, Variant((Edit(1, "mlp_out"),)), Variant((Edit(1, "resid_pre", positions=(2, 4), value=value),))]


def logits_under(alone, variant, ids):
    """[position, vocabulary] of a row alone with the variant's edits."""
    with ExitStack() as stack:
        for edit in variant.edits:
            stack.callback(attach(alone, edit).remove)
        return alone.logits(ids)


def said_under(alone, prompt, variant, count):
    said = []
    while len(said) < count:
        said.append(int(logits_under(alone, variant, [*prompt, *said])[-1].argmax()))
    return said


QUESTIONS = [(13, ((5, 6, 7, 8, 9), (7, 8))), (15, ((5, 6), (9,))), (16, ((8, 9),)), (16, ((9, 9, 4),)), (21, ((4,),))]


def swept(model):
    asked = [
        SweepQuestion(tokens(length, seed), continuations, variants_of(model))
        for seed, (length, continuations) in enumerate(QUESTIONS)
    ]
    return asked, Sweep(model, meter=CostMeter(), report_progress=silent, limits=WIDE)(asked)


def swept_alone(alone, asked):
    """Log-probabilities [variant, token] of each question, every run in a forward of its own."""
    found = []
    for question in asked:
        of_runs = []
        for variant in [Variant(), *question.variants]:
            of_run = []
            for continuation in question.continuations:
                logits = logits_under(alone, variant, [*question.prompt, *continuation[:-1]]).log_softmax(-1)
                at = len(question.prompt) - 1
                of_run += [float(logits[at + place, token]) for place, token in enumerate(continuation)]
            of_runs.append(of_run)
        found.append(np.array(of_runs))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_changed_runs_score_as_they_do_alone(model, alone, kind):
    asked, found = swept(model(kind))
    for scores, expected in zip(found, swept_alone(alone(kind), asked), strict=True):
        np.testing.assert_allclose(scores.logprobs, expected, atol=1e-3)


@pytest.mark.usefixtures("border_unheeded")
def test_without_a_border_changed_runs_would_score_otherwise(model, alone):
    asked, found = swept(model("longrope"))
    expected = swept_alone(alone("longrope"), asked)
    assert max(np.abs(s.logprobs - e).max() for s, e in zip(found, expected, strict=True)) > OFF


@pytest.mark.parametrize("kind", KINDS)
def test_changed_runs_say_what_they_say_alone(model, alone, kind):
    made, count = model(kind), 6
    prompts, variants = [tokens(12), tokens(14, 1), tokens(16, 2), tokens(20, 3)], variants_of(made)[::2]
    found = continuations_under(
        made,
        prompts,
        [variants] * len(prompts),
        count,
        end_ids=frozenset(),
        meter=CostMeter(),
        report_progress=silent,
        limits=WIDE,
    )
    for prompt, of_runs in zip(prompts, found, strict=True):
        assert of_runs == [said_under(alone(kind), prompt, variant, count) for variant in [Variant(), *variants]]


def question(length):
    """Labels of one, three and five tokens, so that rows of a prompt of 14 end on both sides of the border."""
    labels = ((5,), (6, 7, 8), (9, 4, 5, 6, 7))
    return tokens(length), ScoreSpec("logprob", labels[1], labels=labels)


def score_alone(alone, prompt, spec):
    """The label's log-probability among all, from embeddings [position, hidden], every row by itself."""
    wholes = []
    for label in spec.labels:
        network = alone.network()
        embeddings = network.get_input_embeddings()(torch.tensor([label[:-1]], dtype=torch.long))[0]
        rows = torch.cat([prompt, embeddings])[None]
        found = network(inputs_embeds=rows, use_cache=False).logits[0].log_softmax(-1)
        wholes.append(sum(found[len(prompt) - 1 + place, token] for place, token in enumerate(label)))
    return torch.stack(wholes).log_softmax(0)[spec.labels.index(spec.target)]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_rows_alone(model, alone, kind):
    made, (ids, spec) = model(kind), question(14)
    leaf = embed(made, ids).clone().requires_grad_()
    score = EmbeddedQuestion(made, spec).columns(leaf[None]).sum()
    own = leaf.detach().clone().requires_grad_()
    expected = score_alone(alone(kind), own, spec)
    torch.testing.assert_close(score, expected, rtol=1e-4, atol=1e-4)
    gradients = [torch.autograd.grad(of, at)[0] for of, at in ((score, leaf), (expected, own))]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("border_unheeded")
@pytest.mark.parametrize("kind", SIDES)
def test_without_a_border_a_score_of_labels_would_be_another(model, alone, kind):
    made, (ids, spec) = model(kind), question(14)
    prompt = embed(made, ids)
    with torch.no_grad():
        score = EmbeddedQuestion(made, spec).columns(prompt[None]).sum()
        assert abs(float(score - score_alone(alone(kind), prompt, spec))) > OFF


@pytest.mark.parametrize("kind", ["longrope", "by_layer"])
def test_deeplift_adds_up_to_the_difference_of_rows_alone(model, alone, kind):
    """Two rows a label, in one call of captum's; up to the softmaxes, whose part in the rule is a slope."""
    made, (ids, spec) = model(kind), question(14)
    full, base = embed(made, ids), embed(made, (*ids[:-1], 3))
    with torch.no_grad():
        ends = [score_alone(alone(kind), prompt, spec) for prompt in (full, base)]
        seen = [EmbeddedQuestion(made, spec).columns(prompt[None]).sum() for prompt in (full, base)]
    np.testing.assert_allclose(seen, ends, atol=1e-3)
    path = Path(base, full, np.array([1.0]))
    found = deeplift(made, spec, path, per_target=False, meter=CostMeter(), report_progress=silent)
    assert found.shape == (14, 1)
    assert np.isfinite(found).all()
    assert np.abs(found[:-1]).max() < 1e-5, "where nothing differs nothing contributes"
    assert abs(found[-1, 0]) > 1e-3


def streams(alone, ids):
    """What leaves each block in a row alone, [position, hidden]."""
    kept = []

    def keep(_module, _args, out):
        kept.append((out if isinstance(out, torch.Tensor) else out[0])[0])

    with ExitStack() as stack:
        for block in alone.anatomy.blocks:
            stack.callback(block.module.register_forward_hook(keep).remove)
        alone.logits(ids)
    return kept


def test_activations_of_rows_are_those_of_each_alone(model, alone):
    made, rows = model("longrope"), [tokens(length, length) for length in (20, 16, 9)]
    found = capture_rows(made, rows, [HookPoint("resid_pre", 0), "resid_post"], meter=CostMeter())
    begin = 0
    for row in rows:
        kept = streams(alone("longrope"), row)
        for layer, hidden in enumerate(kept):
            here = found[HookPoint("resid_post", layer)][begin : begin + len(row)]
            torch.testing.assert_close(here, hidden, rtol=1e-4, atol=1e-4)
        begin += len(row)


@pytest.mark.parametrize("kind", ["longrope", "by_layer"])
def test_split_logits_are_read_in_the_row_that_they_stand_in(model, alone, kind):
    prompt, target, foil = tokens(15), (5, 6, 7), (8,)
    reads = [
        Read((*prompt, *text[:place]), token, row=(*prompt, *text[:-1]))
        for text in (target, foil)
        for place, token in enumerate(text)
    ]
    split = split_logits(model(kind), reads, limits=WIDE, meter=CostMeter(), report_progress=silent)
    expected = [*alone(kind).logprobs(prompt, target), *alone(kind).logprobs(prompt, foil)]
    np.testing.assert_allclose(split.logprobs, expected, atol=1e-3)
    np.testing.assert_allclose(split.sums, split.logits, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_trials_find_a_tree_and_a_sweep_right(model, kind):
    made = model(kind)
    assert tree_support._tried(made) is None
    assert support_check._tried(made) is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_trials_see_the_border(model, kind, monkeypatch):
    """A tree or a sweep that mixes both sides is found out, although the trial's rows are shorter than some borders."""
    made = model(kind)
    monkeypatch.setattr(TreeRows, "_alike", lambda _, rows: [rows])
    assert "differ" in (tree_support._tried(made) or "")
    monkeypatch.setattr(sweep_runs, "_alike", lambda *_: True)
    assert "differ" in (support_check._tried(made) or "")


def test_the_border_of_a_large_model_is_seen_by_short_rows(tmp_path, tokenizer, monkeypatch):
    far = {**KINDS["longrope"][1]["rope_parameters"], "original_max_position_embeddings": 4096}
    fields = {"rope_parameters": far, "original_max_position_embeddings": 4096, "max_position_embeddings": 8192}
    monkeypatch.setitem(KINDS, "far", ("phi3", fields))
    save_rotary(tmp_path, "far", tokenizer)
    entry = ModelEntry(name="far", path=tmp_path)
    made = load_model(entry, load_encoder(entry), threading.Lock())
    assert tree_support._tried(made) is None
    assert support_check._tried(made) is None
    assert made.lengths.last(BORDER) == 4096, "the trial is over"
    monkeypatch.setattr(TreeRows, "_alike", lambda _, rows: [rows])
    assert "differ" in (tree_support._tried(made) or "")
    monkeypatch.setattr(sweep_runs, "_alike", lambda *_: True)
    assert "differ" in (support_check._tried(made) or "")
