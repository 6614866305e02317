"""How classifiers are told apart, loaded, checked, and what of them is refused."""

import json
import shutil
import threading

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.errors import ModelLoadFailed, SelfCheckFailed
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.loading import classifier_check
from explaind_worker.models.loading.classifier_check import check_classifier
from explaind_worker.models.loading.loaded import LoadedClassifier, LoadedModel
from explaind_worker.models.loading.loading import load_encoder, load_model, size_of
from explaind_worker.models.structure.classifier_head import class_logits, padded
from tests.support.classifiers import FAMILIES, NAMES

PROMPT = "The food was great but the room was small"


def fresh(entry: ModelEntry):
    return load_model(entry, load_encoder(entry), threading.Lock())


def ids_of(model, prompt=PROMPT):
    return list(model.encoder.prompt(PromptRequest(model="m", prompt=prompt)).token_ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_config_says_that_it_classifies(classifier, tiny_classifier, family):
    model = classifier(family)
    assert isinstance(model, LoadedClassifier)
    assert model.classes.names == NAMES
    assert model.pads
    card = tiny_classifier(family).card()
    assert (card.kind, card.labels) == ("classifier", list(NAMES))
    assert size_of(tiny_classifier(family)) == pytest.approx(model.bytes, rel=0.01)


def test_causal_models_are_what_they_were(loaded, tiny_model):
    assert isinstance(loaded("gpt2"), LoadedModel)
    assert loaded("gpt2").encoder.classes is None
    assert (tiny_model("gpt2").card().kind, tiny_model("gpt2").card().labels) == ("causal", None)


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_quantized_classifiers_keep_their_heads_whole(tiny_classifier, family, quantization):
    entry = tiny_classifier(family, fields={"quantization": quantization})
    model = fresh(entry)
    head = model.network.score if family == "llama" else model.network.classifier
    assert type(head) is torch.nn.Linear
    kinds = {type(module).__module__.split(".")[0] for module in model.network.base_model.modules()}
    assert "bitsandbytes" in kinds
    assert size_of(entry) == pytest.approx(model.bytes, rel=0.1)


def test_encoders_close_their_texts(classifier):
    ids = ids_of(classifier("bert"))
    assert (ids[0], ids[-1]) == (2, 3)
    encoded = classifier("bert").encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    assert (encoded.spans[0], encoded.spans[-1]) == (None, None)
    assert "".join(PROMPT[slice(*span)] for span in encoded.spans if span) == PROMPT.replace(" ", "")


def test_roberta_has_fewer_places_than_its_config_says(classifier):
    model = classifier("roberta")
    assert model.encoder.context == 126
    assert classifier("bert").encoder.context == 128
    with torch.no_grad():
        longest = torch.full((1, 126), 7)
        assert model.network(longest).logits.isfinite().all()
        with pytest.raises((IndexError, RuntimeError)):
            model.network(torch.full((1, 127), 7))


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_give_the_logits_of_their_ids_and_gradients(classifier, family):
    """Of ragged rows, to within rounding; the last tokens have gradients (a window may not reach the first)."""
    model = classifier(family)
    rows = [ids_of(model), ids_of(model, "The food")]
    ids, mask = padded(rows, 0)
    with torch.no_grad():
        alone = torch.cat([model.network(torch.tensor([row])).logits for row in rows])
    embeds = model.network.get_input_embeddings()(ids).detach().requires_grad_()
    logits = class_logits(model.network, inputs_embeds=embeds, attention_mask=mask)
    torch.testing.assert_close(logits.detach(), alone, atol=1e-4, rtol=1e-4)
    logits[:, 0].sum().backward()
    strength = embeds.grad.abs().sum(-1)
    assert (strength[0, -4:] > 0).all()
    assert (strength[~mask.bool()] == 0).all()


def test_a_head_read_elsewhere_is_refused(tiny_classifier):
    """The negative control of the self-check: a body whose own forward reads the first token."""
    model = fresh(tiny_classifier("llama"))
    network, last = model.network, type(model.network).forward

    def first(input_ids=None, **_):
        output = last(network, input_ids=input_ids)
        output.logits = network.score(network.model(input_ids).last_hidden_state[:, 0])
        return output

    check_classifier(network, model.encoder)
    network.forward = first
    with pytest.raises(SelfCheckFailed, match="reading"):
        check_classifier(network, model.encoder)


def test_rows_that_see_each_other_are_refused(tiny_classifier):
    model = fresh(tiny_classifier("bert"))
    model.network.classifier.register_forward_hook(lambda _m, _a, logits: logits - logits.mean(0, keepdim=True) / 2)
    with pytest.raises(SelfCheckFailed, match="batch"):
        check_classifier(model.network, model.encoder)


def test_nan_fails_the_self_check(tiny_classifier):
    model = fresh(tiny_classifier("bert"))
    model.network.classifier.register_forward_hook(lambda _m, _a, logits: logits * torch.nan)
    with pytest.raises(SelfCheckFailed):
        classifier_check.check_classifier(model.network, model.encoder)


def test_a_checkpoint_without_a_head_is_refused(tiny_classifier, tmp_path):
    """transformers would make a head of random numbers and say so in a log."""
    entry = tiny_classifier("bert")
    shutil.copytree(entry.path, tmp_path, dirs_exist_ok=True)
    body = AutoModel.from_pretrained(entry.path)
    body.save_pretrained(tmp_path)
    with pytest.raises(ModelLoadFailed, match="do not hold the weights"):
        fresh(ModelEntry(name="body", path=tmp_path, kind="classifier"))


def test_the_catalogue_has_the_last_word(tiny_classifier, tmp_path):
    entry = tiny_classifier("bert")
    shutil.copytree(entry.path, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "config.json"
    fields = json.loads(config.read_text())
    del fields["architectures"]
    config.write_text(json.dumps(fields))
    assert ModelEntry(name="unsaid", path=tmp_path).card().kind is None
    said = ModelEntry(name="said", path=tmp_path, kind="classifier")
    assert said.card().kind == "classifier"
    assert isinstance(fresh(said), LoadedClassifier)


def test_segment_numbers_beside_the_tokens_are_refused(tiny_classifier, tmp_path):
    entry = tiny_classifier("bert")
    shutil.copytree(entry.path, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "tokenizer.json"
    fields = json.loads(path.read_text())
    for piece in fields["post_processor"]["single"]:
        next(iter(piece.values()))["type_id"] = 2
    path.write_text(json.dumps(fields))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(json.loads((entry.path / "tokenizer_config.json").read_text()) | {
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]})
    )  # fmt: skip
    with pytest.raises(ModelLoadFailed, match="segment"):
        load_encoder(ModelEntry(name="segments", path=tmp_path))


def test_one_class_is_a_number_unless_said_otherwise(classifier):
    one = {"id2label": {0: "A"}, "label2id": {"A": 0}}
    assert classifier("bert", **one).classes.rule == "none"
    assert classifier("bert", problem_type="multi_label_classification", **one).classes.rule == "sigmoid"
    assert classifier("bert", problem_type="regression").classes.rule == "none"
    assert classifier("bert", problem_type="single_label_classification").classes.rule == "softmax"


def test_the_reference_is_the_models_own_class(classifier):
    model = classifier("gpt2")
    assert type(model.network).__name__ == "GPT2ForSequenceClassification"
    again = AutoModelForSequenceClassification.from_pretrained(model.entry.path).eval()
    ids = torch.tensor([ids_of(model)])
    with torch.no_grad():
        torch.testing.assert_close(class_logits(model.network, input_ids=ids), again(ids).logits)
