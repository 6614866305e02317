"""A checkpoint that is not the model its config describes is refused, and named; what is ignorable is not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from explaind.contract.errors import ModelLoadFailed
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.pool.pool import ModelPool

Weights = dict[str, Tensor]


@pytest.fixture
def changed(tiny_model, tmp_path) -> Callable[..., ModelEntry]:
    """`changed("llama", weights, **config)`: a copy with its weights passed through a function, its config updated."""

    def change(family: str, weights: Callable[[Weights], Weights] = dict, **config: object) -> ModelEntry:
        folder = tmp_path / "changed"
        shutil.copytree(tiny_model(family).path, folder)
        file, settings = folder / "model.safetensors", folder / "config.json"
        save_file(weights(load_file(file)), file, metadata={"format": "pt"})
        settings.write_text(json.dumps({**json.loads(settings.read_text()), **config}))
        return ModelEntry(name="changed", path=folder)

    return change


def wrapped(weights: Weights) -> Weights:
    return {f"base_model.model.{name}": value for name, value in weights.items()}


def without(part: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value for name, value in weights.items() if part not in name}


def also(name: str, value: Tensor) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, name: value}


@pytest.mark.parametrize(
    ("weights", "config", "words"),
    [
        (wrapped, {}, ["unexpected, the first is base_model.model.", "missing, the first is "]),
        (without("lm_head"), {"tie_word_embeddings": False}, ["1 weight is missing, the first is lm_head.weight"]),
        (without("layers.2.mlp.up_proj"), {}, ["1 weight is missing, the first is model.layers.2.mlp.up_proj.weight"]),
        (dict, {"num_hidden_layers": 4}, ["9 weights are missing, the first is model.layers.3."]),
        (dict, {"num_hidden_layers": 2}, ["9 weights are unexpected, the first is model.layers.2."]),
        (dict, {"intermediate_size": 96}, ["of another shape, the first is model.layers.0.mlp."]),
        (also("lm_head.bias", torch.zeros(3)), {}, ["1 weight is unexpected, the first is lm_head.bias"]),
    ],
    ids=["wrapped", "no unembedding", "one lost", "a layer short", "a layer more", "another width", "a bias more"],
)
def test_other_weights_are_refused_and_named(changed, weights, config, words):
    with pytest.raises(ModelLoadFailed) as caught:
        ModelPool().model(changed("llama", weights, **config))
    for said in words:
        assert said in caught.value.detail
    assert "/" not in caught.value.detail, "no place on this machine"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("family", "weights"),
    [
        ("gpt2", without("lm_head")),  # tied: the embedding is the unembedding
        ("gpt2", also("transformer.h.0.attn.bias", torch.ones(1, 1, 8, 8))),  # the mask of old files
        ("llama", also("model.layers.0.self_attn.rotary_emb.inv_freq", torch.ones(16))),
    ],
    ids=["tied", "an old mask", "old rotary factors"],
)
def test_what_a_family_may_lack_or_have_is_no_error(changed, tiny_model, family, weights):
    ours, _ = ModelPool().model(changed(family, weights))
    theirs, _ = ModelPool().model(tiny_model(family))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(ours.network(ids).logits, theirs.network(ids).logits)


def test_a_pooler_beside_a_classifiers_head_is_not_read(tiny_classifier, tmp_path):
    folder: Path = tmp_path / "classifier"
    shutil.copytree(tiny_classifier("roberta").path, folder)
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "roberta.pooler.dense.weight": torch.ones(2, 2)}, folder / "model.safetensors")
    assert ModelPool().model(ModelEntry(name="classifier", path=folder))[0].classes.names


@pytest.mark.parametrize(("alone", "words"), [(False, "beside the model's weights"), (True, "an adapter and no model")])
def test_an_adapter_is_not_left_out_without_a_sign(tiny_model, tmp_path, alone, words):
    folder = tmp_path / "adapted"
    folder.mkdir()
    if not alone:
        shutil.copytree(tiny_model("llama").path, folder, dirs_exist_ok=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "org/base"}')
    entry, pool = ModelEntry(name="adapted", path=folder), ModelPool()
    for use in (pool.model, pool.encoder, pool.meta_model):
        with pytest.raises(ModelLoadFailed, match=words) as caught:
            use(entry)
        assert "merge_and_unload" in (caught.value.hint or "")
        assert caught.value.status == 422
    (folder / "adapter_config.json").unlink()
    if not alone:
        assert pool.model(entry)[0].end_ids
