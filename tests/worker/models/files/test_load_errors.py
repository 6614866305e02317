"""A model that cannot be loaded says what is wrong with it, whose fault it is and what to do; each in its own words."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification

from explaind.contract.errors import GradientsUnavailable, ModelLoadFailed, SelfCheckFailed, error_from
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.library_message import told
from explaind_worker.models.pool.pool import ModelPool
from tests.support.classifiers import word_pieces

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
ASKED = {"prompt": "The food was", "target": " great"}


@pytest.fixture
def folder(tiny_model, tmp_path) -> Path:
    """A copy of a tiny Llama, to be spoiled."""
    made = tmp_path / "model"
    shutil.copytree(tiny_model("llama").path, made)
    return made


def config_with(**changes):
    def spoil(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return spoil


def weights(change):
    def spoil(folder: Path) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(change(file.read_bytes()))

    return spoil


def written(name: str, content: str):
    return lambda folder: (folder / name).write_text(content)


def without(pattern: str):
    return lambda folder: [file.unlink() for file in folder.glob(pattern)]


def only_gguf(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "model.Q4_K_M.gguf").write_bytes(b"GGUF")


def in_shards(folder: Path) -> None:
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="100KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    sorted(folder.glob("model-*.safetensors"))[1].unlink()


CASES = {
    "no folder": (shutil.rmtree, 500, "is not there"),
    "no config": (without("config.json"), 500, "holds no config.json"),
    "config is no JSON": (written("config.json", "{"), 500, "config.json of 'odd' is not JSON"),
    "config is no object": (written("config.json", "[]"), 500, "is not a JSON object"),
    "encoder-decoder": (
        config_with(is_encoder_decoder=True, architectures=["T5ForConditionalGeneration"]),
        422,
        "is an encoder-decoder (T5ForConditionalGeneration)",
    ),
    "masked": (config_with(architectures=["BertForMaskedLM"]), 422, "is a masked language model (BertForMaskedLM)"),
    "GGUF": (only_gguf, 422, "holds a GGUF file"),
    "custom code": (
        config_with(model_type="own", auto_map={"AutoConfig": "configuration_own.OwnConfig"}),
        422,
        "comes with code of its own, which is never run",
    ),
    "unknown kind": (config_with(model_type="newest"), 422, "is of a kind (newest) that transformers"),
    "100,000 layers": (config_with(num_hidden_layers=100_000), 500, "says 100,000 layers (num_hidden_layers)"),
    "no tokenizer": (without("*token*"), 500, "holds no tokenizer"),
    "damaged tokenizer": (written("tokenizer.json", "{"), 500, "The tokenizer of 'odd' could not be read"),
    "library missing": (
        config_with(attn_implementation="flash_attention_2"),
        500,
        "needs a library that this worker has not: FlashAttention2",
    ),
    "value of another type": (config_with(hidden_size="many"), 500, "'hidden_size' expected int, got str"),
    "no weights": (without("*.safetensors"), 500, "holds no *.safetensors"),
    "missing shard": (in_shards, 500, "1 of 7 weight files of 'odd' are missing, the first is model-00002-of-"),
    "cut off": (weights(lambda data: data[:-100]), 500, "model.safetensors of 'odd' is cut off: "),
    "cut off in the header": (weights(lambda data: data[:100]), 500, "is cut off within its header"),
    "empty": (weights(lambda _data: b""), 500, "model.safetensors of 'odd' is empty"),
    "damaged header": (weights(lambda data: data[:8] + b"\xff" * 50 + data[58:]), 500, "has a damaged header"),
    "shape": (config_with(intermediate_size=96), 500, "of another shape, the first is model.layers.0.mlp."),
}


@pytest.mark.parametrize("case", CASES)
def test_each_fault_has_its_own_words(folder, case):
    spoil, status, words = CASES[case]
    spoil(folder)
    with pytest.raises(ModelLoadFailed) as caught:
        ModelPool().model(ModelEntry(name="odd", path=folder))
    error = caught.value
    assert words in error.detail
    assert (error.code, error.status, error.problem().status) == ("model_load_failed", status, status)
    assert error.hint
    assert str(folder.parent) not in f"{error.detail} {error.hint}"
    assert "trust_remote_code=True" not in f"{error.detail} {error.hint}"


def test_weights_in_another_format_are_named_and_how_to_convert_them(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadFailed, match=r"holds no \*\.safetensors.*save_pretrained"):
        ModelPool().model(ModelEntry(name="odd", path=folder))


def test_the_status_of_a_problem_is_that_of_its_error():
    sent = ModelLoadFailed("what", status=422).problem()
    assert (error_from(sent).status, error_from(ModelLoadFailed("what").problem()).status) == (422, 500)
    assert ModelLoadFailed.status == 500


def test_a_message_is_told_without_directories_of_this_machine():
    assert told(OSError("no file /srv/models/mine/model.safetensors, or /a/b")) == "no file model.safetensors, or b."
    assert told(ValueError("C:\\models\\mine\\config.json is odd!")) == "config.json is odd!"
    assert told(KeyError()) == "KeyError."
    assert len(told(ValueError("long " * 1000))) <= 301


# What is unusual and can be used.


@pytest.fixture
def made(tokenizer, tmp_path):
    """`made("olmo", …)`: the entry of a tiny causal model of that family."""

    def make(family: str, by=AutoModelForCausalLM, **config) -> ModelEntry:
        torch.manual_seed(0)
        by.from_config(AutoConfig.for_model(family, vocab_size=len(tokenizer), **ENDS, **config)).save_pretrained(
            tmp_path
        )
        tokenizer.save_pretrained(tmp_path)
        return ModelEntry(name=family, path=tmp_path)

    return make


@pytest.mark.parametrize("method", ["explain/feature-ablation", "explain/integrated-gradients", "explain/logit-lens"])
def test_a_final_norm_without_a_weight(made, method, run):
    entry = made("olmo", **SMALL, max_position_embeddings=64)
    asked = {"prompt": ASKED["prompt"]} if method == "explain/logit-lens" else ASKED
    assert run(method, entry=entry, **asked) is not None


@pytest.mark.parametrize("positions", [1, 2, 8])
def test_the_self_check_reads_no_more_than_the_context(made, positions):
    entry = made("gpt2", n_embd=32, n_layer=2, n_head=4, n_positions=positions)
    assert ModelPool().model(entry)[0].encoder.context == positions


def test_a_model_that_sees_later_tokens_is_refused(tiny_model, monkeypatch):
    from transformers.models.llama import modeling_llama

    original = modeling_llama.LlamaAttention.__init__

    def seeing(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.is_causal = False

    monkeypatch.setattr(modeling_llama, "create_causal_mask", lambda **_options: None)
    monkeypatch.setattr(modeling_llama.LlamaAttention, "__init__", seeing)
    with pytest.raises(SelfCheckFailed, match="causal is off by"):
        ModelPool().model(tiny_model("llama"))


def test_a_masked_language_model_by_another_name_is_refused_too(made):
    entry = made("bert", by=AutoModelForMaskedLM, **SMALL, max_position_embeddings=64)
    config_with(architectures=["BertLMHeadModel"])(entry.path)
    with pytest.raises((SelfCheckFailed, ModelLoadFailed)):
        ModelPool().model(entry)


def test_gradients_of_a_classifier_that_reads_token_ids_alone_are_refused(tmp_path, run):
    pieces = word_pieces("The food was great and the room was small.")
    shape = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "eos_token_id": 3}
    config = AutoConfig.for_model("t5", vocab_size=len(pieces), pad_token_id=0, decoder_start_token_id=0, **shape)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    pieces.save_pretrained(tmp_path)
    entry = ModelEntry(name="t5", path=tmp_path)
    values = run("explain/feature-ablation", entry=entry, prompt="The food was great").values
    assert len(values) == 4
    for method in ("saliency", "integrated-gradients"):
        with pytest.raises(GradientsUnavailable, match="T5ForSequenceClassification reads token ids alone"):
            run(f"explain/{method}", entry=entry, prompt="The food was great")
