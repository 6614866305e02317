"""Checkpoints that are quantized already are used as plain transformers uses them, or refused; never anything else."""

import json
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from explaind.contract.errors import ModelLoadFailed
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.loading.loading import load_encoder, load_model, size_of

IDS = torch.arange(9)[None] + 40
STORED = {
    "nf4": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "fp4": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_use_double_quant=True),
    "int8": BitsAndBytesConfig(load_in_8bit=True),
}
PROMPT = {"prompt": "Once upon a time", "target": " there", "units": "token"}


@pytest.fixture(scope="module")
def stored(tiny_model, tmp_path_factory) -> Callable[[str], Path]:
    """`stored("nf4")`: the folder of a tiny Llama that was quantized and saved."""
    known: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in known:
            known[kind] = tmp_path_factory.mktemp(kind)
            shutil.copytree(tiny_model("llama").path, known[kind], dirs_exist_ok=True)
            options = {"quantization_config": STORED[kind], "device_map": {"": "cpu"}}
            AutoModelForCausalLM.from_pretrained(tiny_model("llama").path, **options).save_pretrained(known[kind])
        return known[kind]

    return folder


@pytest.fixture
def changed(tiny_model, tmp_path) -> Callable[..., Path]:
    """`changed({…}, weights)`: a copy whose config says that quantization, its weights passed through a function."""

    def change(said: dict, weights: Callable[[dict], dict] = dict) -> Path:
        shutil.copytree(tiny_model("llama").path, tmp_path, dirs_exist_ok=True)
        config, file = tmp_path / "config.json", tmp_path / "model.safetensors"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": said}))
        save_file(weights(load_file(file)), file, metadata={"format": "pt"})
        return tmp_path

    return change


def loaded(folder: Path, **fields):
    entry = ModelEntry(name="packed", path=folder, **fields)
    return load_model(entry, load_encoder(entry), threading.Lock())


def plain(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, device_map={"": "cpu"})(IDS).logits


@pytest.mark.parametrize("kind", STORED)
def test_answers_are_those_of_plain_transformers(stored, kind):
    model = loaded(stored(kind))
    with torch.no_grad():
        torch.testing.assert_close(model.network(IDS).logits, plain(stored(kind)), rtol=0, atol=0)
    assert model.quantization == kind
    assert size_of(model.entry) == pytest.approx(model.bytes, rel=0.1)
    assert model.gradients is not None
    assert model.gradients.error < 1e-2


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_provenance_says_the_quantization_in_force(stored, kind, pool):
    from explaind.contract.registry import find_method
    from explaind_worker.runtime.runner import implementation_of
    from explaind_worker.session.provenance import provenance_of
    from explaind_worker.session.session import Session

    entry, method = ModelEntry(name=f"in-{kind}", path=stored(kind)), find_method("explain/feature-ablation")
    params = method.params_model.model_validate({"model": entry.name, **PROMPT})
    with Session(entry, pool, lambda *_: None) as session:
        implementation_of(method)(params, session)
        assert provenance_of(session, method, params).quantization == kind


def test_a_catalogue_that_says_the_same_changes_nothing(stored):
    model = loaded(stored("nf4"), quantization="nf4")
    with torch.no_grad():
        torch.testing.assert_close(model.network(IDS).logits, plain(stored("nf4")), rtol=0, atol=0)


@pytest.mark.parametrize(("kind", "said"), [("nf4", "int8"), ("nf4", "fp4"), ("int8", "nf4")])
def test_a_catalogue_that_says_otherwise_is_refused(stored, kind, said):
    with pytest.raises(ModelLoadFailed, match=f"quantized with {kind} already, and the catalogue says {said}"):
        load_encoder(ModelEntry(name="packed", path=stored(kind), quantization=said))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, ["gptq", "pip install optimum"]),
        ({"quant_method": "awq", "bits": 4}, ["awq", "pip install gptqmodel"]),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, ["pip install compressed-tensors"]),
        ({"quant_method": "hqq"}, ["hqq", "HQQ version"]),
        ({"quant_method": "aqlm"}, ["pip install aqlm"]),
        ({"quant_method": "quanto", "weights": "int8"}, ["pip install optimum-quanto"]),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, ["modelopt", "Unknown quantization type"]),
        ({"bits": 4}, ["an unnamed method"]),
    ],
    ids=lambda value: value.get("quant_method", "unnamed") if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("entry", [{}, {"kind": "causal", "dtype": "float32"}], ids=["", "float32"])
def test_what_cannot_be_used_here_is_refused_and_named(changed, said, words, entry):
    with pytest.raises(ModelLoadFailed) as caught:
        load_encoder(ModelEntry(name="packed", path=changed(said), **entry))
    assert all(word in caught.value.detail for word in words)


FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}


def in_fp8(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {}
    for name, weight in weights.items():
        if "proj" not in name:
            found[name] = weight
            continue
        blocks = -(-weight.shape[0] // 128), -(-weight.shape[1] // 128)
        scale = weight.abs().max() / 448
        found[name] = (weight / scale).to(torch.float8_e4m3fn)
        found[f"{name}_scale_inv"] = scale.expand(blocks).contiguous()
    return found


def test_fp8_is_unpacked_with_its_scales_on_a_cpu(changed, tiny_model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = loaded(changed(FP8, in_fp8))
    original = load_file(Path(tiny_model("llama").path) / "model.safetensors")
    name = "model.layers.1.mlp.down_proj"
    found, wanted = model.network.get_submodule(name).weight, original[f"{name}.weight"]
    assert float((found - wanted).norm() / wanted.norm()) < 0.04
    assert (model.quantization, str(model.encoder.quantization)) == (None, "fp8, dequantized")
    assert size_of(model.entry) == pytest.approx(model.bytes, rel=0.01)


def test_fp8_without_its_scales_is_refused(changed):
    def unscaled(weights):
        return {name: weight for name, weight in in_fp8(weights).items() if "scale" not in name}

    with pytest.raises(ModelLoadFailed, match="without their scales"):
        loaded(changed(FP8, unscaled))
