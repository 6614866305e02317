"""Gradients of sequence classifiers, against captum over plain forwards, one row at a time."""

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.errors import GradientsUnavailable

PROMPT = "The food was great but rude"
ASKED = {"prompt": PROMPT, "units": "token"}
FAMILIES = ["bert", "roberta", "distilbert", "electra", "gpt2", "llama"]


class Plain:
    """A classifier's score as a function of embeddings, without anything of the engine."""

    def __init__(self, model, wanted, *, masked=True):
        self.network = model.network
        encoded = model.encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
        self.own = [index for index, special in enumerate(encoded.special) if not special]
        embedding = self.network.get_input_embeddings()
        self.full = embedding(torch.tensor([encoded.token_ids]))
        self.base = self.full.clone()
        if masked:
            self.base[:, self.own] = embedding(torch.tensor(model.encoder.tokenizer.mask_token_id))
        else:
            self.base[:, self.own] = 0.0
        self.wanted = wanted

    def score(self, embeddings):
        return self.wanted(self.network(inputs_embeds=embeddings).logits)

    def of_tokens(self, values):
        return values.sum(-1)[0, self.own].detach().numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_integrated_gradients_equal_captum(classifier, run, tiny_classifier, family):
    plain = Plain(classifier(family), lambda logits: logits.log_softmax(-1)[:, 2])
    expected = IntegratedGradients(plain.score).attribute(plain.full, plain.base, n_steps=8, internal_batch_size=1)
    result = run(
        "explain/integrated-gradients", entry=tiny_classifier(family), target={"class": "POSITIVE"}, n_steps=8, **ASKED
    )
    np.testing.assert_allclose(result.values, plain.of_tokens(expected), atol=1e-4)
    assert result.full_value == pytest.approx(float(plain.score(plain.full)), abs=1e-4)
    assert result.base_value == pytest.approx(float(plain.score(plain.base)), abs=1e-4)
    assert result.target.text == "POSITIVE"


def test_a_class_against_another_by_logits(classifier, run, tiny_classifier):
    plain = Plain(classifier("bert"), lambda logits: logits[:, 2] - logits[:, 0], masked=False)
    expected = InputXGradient(plain.score).attribute(plain.full.clone().requires_grad_())
    asked = ASKED | {"target": {"class": 2}, "foil": {"class": 0}, "score": "logit"}
    result = run("explain/input-x-gradient", entry=tiny_classifier("bert"), **asked)
    np.testing.assert_allclose(result.values, plain.of_tokens(expected), atol=1e-4)
    turned = run(
        "explain/input-x-gradient",
        entry=tiny_classifier("bert"),
        **ASKED | {"target": {"class": 0}, "foil": {"class": 2}, "score": "logit"},
    )
    np.testing.assert_allclose(turned.values, np.negative(result.values), atol=1e-5)


def test_the_predicted_class_is_the_target_when_none_is_given(classifier, run, tiny_classifier):
    entry = tiny_classifier("bert")
    unasked = run("explain/integrated-gradients", entry=entry, n_steps=4, **ASKED)
    named = run("explain/integrated-gradients", entry=entry, n_steps=4, target={"class": unasked.target.text}, **ASKED)
    assert unasked.values == pytest.approx(named.values)


def test_many_steps_add_up_and_methods_are_compared(run, tiny_classifier):
    entry = tiny_classifier("bert")
    result = run("explain/integrated-gradients", entry=entry, target={"class": 1}, n_steps=100, **ASKED)
    assert abs(result.completeness_gap) < 1e-3 * max(1.0, abs(result.full_value - result.base_value))
    compared = run(
        "explain/compare-methods",
        entry=entry,
        target={"class": 1},
        methods=["shap", "integrated-gradients"],
        faithfulness=True,
        **ASKED,
    )
    assert [row.method for row in compared.methods] == ["shap", "integrated-gradients"]
    assert all(row.values is not None for row in compared.methods)


def test_deeplift_is_refused_before_the_weights(run, tiny_classifier):
    with pytest.raises(GradientsUnavailable, match="is a classifier"):
        run("explain/deeplift", entry=tiny_classifier("bert"), target={"class": 1}, **ASKED)
