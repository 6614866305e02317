"""Tokens that a tokenizer knows and the model's embedding has no row for: on a GPU one of them ends the worker."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

from explaind.contract.errors import ExplaindError, InvalidRequest, InvalidTarget, ModelLoadFailed
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.methods.explain.attention import _repeated
from explaind_worker.models.pool.pool import ModelPool

PROMPT = "The food was great"


@pytest.fixture(scope="module")
def entry(tiny_model, tmp_path_factory) -> ModelEntry:
    """Its tokenizer was given a mask and a padding token that the model was not resized for."""
    folder = tmp_path_factory.mktemp("added")
    shutil.copytree(tiny_model("llama").path, folder, dirs_exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    tokenizer.add_special_tokens({"mask_token": "[NEW]", "pad_token": "[FILL]"})
    assert tokenizer.mask_token_id >= rows
    tokenizer.save_pretrained(folder)
    return ModelEntry(name="added", path=folder)


@pytest.mark.parametrize("method", ["explain/shap", "explain/integrated-gradients", "explain/kernel-shap"])
def test_a_baseline_without_a_row_is_passed_over_for_the_next(run, entry, method):
    result = run(method, entry=entry, prompt=PROMPT, target=" but")
    assert result.baseline.text == "</s>", "mask and padding have no rows, and there is no unknown token"
    assert max(result.baseline.token_ids) < 330


@pytest.mark.parametrize(
    ("method", "fields", "error", "pointer"),
    [
        ("explain/shap", {"prompt": "The [NEW] food", "target": " but"}, InvalidRequest, "/prompt"),
        ("explain/shap", {"prompt": PROMPT, "target": " [NEW]"}, InvalidTarget, "/target"),
        ("explain/shap", {"prompt": PROMPT, "target": " but", "foil": " [FILL]"}, InvalidTarget, "/foil"),
        ("explain/shap", {"prompt": PROMPT, "target": {"token_ids": [5, 330]}}, InvalidTarget, "/target/token_ids/1"),
        (
            "explain/feature-ablation",
            {"prompt": PROMPT, "target": " but", "baseline": {"text": "[NEW]"}},
            InvalidTarget,
            "/baseline/text",
        ),
        (
            "explain/saliency",
            {"prompt": PROMPT, "target": " but", "baseline": {"text": "[NEW]"}},
            InvalidTarget,
            "/baseline/text",
        ),
        ("explain/logit-lens", {"prompt": PROMPT, "track": [330]}, InvalidTarget, "/track/0"),
        ("explain/logit-lens", {"prompt": PROMPT, "track": ["[NEW]"]}, InvalidTarget, "/track/0"),
        ("infer/score", {"prompt": PROMPT, "target": " [NEW]"}, InvalidTarget, "/target"),
        ("infer/generate", {"prompt": "[NEW]"}, InvalidRequest, "/prompt"),
        ("infer/classify", {"prompt": PROMPT, "labels": [" but", " [NEW]"]}, InvalidTarget, "/labels/1"),
        ("infer/tokenize", {"prompt": "The [NEW] food"}, InvalidRequest, "/prompt"),
    ],
)
def test_a_token_without_a_row_is_refused_where_it_is(run, entry, method, fields, error, pointer):
    with pytest.raises(error) as caught:
        run(method, entry=entry, **fields)
    assert isinstance(caught.value, ExplaindError)
    assert [problem.pointer for problem in caught.value.errors] == [pointer]
    assert "330" in caught.value.detail


def test_random_tokens_are_drawn_from_those_with_rows(entry):
    from explaind.contract.methods.explain.attention import METHOD

    encoder = ModelPool().encoder(entry)
    assert (len(encoder.tokenizer), encoder.vocabulary) == (332, 330)
    params = METHOD.params_model.model_validate({"model": "added", "prompt": PROMPT, "induction_probe": True})
    assert all(max(_repeated(params.model_copy(update={"seed": seed}), encoder).token_ids) < 330 for seed in range(50))


def with_padding_beyond(entry: ModelEntry, folder) -> ModelEntry:
    shutil.copytree(entry.path, folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "pad_token_id": settings["vocab_size"]}))
    return ModelEntry(name="padded", path=folder)


def test_a_model_whose_padding_has_no_row_is_refused(tiny_classifier, tmp_path):
    """torch refuses to build BERT's embedding, with an assertion."""
    entry, pool = with_padding_beyond(tiny_classifier("bert"), tmp_path / "model"), ModelPool()
    for use in (pool.model, pool.encoder, pool.meta_model):
        with pytest.raises(ModelLoadFailed):
            use(entry)


def test_or_its_rows_are_filled_up_with_another_token(tiny_classifier, run, tmp_path):
    """GPT-2's embedding does not name its padding."""
    entry = with_padding_beyond(tiny_classifier("gpt2"), tmp_path / "model")
    fields = {"prompt": PROMPT, "target": {"class": 0}, "baseline": "remove"}
    ours = run("explain/shap", entry=entry, **fields)
    theirs = run("explain/shap", entry=tiny_classifier("gpt2"), **fields)
    assert ours.values == pytest.approx(theirs.values, abs=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"hidden_size": "wide"}, {"num_hidden_layers": None}, {"vocab_size": -5}, {"rope_parameters": 7}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_config_of_other_types_is_a_model_that_cannot_be_loaded(tiny_model, tmp_path, changes):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("llama").path, folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, **changes}))
    entry, pool = ModelEntry(name="odd", path=folder), ModelPool()
    for use in (pool.model, pool.meta_model):
        with pytest.raises(ModelLoadFailed) as caught:
            use(entry)
        assert str(folder) not in caught.value.detail


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda _: b"", lambda data: b"\xff" * 64 + data]
)
def test_damaged_weights_are_a_model_that_cannot_be_loaded(tiny_model, tmp_path, damage):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("llama").path, folder)
    file = folder / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ModelLoadFailed) as caught:
        ModelPool().model(ModelEntry(name="damaged", path=folder))
    assert str(folder) not in caught.value.detail
