"""The parts of the gradients' engine: quadrature, the torch twin of a question's columns, the path."""

import numpy as np
import pytest
import torch

from explaind_worker.engine.gradients.differentiable_score import EmbeddedQuestion, columns_of, embed
from explaind_worker.engine.gradients.quadrature import places_and_weights
from explaind_worker.engine.gradients.score_gradient import Noise, Path
from explaind_worker.engine.scoring.score_query import ScoreSpec
from explaind_worker.engine.scoring.value_function import TokenScores
from tests.support.reference import token_logits, token_logprobs

QUESTIONS = [
    ScoreSpec(score, target, foil=foil, labels=labels)
    for score in ("logprob", "prob", "logit")
    for target, foil, labels in [
        ((5, 6), None, None),
        ((5, 6), (7, 8, 9), None),
        ((7,), None, ((5, 6), (7,), (8, 9, 4))),
    ]
]


@pytest.mark.parametrize("rule", ["gausslegendre", "riemann_left", "riemann_middle", "riemann_right"])
def test_rules_are_captums(rule):
    from captum.attr._utils.approximation_methods import approximation_parameters

    sizes, alphas = approximation_parameters(rule)
    places, weights = places_and_weights(rule, 7)
    np.testing.assert_allclose(places, alphas(7), atol=1e-6)
    np.testing.assert_allclose(weights, sizes(7), atol=1e-6)


def test_the_trapezoid_adds_up_to_one_where_captums_does_not():
    from captum.attr._utils.approximation_methods import approximation_parameters

    sizes, alphas = approximation_parameters("riemann_trapezoid")
    places, weights = places_and_weights("riemann_trapezoid", 5)
    np.testing.assert_allclose(places, alphas(5))
    assert weights.sum() == pytest.approx(1.0)
    assert sum(sizes(5)) == pytest.approx(0.8)
    assert weights @ (3 * places + 1) == pytest.approx(2.5), "exact for straight lines"


@pytest.mark.parametrize("question", QUESTIONS, ids=repr)
def test_columns_are_those_of_the_question(question):
    tokens = sum(len(c) for c in question.continuations)
    logits = np.random.default_rng(0).normal(size=(4, tokens))
    logprobs = -np.abs(np.random.default_rng(1).normal(size=(4, tokens)))
    ours = columns_of(question, torch.from_numpy(logits), torch.from_numpy(logprobs))
    np.testing.assert_allclose(ours.numpy(), question.columns(TokenScores(logprobs, logits)), atol=1e-12)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma", "gemma3_text", "mistral"])
def test_ragged_continuations_share_a_forward_without_changing_it(loaded, family):
    model, prompt = loaded(family), [1, 20, 31, 42, 27, 60, 11, 90]
    question = ScoreSpec("logprob", (5, 6), labels=((5, 6), (7,), (5, 9), (8, 9, 4, 4)))
    with torch.no_grad():
        logits, logprobs = EmbeddedQuestion(model, question).scores(embed(model, prompt).expand(3, -1, -1))
    for ours, reference in ((logits, token_logits), (logprobs, token_logprobs)):
        expected = [value for label in question.continuations for value in reference(model, prompt, label)]
        np.testing.assert_allclose(ours.numpy(), np.tile(expected, (3, 1)), atol=2e-4)
    assert EmbeddedQuestion.shape(question) == (3, 4, 3)


def test_a_path_ends_where_it_should_and_is_noisy_at_its_end_alone():
    base, full = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    points, differences = Path(base, full, np.array([0.0, 0.5, 1.0])).at([0, 1, 2])
    assert torch.equal(points[0], base)
    assert torch.equal(points[2], full)
    assert torch.equal(differences[1], full - base)
    moves = torch.tensor([False, True, True, True, True])
    noisy = Path(base, full, np.array([0.0, 1.0, 1.0]), Noise(0.5, 7, moves))
    points, differences = noisy.at([0, 1, 2])
    assert torch.equal(points[0], base)
    assert torch.equal(points[1, 0], full[0]), "what is no unit stays"
    assert not torch.equal(points[1], points[2])
    assert torch.allclose(points[2], base + differences[2])
    assert torch.equal(noisy.at([2])[0][0], points[2]), "a point's noise does not depend on its batch"
