"""A model's size told from its config against the size it has in memory."""

import json
import os
import struct
import threading

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from explaind.contract.errors import ModelLoadFailed
from explaind_jobs.catalogue import DEMO, ModelEntry
from explaind_worker.models.files.weight_size import counted_bytes
from explaind_worker.models.loading.loading import load_encoder, load_model, size_of
from tests.support.families import ALL

KINDS = [{}, {"dtype": "bfloat16"}, {"quantization": "int8"}, {"quantization": "nf4"}]


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma"])
@pytest.mark.parametrize("fields", KINDS, ids=["float32", "bfloat16", "int8", "nf4"])
def test_estimate_is_the_loaded_size(tiny_model, family, fields):
    entry = tiny_model(family, **fields)
    model = load_model(entry, load_encoder(entry), threading.Lock())
    assert size_of(entry) == pytest.approx(model.bytes, rel=0.1)


@pytest.mark.parametrize("family", ALL)
def test_estimate_of_every_family(tiny_model, loaded, family):
    assert size_of(tiny_model(family)) == pytest.approx(loaded(family).bytes, rel=0.01)


def test_the_built_in_model(pool):
    assert size_of(DEMO) == pytest.approx(pool.model(DEMO)[0].bytes, rel=0.01)


def test_quantized_models_are_counted_with_their_scales(tiny_model):
    sizes = {}
    for fields in KINDS:
        entry = tiny_model("llama", **fields)
        sizes[entry.quantization or entry.dtype] = load_model(entry, load_encoder(entry), threading.Lock()).bytes
    assert sizes["nf4"] < sizes["int8"] < sizes["bfloat16"] * 1.1 < sizes["auto"]


def test_tied_weights_count_once(loaded):
    network = loaded("gpt2").network
    assert network.lm_head.weight is network.transformer.wte.weight
    assert counted_bytes(network) == 4 * sum(p.numel() for p in network.parameters())


def copy_with(entry: ModelEntry, folder, **config) -> ModelEntry:
    network = AutoModelForCausalLM.from_pretrained(entry.path, dtype=torch.bfloat16)
    network.save_pretrained(folder)
    path = folder / "config.json"
    fields = json.loads(path.read_text()) | config
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))
    return ModelEntry(name="copy", path=folder)


def test_where_the_config_names_no_dtype_the_files_do(tiny_model, tmp_path):
    entry = copy_with(tiny_model("llama"), tmp_path, dtype=None, torch_dtype=None)
    assert size_of(entry) == pytest.approx(size_of(tiny_model("llama")) / 2, rel=0.01)


def test_what_is_packed_already_is_as_large_as_its_files(tiny_model, tmp_path):
    packed = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    entry = copy_with(tiny_model("llama"), tmp_path, quantization_config=packed)
    stored = sum(tensor.nbytes for tensor in load_file(tmp_path / "model.safetensors").values())
    assert size_of(entry) == stored
    assert size_of(entry.model_copy(update={"dtype": "float32"})) == 2 * stored, "what is not packed is widened"


def test_no_weights_are_read(tiny_model, tmp_path):
    """The file holds a header and nothing but zeros; the size is told all the same."""
    entry = copy_with(tiny_model("llama"), tmp_path, dtype=None)
    weights = tmp_path / "model.safetensors"
    content = weights.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    weights.write_bytes(content[: 8 + length])
    os.truncate(weights, len(content))
    assert size_of(entry) == pytest.approx(size_of(tiny_model("llama")) / 2, rel=0.01)


def test_the_default_dtype_of_the_process_is_left_alone(tiny_model, monkeypatch):
    changes = []
    monkeypatch.setattr(torch, "set_default_dtype", changes.append)
    size_of(tiny_model("llama", dtype="bfloat16"))
    assert changes == []


def test_an_unknown_kind_of_model_is_said_so(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "no-such"}')
    with pytest.raises(ModelLoadFailed) as caught:
        size_of(ModelEntry(name="odd", path=tmp_path))
    assert str(tmp_path) not in str(caught.value)
