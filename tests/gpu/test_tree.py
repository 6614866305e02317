"""Coalitions read as a tree of prefixes: the scores are those of one plain forward each, on the device itself."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from explaind.contract.blocks.subject import PromptRequest
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.tree_support import why_dense
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.engine.scoring.value_function import ValueFunction
from explaind_worker.models import demo
from explaind_worker.models.pool.pool import ModelPool
from tests.support.devices import CPU, CUDA, on_both, require
from tests.support.families import ALL, shape_of

PROMPT = "the quick brown fox jumps over the lazy dog"
TARGET = (5, 9, 17)
# The largest difference of log-probabilities that rounding may make: a tree adds up in another order.
TOLERANCE = {"float32": 1e-3, "float16": 0.03, "bfloat16": 0.25}
COALITIONS = {CPU: 10, CUDA: 64}
TINY = {"hidden": 64, "intermediate": 128, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 16, "positions": 64}
SHAPE = {"hidden": 256, "intermediate": 512, "layers": 3, "heads": 4, "kv_heads": 2, "head_dim": 64, "positions": 256}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """`saved(family, device)`: a folder with a model of that family, made once; a tiny one for a CPU."""
    known = {}

    def save(family, device):
        if (family, device) not in known:
            folder = tmp_path_factory.mktemp(family)
            torch.manual_seed(0)
            for name in ("tokenizer.json", "tokenizer_config.json"):
                (folder / name).write_bytes((demo.MODEL_DIR / name).read_bytes())
            ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
            config = AutoConfig.for_model(
                family,
                vocab_size=1088,
                initializer_range=0.05,
                **ends,
                **shape_of(family, **(TINY if device == CPU else SHAPE)),
            )
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
            known[family, device] = folder
        return known[family, device]

    return save


def compared(entry, baseline):
    """Scores [coalition] by the engine and by plain forwards, of every size of coalition."""
    model, _ = ModelPool().model(entry)
    assert why_dense(model) is None
    encoded = model.encoder.prompt(PromptRequest(model=entry.name, prompt=PROMPT))
    unit_map = units_of(encoded, "token")
    players = Masker(encoded, unit_map, replacement_for(baseline, model.encoder, encoded, unit_map))
    drawn = np.random.default_rng(0)
    count = COALITIONS[entry.device]
    coalitions = drawn.random((count, players.count)) < drawn.random((count, 1))
    score = ValueFunction(model, players, [TARGET], meter=CostMeter(), report_progress=lambda *_: None)
    plain = []
    for row in players.rows(coalitions):
        ids = torch.tensor([[*row, *TARGET]], device=model.device)
        with torch.inference_mode():
            logprobs = model.network(ids).logits[0, -len(TARGET) - 1 : -1].double().log_softmax(-1)
        plain.append(float(logprobs.gather(1, torch.tensor(TARGET, device=model.device)[:, None]).sum()))
    return score(coalitions).logprobs.reshape(len(coalitions), -1).sum(-1), np.array(plain)


@pytest.mark.parametrize("baseline", ["mask", "remove"])
@pytest.mark.parametrize(("device", "family"), on_both(ALL, cpu=["llama"]))
def test_single_precision(saved, device, family, baseline):
    require(device)
    entry = ModelEntry(name=family, path=saved(family, device), device=device, dtype="float32")
    ours, plain = compared(entry, baseline)
    assert np.abs(ours - plain).max() <= TOLERANCE["float32"]


@pytest.mark.parametrize(
    ("device", "family", "dtype"),
    on_both([(family, dtype) for family in ALL for dtype in ("bfloat16", "float16")], cpu=[("llama", "bfloat16")]),
)
def test_half_precision(saved, device, family, dtype):
    require(device)
    entry = ModelEntry(name=family, path=saved(family, device), device=device, dtype=dtype)
    ours, plain = compared(entry, "mask")
    assert np.abs(ours - plain).max() <= TOLERANCE[dtype]


@pytest.mark.parametrize(
    ("device", "family", "quantization"),
    on_both(
        [(family, kind) for family in ("gpt2", "llama", "gemma2") for kind in ("int8", "nf4", "fp4")],
        cpu=[("llama", "nf4")],
    ),
)
def test_quantized(saved, device, family, quantization):
    require(device)
    entry = ModelEntry(name=family, path=saved(family, device), device=device, quantization=quantization)
    ours, plain = compared(entry, "mask")
    assert np.abs(ours - plain).max() <= TOLERANCE["bfloat16"]
