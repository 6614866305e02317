"""Several models under one budget: who stays, who waits, and that what leaves is gone."""

import gc
import threading
import time
import weakref

import pytest

from explaind.contract.errors import ModelLoadFailed, ModelTooLarge, OutOfMemory
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.files.place import fingerprint
from explaind_worker.models.loading.loading import load_model, size_of
from explaind_worker.models.pool import pool as pool_module
from explaind_worker.models.pool.memory_budget import MemoryBudget
from explaind_worker.models.pool.pool import ModelPool

WEIGHTS = 0.9  # of a budget may be weights


@pytest.fixture
def entries(tiny_model) -> dict[str, ModelEntry]:
    return {family: tiny_model(family) for family in ("llama", "qwen2", "gemma", "phi")}


@pytest.fixture
def for_two(entries) -> ModelPool:
    """A pool that any two of the models fit into, and no three."""
    sizes = sorted(size_of(entry) for entry in entries.values())
    return ModelPool(MemoryBudget(int((sizes[-1] + sizes[-2]) / WEIGHTS) + 10_000))


def in_thread(target) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def until(condition, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_the_budget_holds_and_the_unused_leave(for_two, entries):
    for family in ("llama", "qwen2", "gemma", "llama", "phi"):
        with for_two.pin(entries[family]) as model:
            assert model.entry is entries[family]
            assert entries[family].name in for_two.resident()
        assert len(for_two.resident()) <= 2
        assert for_two.bytes_used() <= WEIGHTS * for_two.bytes_budget()
    stats = for_two.stats()
    assert set(stats.models) == set(for_two.resident())
    assert stats.loads - stats.evictions == 2
    assert stats.bytes_used == sum(m.bytes for m in stats.models.values()) == for_two.bytes_used()
    assert all(m.load_s > 0 for m in stats.models.values())


def test_what_leaves_is_freed(for_two, entries):
    with for_two.pin(entries["llama"]) as model:
        weight = weakref.ref(model.anatomy.unembedding.weight)
        network = weakref.ref(model.network)
    del model
    gc.disable()  # the pool itself has to collect what stands in cycles
    try:
        for_two.model(entries["qwen2"])
        assert network() is not None
        for_two.model(entries["gemma"])
        for_two.model(entries["phi"])
        assert entries["llama"].name not in for_two.resident()
        assert network() is None
        assert weight() is None
    finally:
        gc.enable()


def test_models_in_use_never_leave(for_two, entries):
    with for_two.pin(entries["llama"]) as used:
        for family in ("qwen2", "gemma", "phi"):
            for_two.model(entries[family])
            assert used.entry.name in for_two.resident()
    assert for_two.pin(entries["llama"]).model is used


def test_two_jobs_may_use_one_model(for_two, entries):
    first, second = for_two.pin(entries["llama"]), for_two.pin(entries["llama"])
    assert first.model is second.model
    assert second.load_s == 0.0 < first.load_s
    first.release()
    first.release()  # asking twice is asking once
    for family in ("qwen2", "gemma"):
        for_two.model(entries[family])
    assert entries["llama"].name in for_two.resident(), "the second job still uses it"
    second.release()


def test_a_job_waits_until_a_model_is_free(for_two, entries):
    first, second = for_two.pin(entries["llama"]), for_two.pin(entries["qwen2"])
    polls, got = [], []
    waiter = in_thread(lambda: got.append(for_two.pin(entries["gemma"], while_waiting=lambda: polls.append(1))))
    until(lambda: polls)
    assert for_two.loading() == []
    second.release()
    waiter.join(20)
    assert got[0].load_s > 0
    assert for_two.resident() == sorted([entries["llama"].name, entries["gemma"].name])
    first.release()


def test_the_wait_for_room_can_be_cancelled(for_two, entries):
    class Cancelled(Exception):
        pass

    def cancelled():
        raise Cancelled

    with for_two.pin(entries["llama"]), for_two.pin(entries["qwen2"]):
        with pytest.raises(Cancelled):
            for_two.pin(entries["gemma"], while_waiting=cancelled)
        assert for_two.pin(entries["llama"]).load_s == 0.0
    assert entries["gemma"].name not in for_two.resident()


def test_who_has_waited_long_goes_first(for_two, entries, monkeypatch):
    """Two jobs that hand their models over without a gap must not keep a third one out for ever."""
    monkeypatch.setattr(pool_module, "PATIENCE_S", 0.0)
    first, second = for_two.pin(entries["llama"]), for_two.pin(entries["qwen2"])
    polls, got = [], []
    waiter = in_thread(lambda: got.append(for_two.pin(entries["gemma"], while_waiting=lambda: polls.append(1))))
    until(lambda: polls)
    behind = []
    newcomer = in_thread(lambda: got.append(for_two.pin(entries["llama"], while_waiting=lambda: behind.append(1))))
    until(lambda: behind)
    assert got == [], "the newcomer's model is there, but it is not its turn"
    second.release()
    waiter.join(20)
    newcomer.join(20)
    assert [pin.model.entry.name for pin in got] == [entries["gemma"].name, entries["llama"].name]
    first.release()


def test_a_model_that_can_never_fit_is_refused_with_both_numbers(entries):
    small = ModelPool(MemoryBudget(500_000))
    with pytest.raises(ModelTooLarge, match=r"needs 61\d\.\d kB, this worker has 450\.0 kB") as caught:
        small.pin(entries["llama"])
    assert not caught.value.retryable
    assert "nf4" in (caught.value.hint or "")
    assert small.stats().loads == 0
    assert small.bytes_used() == 0


def test_quantized_it_may_fit(tiny_model):
    small = ModelPool(MemoryBudget(400_000))
    assert small.model(tiny_model("llama", quantization="nf4"))[0].bytes < 360_000


def test_preloaded_models_stay_while_others_can_leave(entries):
    wanted = entries["llama"].model_copy(update={"preload": True})
    sizes = sorted(size_of(entry) for entry in entries.values())
    pool = ModelPool(MemoryBudget(int((sizes[-1] + sizes[-2]) / WEIGHTS) + 10_000))
    pool.model(wanted)
    for family in ("qwen2", "gemma", "phi", "qwen2"):
        pool.model(entries[family])
        assert wanted.name in pool.resident()


def test_a_failed_load_gives_its_room_back(for_two, entries, monkeypatch):
    def broken(entry, encoder, lock):
        raise ModelLoadFailed("broken")

    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "load_model", broken)
        with pytest.raises(ModelLoadFailed):
            for_two.model(entries["llama"])
    assert for_two.bytes_used() == 0
    assert for_two.loading() == []
    for_two.model(entries["llama"])
    assert for_two.bytes_used() == pytest.approx(size_of(entries["llama"]), rel=0.01)


def test_a_device_fuller_than_the_books_say_is_emptied_and_tried_again(for_two, entries, monkeypatch):
    for_two.model(entries["llama"])
    tries = []

    def full(entry, encoder, lock):
        tries.append(for_two.resident())
        if len(tries) == 1:
            raise OutOfMemory("full")
        return load_model(entry, encoder, lock)

    monkeypatch.setattr(pool_module, "load_model", full)
    for_two.model(entries["qwen2"])
    assert tries == [[entries["llama"].name], []]
    assert for_two.resident() == [entries["qwen2"].name]


def test_out_of_memory_with_nobody_to_leave_ends_the_load(for_two, entries, monkeypatch):
    def full(entry, encoder, lock):
        raise OutOfMemory("full")

    with for_two.pin(entries["llama"]):
        monkeypatch.setattr(pool_module, "load_model", full)
        with pytest.raises(OutOfMemory):
            for_two.pin(entries["qwen2"])
    assert for_two.resident() == [entries["llama"].name]


def test_room_for_work_makes_unused_models_leave(for_two, entries):
    for_two.model(entries["qwen2"])
    pin = for_two.pin(entries["llama"])
    budget, own = for_two.bytes_budget(), pin.model.bytes
    free = budget - for_two.bytes_used()
    assert pin.room(free) == free
    assert len(for_two.resident()) == 2
    assert pin.room(free + 1) == budget - own == pin.most_room
    assert for_two.resident() == [entries["llama"].name]
    pin.release()


def test_room_does_not_take_models_in_use(for_two, entries):
    with for_two.pin(entries["qwen2"]):
        pin = for_two.pin(entries["llama"])
        assert pin.room(pin.most_room) == for_two.bytes_budget() - for_two.bytes_used()
        pin.release()
    assert len(for_two.resident()) == 2


def test_what_a_job_keeps_is_not_free_for_others(for_two, entries):
    first, second = for_two.pin(entries["llama"]), for_two.pin(entries["llama"])
    free = second.room(1)
    first.room(1, kept=40_000)
    assert second.room(1) == free - 40_000
    first.room(1, kept=10_000)  # instead of, not besides
    assert second.room(1) == free - 10_000
    first.release()
    assert second.room(1) == free
    second.release()


def test_revisions_are_of_what_was_loaded_and_of_files_as_they_are(for_two, entries, tmp_path):
    import shutil

    shutil.copytree(entries["llama"].path, tmp_path, dirs_exist_ok=True)
    entry = ModelEntry(name="copy", path=tmp_path)
    before = fingerprint(entry)
    assert for_two.revisions() == {}
    for_two.model(entry)
    assert for_two.revisions() == {"copy": f"{before}|float32|None"}
    for family in ("qwen2", "gemma", "phi"):
        for_two.model(entries[family])
    assert "copy" not in for_two.resident()
    assert for_two.revisions()["copy"] == f"{before}|float32|None", "its answers are still those of its files"
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("silu", "gelu"))
    assert for_two.revisions()["copy"].startswith("changed: ")
    for_two.model(entry)
    assert for_two.revisions()["copy"] == f"{fingerprint(entry)}|float32|None" != f"{before}|float32|None"


def test_a_device_this_worker_lacks_is_said_so(tiny_model):
    import torch

    missing = f"cuda:{torch.cuda.device_count() + 7}"
    with pytest.raises(ModelLoadFailed, match=missing):
        ModelPool().pin(tiny_model("llama", device=missing))


def test_one_device_has_one_name(tiny_model):
    from explaind_worker.models.files.place import device_of

    assert device_of(tiny_model("llama", device="cuda")) == device_of(tiny_model("llama", device="cuda:0"))
