"""Coalitions read as a tree of prefixes on a CUDA device: the scores are those of one plain forward each."""

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
from tests.support.families import ALL, shape_of

pytestmark = pytest.mark.gpu

DEVICE = "cuda:0"
PROMPT = "the quick brown fox jumps over the lazy dog"
TARGET = (5, 9, 17)
# The largest difference of log-probabilities that rounding may make: a tree adds up in another order.
TOLERANCE = {"float32": 1e-3, "float16": 0.03, "bfloat16": 0.25}
SHAPE = {"hidden": 256, "intermediate": 512, "layers": 3, "heads": 4, "kv_heads": 2, "head_dim": 64, "positions": 256}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """`saved(family)`: a folder with a model of that family, made once."""
    if not torch.cuda.is_available():
        pytest.fail("These tests need a CUDA device.")
    known = {}

    def save(family):
        if family not in known:
            folder = tmp_path_factory.mktemp(family)
            torch.manual_seed(0)
            for name in ("tokenizer.json", "tokenizer_config.json"):
                (folder / name).write_bytes((demo.MODEL_DIR / name).read_bytes())
            ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
            config = AutoConfig.for_model(
                family, vocab_size=1088, initializer_range=0.05, **ends, **shape_of(family, **SHAPE)
            )
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
            known[family] = folder
        return known[family]

    return save


def compared(entry, baseline):
    """Scores [coalition] by the engine and by plain forwards, of every size of coalition."""
    model, _ = ModelPool().model(entry)
    assert why_dense(model) is None
    encoded = model.encoder.prompt(PromptRequest(model=entry.name, prompt=PROMPT))
    unit_map = units_of(encoded, "token")
    players = Masker(encoded, unit_map, replacement_for(baseline, model.encoder, encoded, unit_map))
    drawn = np.random.default_rng(0)
    coalitions = drawn.random((64, players.count)) < drawn.random((64, 1))
    score = ValueFunction(model, players, [TARGET], meter=CostMeter(), report_progress=lambda *_: None)
    plain = []
    for row in players.rows(coalitions):
        ids = torch.tensor([[*row, *TARGET]], device=DEVICE)
        with torch.inference_mode():
            logprobs = model.network(ids).logits[0, -len(TARGET) - 1 : -1].double().log_softmax(-1)
        plain.append(float(logprobs.gather(1, torch.tensor(TARGET, device=DEVICE)[:, None]).sum()))
    return score(coalitions).logprobs.reshape(len(coalitions), -1).sum(-1), np.array(plain)


@pytest.mark.parametrize("baseline", ["mask", "remove"])
@pytest.mark.parametrize("family", ALL)
def test_single_precision(saved, family, baseline):
    entry = ModelEntry(name=family, path=saved(family), device=DEVICE, dtype="float32")
    ours, plain = compared(entry, baseline)
    assert np.abs(ours - plain).max() <= TOLERANCE["float32"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ALL)
def test_half_precision(saved, family, dtype):
    entry = ModelEntry(name=family, path=saved(family), device=DEVICE, dtype=dtype)
    ours, plain = compared(entry, "mask")
    assert np.abs(ours - plain).max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("quantization", ["int8", "nf4", "fp4"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_quantized(saved, family, quantization):
    entry = ModelEntry(name=family, path=saved(family), device=DEVICE, quantization=quantization)
    ours, plain = compared(entry, "mask")
    assert np.abs(ours - plain).max() <= TOLERANCE["bfloat16"]
