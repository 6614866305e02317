"""transformers' loaders are called in one place, one at a time, and leave the process as it was."""

import ast
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

import explaind_worker
from explaind.contract.errors import ModelLoadFailed
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.files import pretrained
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.structure.default_dtype import DEFAULT_DTYPE, float32_by_default

LOADERS = {"from_pretrained", "from_config"}
OFFLINE = "demo"  # how the built-in model was made and measured


def shared() -> dict[str, object]:
    """What a load exchanges for a moment."""
    methods = {name: value for name, value in vars(PreTrainedModel).items() if callable(value) or "weights" in name}
    context = {"get_init_context": PreTrainedModel.__dict__["get_init_context"]}
    return {**methods, **context, "dtype": torch.get_default_dtype(), "linspace": torch.linspace, "zeros": torch.zeros}


def test_one_module_calls_the_loaders():
    root = Path(explaind_worker.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if OFFLINE not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in LOADERS
    }
    assert found == {"models/files/pretrained.py"}


def test_many_models_at_once_leave_the_process_as_it_was(tiny_model):
    """Tied and untied, of three dtypes, in as many threads: as when a service starts and all of them are asked for."""
    before, pool = shared(), ModelPool()
    entries = [
        ModelEntry(name=f"demo-{index}", builtin=True, dtype=dtype)
        for index, dtype in enumerate(["float32", "bfloat16", "float16", "bfloat16"])
    ]
    entries += [
        tiny_model(family, dtype=dtype)
        for family, dtype in [("gpt2", "bfloat16"), ("gemma", "float32"), ("phi", "auto")]
    ]
    together = threading.Barrier(2 * len(entries))

    def load(entry: ModelEntry, *, weights: bool) -> str:
        together.wait(30)
        return pool.model(entry)[0].dtype if weights else pool.meta_model(entry).dtype

    with ThreadPoolExecutor(2 * len(entries)) as threads:
        jobs = [threads.submit(load, entry, weights=weights) for entry in entries for weights in (True, False)]
        dtypes = [job.result(60) for job in jobs]
    assert (
        dtypes[0::2] == dtypes[1::2] == ["float32", "bfloat16", "float16", "bfloat16", "bfloat16", "float32", "float32"]
    )
    assert shared() == before
    again = ModelPool().model(ModelEntry(name="demo", builtin=True))[0]
    assert again.network.get_output_embeddings().weight is again.network.get_input_embeddings().weight


def test_a_failed_load_leaves_the_process_as_it_was(tiny_model, monkeypatch):
    before = shared()
    monkeypatch.setattr("transformers.models.llama.modeling_llama.LlamaModel.__init__", lambda *_: 1 / 0)
    with pytest.raises(ModelLoadFailed):
        ModelPool().model(tiny_model("llama", dtype="bfloat16"))
    assert shared() == before


def test_waiting_for_the_loaders_can_be_cancelled(tiny_model):
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with pretrained.one_at_a_time():
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)

    def cancelled() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError), pretrained.one_at_a_time(cancelled):
        pytest.fail("it was had")
    pool, entry = ModelPool(), tiny_model("llama")
    for use in (pool.encoder, pool.meta_model, pool.model):
        with pytest.raises(InterruptedError):
            use(entry, while_waiting=cancelled)
    assert pool.resident() == pool.loading() == []
    done.set()
    holder.join()
    with pretrained.one_at_a_time():
        pass


def test_a_dtype_that_is_needed_keeps_others_from_setting_theirs(tiny_model):
    """A library's arithmetic in this thread, a load in another."""
    loads, pool = threading.Event(), ModelPool()
    entry = tiny_model("llama", dtype="float16")
    pool.encoder(entry)

    def load() -> None:
        loads.set()
        pool.model(entry)

    loader = threading.Thread(target=load)
    with float32_by_default():
        loader.start()
        assert loads.wait(10)
        loader.join(1.0)  # far longer than the rest of the load takes
        assert loader.is_alive(), "it waits to set its dtype"
        assert torch.ones(1).dtype == torch.float32
    loader.join(30)
    assert pool.resident() == [entry.name]
    assert DEFAULT_DTYPE.acquire(timeout=10), "the load has given it back"
    DEFAULT_DTYPE.release()
