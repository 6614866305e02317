"""A model of the hub on its way into a worker's memory: the same as from a folder, and fetched in two steps."""

import shutil
import threading
from pathlib import Path

import pytest
import torch

from explaind.contract.errors import HubUnavailable, ModelLoadFailed, ModelTooLarge
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.hub.catalogue_entries import fetched_bytes
from explaind_worker.models.files.place import fingerprint, location
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.loading.loading import load_encoder, load_model, size_of
from explaind_worker.models.pool.memory_budget import MemoryBudget
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.session.model_access import ModelAccess
from tests.support.hub import FOREVER, Fault, StandInHub


def on_hub(hub: StandInHub, folder: Path, **fields: str) -> ModelEntry:
    return ModelEntry(name="hubbed", source="org/tiny", revision=hub.add("org/tiny", folder), **fields)


def test_it_is_the_model_of_its_folder_under_the_pinned_commit(hub, tiny_model) -> None:
    local = tiny_model("llama")
    entry = on_hub(hub, local.path)
    assert location(entry) == ("org/tiny", entry.revision)
    encoder = load_encoder(entry)
    assert hub.got("model.safetensors") == []  # what the tokenizer says needs no weights
    assert size_of(entry) == size_of(local)
    model = load_model(entry, encoder, threading.Lock())
    assert model.revision == fingerprint(entry) == entry.revision
    assert Path(location(entry)[0]).joinpath("model.safetensors").is_file()
    assert isinstance(model, LoadedModel)
    ids = torch.tensor([[1, 20, 30, 40]])
    expected = load_model(local, load_encoder(local), threading.Lock())
    assert torch.equal(model.network(ids).logits, expected.network(ids).logits)
    assert len(hub.got("model.safetensors")) == 1


def test_files_changed_in_the_cache_are_not_taken_for_the_commit(hub, tiny_model) -> None:
    entry = on_hub(hub, tiny_model("llama").path)
    load_encoder(entry)
    blob = (Path(location(entry)[0]) / "tokenizer_config.json").resolve()
    blob.write_text(blob.read_text() + "\n")
    assert (fingerprint(entry) or "").startswith("sha256:")
    assert load_encoder(entry).revision == entry.revision  # fetched again
    assert fingerprint(entry) == entry.revision


def test_an_adapter_on_the_hub_is_refused_before_weights_are_fetched(hub, tiny_model, tmp_path) -> None:
    shutil.copytree(tiny_model("llama").path, tmp_path / "both")
    (tmp_path / "both" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelLoadFailed, match="adapter beside the model's weights"):
        ModelPool().pin(on_hub(hub, tmp_path / "both"))
    alone = ModelEntry(name="alone", source="org/alone", revision=hub.add("org/alone", {"adapter_config.json": b"{}"}))
    with pytest.raises(ModelLoadFailed, match="an adapter and no model"):
        load_encoder(alone)
    assert hub.got("model.safetensors") == []


def test_a_model_that_does_not_fit_is_refused_before_its_weights_are_fetched(hub, tiny_model) -> None:
    local = tiny_model("llama")
    entry = on_hub(hub, local.path)
    with pytest.raises(ModelTooLarge):
        ModelPool(MemoryBudget(size_of(local) // 2)).pin(entry)
    assert hub.got("model.safetensors") == []


def test_the_pool_holds_no_lock_while_it_waits_for_the_hub(hub, tiny_model) -> None:
    hub.faults.append(Fault("/cdn/", FOREVER, hang=True))
    local = tiny_model("llama")
    pool, entry = ModelPool(), on_hub(hub, local.path)
    seen: list[tuple[int, int | None]] = []

    def meanwhile() -> None:
        coming = fetched_bytes(entry)
        if coming is not None and coming[1] is not None:  # its weights
            seen.append(coming)
            with pool.pin(local) as model:
                assert model.entry is local

    with pytest.raises(HubUnavailable, match="did not answer in time"):
        pool.pin(entry, while_waiting=meanwhile)
    assert seen == [] or seen[0][0] == 0
    assert pool.resident() == ([local.name] if seen else [])


def test_a_job_tells_how_much_of_its_model_has_come(hub, tiny_model) -> None:
    hub.faults.append(Fault("/tree/", 1, status=503))  # so that it takes a second
    entry = on_hub(hub, tiny_model("llama").path)
    told: set[tuple[str, str]] = set()
    access = ModelAccess(entry, ModelPool(), lambda phase, done, total, unit: told.add((phase, unit)))
    assert access.encoder.revision == entry.revision
    assert ("fetching the model from the hub", "bytes") in told
