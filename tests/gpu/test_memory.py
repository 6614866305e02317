"""The CUDA halves of the worker's memory: estimates, eviction, backing off, a broken context. `pytest -m gpu`."""

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.estimate import Estimate
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import DEMO, Catalogue, ModelEntry
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import CUDA_WORKSPACE, Footprint
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.engine.scoring.value_function import ValueFunction
from explaind_worker.models import demo
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.loading.loading import size_of
from explaind_worker.models.pool.memory_budget import CUDA_SHARE, MemoryBudget
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.structure.anatomy import anatomy_of
from explaind_worker.models.structure.logits_at import only_positions
from explaind_worker.models.text.tokenizer import Encoder
from explaind_worker.runtime.runner import Runner
from tests.support.families import shape_of
from tests.support.job_control import QuietControl

pytestmark = pytest.mark.gpu

DEVICE = "cuda:0"
FAMILIES = ["gpt2", "llama", "gemma"]
SHAPE = {
    "hidden": 1024,
    "intermediate": 2816,
    "layers": 4,
    "heads": 16,
    "kv_heads": 4,
    "head_dim": 128,
    "positions": 4096,
}
POISON = """
import sys, torch
from explaind_worker.models.device_errors import EXIT_POISONED, poisoned
try:
    torch.zeros(4, device="cuda").gather(0, torch.tensor([9], device="cuda"))
    torch.cuda.synchronize()
except RuntimeError as error:
    first = poisoned(error)
    try:
        torch.zeros(1, device="cuda").cpu()
    except RuntimeError as later:
        sys.exit(EXIT_POISONED if first and poisoned(later) else 3)
sys.exit(4)
"""


@pytest.fixture(autouse=True)
def empty_device() -> Iterator[None]:
    """Nothing left over from another test."""
    if not torch.cuda.is_available():
        pytest.fail("These tests need a CUDA device.")
    gc.collect()
    torch.cuda.empty_cache()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def made(family: str, dtype: torch.dtype, vocabulary: int = 32_000) -> LoadedModel:
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(family, vocab_size=vocabulary, **ends, **shape_of(family, **SHAPE))
    with torch.device(DEVICE):
        network = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    entry = ModelEntry(name=family, builtin=True, device=DEVICE)
    anatomy = anatomy_of(network)
    return LoadedModel(entry, Encoder(None, 1024), network, anatomy, frozenset(), threading.Lock(), None, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_estimates_are_upper_bounds_within_twice(family, dtype):
    model = made(family, dtype)
    footprint = Footprint.of(model)
    for rows, tokens in [(1, 2000), (32, 256), (8, 1024)]:
        ids = torch.zeros(rows, tokens, dtype=torch.long, device=DEVICE)
        read_at = torch.full((rows, 1), tokens - 1, device=DEVICE)

        def forward(ids: torch.Tensor = ids, read_at: torch.Tensor = read_at) -> torch.Tensor:
            with torch.inference_mode(), only_positions(model.anatomy.unembedding, read_at):
                logits = model.network(input_ids=ids, use_cache=False).logits.float()
                return logits - logits.logsumexp(-1, keepdim=True)

        forward()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        forward()
        measured = torch.cuda.max_memory_allocated() - before
        estimate = footprint.forward_bytes(rows, tokens)
        assert measured <= estimate, f"{rows} rows of {tokens}"
        assert estimate - CUDA_WORKSPACE <= 2 * measured, f"{rows} rows of {tokens}"


def saved(folder: Path, seed: int, dtype: torch.dtype = torch.float32, **wide: int) -> ModelEntry:
    """A model of some 60 MB with the demo's tokenizer."""
    torch.manual_seed(seed)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((demo.MODEL_DIR / name).read_bytes())
    config = AutoConfig.for_model("llama", vocab_size=1088, **shape_of("llama", **{**SHAPE, "layers": 1, **wide}))
    AutoModelForCausalLM.from_config(config, dtype=dtype).save_pretrained(folder)
    return ModelEntry(name=folder.name, path=folder, device=DEVICE)


@pytest.mark.parametrize("algorithm", ["exact", "kernel"])
def test_estimates_of_a_tree_are_upper_bounds(tmp_path, algorithm):
    """Of a model so wide that what passes through it outweighs the workspaces."""
    entry = saved(tmp_path, 0, torch.bfloat16, hidden=4096, intermediate=11008, layers=2)
    entry = entry.model_copy(update={"dtype": "bfloat16"})
    runner = Runner(JobsSettings(), Catalogue({entry.name: entry}))
    asked = {**find_method("explain/shap").example, "model": entry.name, "algorithm": algorithm}
    if algorithm == "kernel":
        asked |= {"prompt": "the man gave the red book to his old friend and went home again " * 3, "budget": 400}

    def run(path):
        params = find_method(path).params_model.model_validate(asked)
        return runner.run(Claim("job_a", 1, path, entry.name, params.model_dump_json().encode(), 0), QuietControl())

    taken = run("explain/shap").timing.peak_bytes
    said = Estimate.model_validate_json(run("estimate/explain/shap").result)
    assert taken - said.model_bytes <= said.peak_bytes
    assert said.peak_bytes - CUDA_WORKSPACE <= 2 * (taken - said.model_bytes)


def test_estimated_size_is_what_the_device_holds(tmp_path):
    entry = saved(tmp_path, 0)
    before = torch.cuda.memory_allocated()
    model, _ = ModelPool().model(entry)
    held = torch.cuda.memory_allocated() - before
    assert size_of(entry) == pytest.approx(model.bytes, rel=0.01)
    # The allocator rounds every tensor up, and the self-check's forward may leave cuBLAS its workspace.
    assert model.bytes <= held <= model.bytes * 1.1 + CUDA_WORKSPACE


def test_eviction_frees_the_device(tmp_path):
    entries = []
    for seed in range(3):
        folder = tmp_path / f"model-{seed}"
        folder.mkdir()
        entries.append(saved(folder, seed))
    size = size_of(entries[0])
    pool = ModelPool(MemoryBudget(int(1.5 * size / 0.9)))
    pool.model(entries[0])
    reserved = torch.cuda.memory_reserved()
    for entry in entries[1:]:
        pool.model(entry)
        assert pool.resident() == [entry.name]
        assert torch.cuda.memory_reserved() <= reserved + size // 2
    assert pool.stats().evictions == 2


def test_the_default_budget_is_a_share_of_the_accelerator():
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    assert MemoryBudget().of(DEVICE) == int(CUDA_SHARE * total)
    assert MemoryBudget(0.5).of(DEVICE) == int(0.5 * total)


def test_out_of_memory_halves_the_batch():
    """A real one: the process may have little more than it has already."""
    model, _ = ModelPool().model(DEMO.model_copy(update={"device": DEVICE}))
    encoded = model.encoder.prompt(PromptRequest(model="demo", prompt="word " * 200))
    unit_map = units_of(encoded, "word")
    players = Masker(encoded, unit_map, replacement_for("mask", model.encoder, encoded, unit_map))
    coalitions = np.random.default_rng(0).random((512, players.count)) < 0.5
    expected = ValueFunction(model, players, [(3,)], meter=CostMeter(), report_progress=lambda *_: None)(coalitions)
    torch.cuda.empty_cache()
    footprint = Footprint.of(model)
    large = footprint.forward_bytes(256, players.longest, cached=True)
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    allowed = torch.cuda.memory_reserved() + large // 8
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    meter, limits = CostMeter(), BatchLimits(tokens=1 << 30, logits=1 << 40)
    scores = ValueFunction(
        model, players, [(3,)], meter=meter, report_progress=lambda *_: None, limits=limits
    )(coalitions)  # fmt: skip
    assert meter.backoffs > 0
    np.testing.assert_allclose(scores.logprobs, expected.logprobs, atol=1e-3)


def test_a_broken_context_is_recognised_and_stays_broken():
    done = subprocess.run([sys.executable, "-c", POISON], capture_output=True, check=False, timeout=120)
    assert done.returncode == 76, done.stderr.decode()[-2000:]
