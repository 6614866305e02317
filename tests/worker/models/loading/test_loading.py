import shutil
import threading

import pytest
import torch
from transformers import AutoConfig

from explaind.contract.errors import ModelLoadFailed
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.files.place import fingerprint
from explaind_worker.models.loading import loading
from explaind_worker.models.loading.loading import load_encoder, load_model
from explaind_worker.models.pool.pool import ModelPool


def copy_of(entry: ModelEntry, folder) -> ModelEntry:
    shutil.copytree(entry.path, folder, dirs_exist_ok=True)
    return ModelEntry(name="copy", path=folder)


def test_pickled_weights_are_refused(tiny_model, tmp_path):
    entry = copy_of(tiny_model("llama"), tmp_path)
    weights = tmp_path / "model.safetensors"
    from safetensors.torch import load_file

    torch.save(load_file(weights), tmp_path / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(ModelLoadFailed):
        load_model(entry, load_encoder(entry), threading.Lock())


def test_code_in_a_model_directory_is_never_run(tiny_model, tmp_path):
    entry = copy_of(tiny_model("llama"), tmp_path)
    config = tmp_path / "config.json"
    auto_map = '"auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}'
    config.write_text(config.read_text().replace('"model_type": "llama"', f'"model_type": "evil", {auto_map}'))
    mark = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass C: pass\nclass M: pass\n")
    with pytest.raises(ModelLoadFailed):
        load_encoder(entry)
    assert not mark.exists()


def test_dtype_of_the_catalogue_is_kept(tiny_model):
    entry = tiny_model("llama", dtype="bfloat16")
    model = load_model(entry, load_encoder(entry), threading.Lock())
    assert model.dtype == "bfloat16"


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_quantized_models_load_and_pass_their_self_check(tiny_model, quantization):
    entry = tiny_model("llama", quantization=quantization)
    model = load_model(entry, load_encoder(entry), threading.Lock())
    assert type(model.anatomy.blocks[0].output_projection).__module__.startswith("bitsandbytes")
    assert model.anatomy.heads == 4


def test_fingerprint_follows_the_files(tiny_model, tmp_path):
    entry = copy_of(tiny_model("llama"), tmp_path)
    before = fingerprint(entry)
    assert before == fingerprint(tiny_model("llama"))
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("silu", "gelu"))
    assert fingerprint(entry) != before


def test_hub_models_carry_their_pinned_revision():
    entry = ModelEntry(name="hub", source="org/model", revision="0" * 40)
    assert fingerprint(entry) == "0" * 40
    assert loading.location(entry) == ("org/model", "0" * 40)


def test_two_threads_load_a_model_once(tiny_model, monkeypatch):
    pool, entry = ModelPool(), tiny_model("llama")
    loads, both_wait = [], threading.Event()
    real = loading.load_model

    def slow(entry, encoder, lock):
        loads.append(entry.name)
        assert both_wait.wait(20)
        return real(entry, encoder, lock)

    monkeypatch.setattr("explaind_worker.models.pool.pool.load_model", slow)
    found = []
    first = threading.Thread(target=lambda: found.append(pool.model(entry)[0]))
    second = threading.Thread(target=lambda: found.append(pool.model(entry, while_waiting=both_wait.set)[0]))
    first.start()
    while not loads:
        first.join(0.01)
    assert pool.loading() == [entry.name]
    second.start()
    first.join(30)
    second.join(30)
    assert loads == [entry.name]
    assert found[0] is found[1]
    assert pool.loading() == []


def test_waiting_for_a_model_can_be_cancelled(tiny_model, monkeypatch):
    pool, entry = ModelPool(), tiny_model("llama")
    release = threading.Event()

    def stuck(entry, encoder, lock):
        release.wait(20)
        raise ModelLoadFailed("stopped")

    monkeypatch.setattr("explaind_worker.models.pool.pool.load_model", stuck)

    def load():
        with pytest.raises(ModelLoadFailed):
            pool.model(entry)

    pool.encoder(entry)
    first = threading.Thread(target=load)
    first.start()
    while not pool.loading():
        first.join(0.01)

    class Cancelled(Exception):
        pass

    def cancelled():
        raise Cancelled

    try:
        with pytest.raises(Cancelled):
            pool.model(entry, while_waiting=cancelled)
    finally:
        release.set()
        first.join(20)


def test_models_on_one_device_take_turns(tiny_model):
    pool = ModelPool()
    first, _ = pool.model(tiny_model("llama"))
    second, _ = pool.model(tiny_model("gpt2"))
    assert first.lock is second.lock


@pytest.mark.parametrize(
    ("family", "rotary", "context"),
    [
        ("llama", {"rope_type": "dynamic", "factor": 4.0}, 64),
        ("llama", {"rope_type": "linear", "factor": 4.0}, 16),
        ("hunyuan_v1_dense", {"rope_type": "dynamic", "factor": 4.0, "alpha": 1000.0}, 16),  # fixed, whatever it says
    ],
)
def test_dynamic_factors_stretch_the_context(tmp_path, tokenizer, family, rotary, context):
    parameters = {"rope_theta": 10_000.0, **rotary}
    config = AutoConfig.for_model(family, max_position_embeddings=16, rope_parameters=parameters)
    config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_encoder(ModelEntry(name="stretched", path=tmp_path)).context == context
