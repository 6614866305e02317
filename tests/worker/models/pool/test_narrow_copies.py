"""Copies in bfloat16 in the books: counted, first to leave, gone with their model, and never a reason to refuse."""

import gc
import threading
import weakref

import pytest
import torch

from explaind_worker.models.loading.loading import size_of
from explaind_worker.models.pool import narrow_copies
from explaind_worker.models.pool.memory_budget import MemoryBudget
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.structure.narrow_copy import narrow_bytes


def nothing() -> None:
    """Waits in silence."""


def copy_of(pin, least: int = 0):
    return pin.narrow_copy(least, while_waiting=nothing)


@pytest.fixture
def entry(tiny_model):
    return tiny_model("llama")


def budget_for(*bytes: int) -> MemoryBudget:
    return MemoryBudget(int(sum(bytes) / 0.9) + 1000)


def test_a_copy_is_made_once_and_counted(entry):
    pool = ModelPool()
    pin, other = pool.pin(entry), pool.pin(entry)
    weights = pool.bytes_used()
    copy = copy_of(pin)
    assert copy.copy_of is pin.model
    assert copy.anatomy.unembedding is not pin.model.anatomy.unembedding
    assert copy.anatomy.blocks[0].module in set(copy.network.modules())
    assert copy.bytes == narrow_bytes(pin.model.network) == pool.bytes_used() - weights
    assert copy_of(other) is copy is copy_of(pin)
    stats = pool.stats()
    assert stats.bytes_used == stats.models[entry.name].bytes == weights + copy.bytes
    assert (stats.loads, stats.evictions) == (1, 0)
    pin.release()
    other.release()
    with pool.pin(entry):
        assert pool.bytes_used() == weights + copy.bytes, "it stays for the next job"
    assert all(account.users == 0 for account in pool.ledger(entry).accounts)


def test_a_copy_leaves_before_work_is_refused(entry):
    narrow, weights = narrow_bytes(ModelPool().model(entry)[0].network), size_of(entry)
    pool = ModelPool(budget_for(weights, narrow))
    budget = pool.ledger(entry).budget
    with pool.pin(entry):
        pass
    pin = pool.pin(entry)
    gone = weakref.ref(copy_of(pin).network)
    assert pin.most_room == budget - weights, "as if there were no copy"
    assert pin.room(budget - weights) == budget - weights - narrow, "but one in use does not leave"
    pin.release()
    pin = pool.pin(entry)
    assert pool.memory_forecast(entry, budget - weights).room == budget - weights
    assert pin.room(budget - weights) == budget - weights
    gc.collect()
    assert gone() is None
    assert pool.resident() == [entry.name]
    assert pool.stats().evictions == 0
    pin.release()


def test_a_copy_goes_with_its_model(entry, tiny_model):
    other = tiny_model("qwen2")
    narrow = narrow_bytes(ModelPool().model(entry)[0].network)
    pool = ModelPool(budget_for(size_of(entry), narrow, 1000))
    with pool.pin(entry), pool.pin(entry) as model:
        pin = pool.pin(entry)
        copy_of(pin)
        pin.release()
        weight = weakref.ref(model.network.get_input_embeddings().weight)
    del model, pin
    pool.model(other)
    gc.collect()
    assert pool.resident() == [other.name]
    assert weight() is None, "what both shared is free"
    assert pool.bytes_used() == pool.stats().models[other.name].bytes


@pytest.mark.parametrize("short", ["weights", "work"])
def test_where_there_is_no_room_none_is_made(entry, short):
    narrow, weights = narrow_bytes(ModelPool().model(entry)[0].network), size_of(entry)
    pool = ModelPool(budget_for(weights, narrow - 5000 if short == "weights" else narrow))
    with (pin := pool.pin(entry)):
        used = pool.bytes_used()
        least = 0 if short == "weights" else pool.ledger(entry).budget - weights - narrow + 1
        assert copy_of(pin, least) == "there is no memory for a copy of its weights in bfloat16 (263.4 kB)"
        assert pool.bytes_used() == used
        if short == "work":
            assert not isinstance(copy_of(pin, least - 1), str), "it is not refused for ever"


def test_a_copy_that_computes_otherwise_is_not_used(entry, monkeypatch):
    def broken(network, layers):
        copy = narrow_copy(network, layers)
        copy.get_output_embeddings().weight.mul_(-1)
        return copy

    narrow_copy = narrow_copies.narrow_copy
    made = []
    monkeypatch.setattr(narrow_copies, "narrow_copy", lambda *of: made.append(None) or broken(*of))
    pool = ModelPool()
    with (pin := pool.pin(entry)):
        used = pool.bytes_used()
        assert copy_of(pin) == "in bfloat16 its logits differ by 200%, which is more than rounding"
        assert copy_of(pin) == "in bfloat16 its logits differ by 200%, which is more than rounding"
        assert len(made) == 1, "found out once"
        assert pool.bytes_used() == used


def test_a_network_that_cannot_be_copied_is_not_copied(entry):
    pool = ModelPool()
    with (pin := pool.pin(entry)) as model:
        model.network.held = threading.Lock()
        assert copy_of(pin) == "its layers cannot be copied (TypeError)"
        assert not model.lock.locked()


def test_running_out_of_memory_is_not_for_ever(entry, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    pool = ModelPool()
    with (pin := pool.pin(entry)):
        with monkeypatch.context() as patched:
            patched.setattr(narrow_copies, "narrow_layers", full)
            assert "no memory" in copy_of(pin)
        assert not isinstance(copy_of(pin), str)


def test_a_cancelled_job_leaves_no_account(entry):
    def cancelled():
        raise KeyError("cancelled")

    pool = ModelPool()
    with (pin := pool.pin(entry)):
        used = pool.bytes_used()
        with pytest.raises(KeyError, match="cancelled"):
            pin.narrow_copy(0, while_waiting=cancelled)
        assert pool.bytes_used() == used
        assert not isinstance(copy_of(pin), str)
