"""The environment of a fetch, and jobs beside it: tokens, offline, the cache, one download for all, cancelled jobs."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from explaind.contract.errors import DeadlineExceeded, ExplaindError, HubUnavailable, ModelLoadFailed
from explaind_worker.hub import fetch as fetching
from explaind_worker.hub.fetch import HubModel, fetch, listed_weight_bytes, progress, unchanged
from explaind_worker.stops import Cancelled
from tests.support.hub import FOREVER, Fault, StandInHub

FILES = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"w" * 50_000}


def model_of(hub: StandInHub, repo: str = "org/name", **options: bool) -> HubModel:
    return HubModel(repo, hub.add(repo, FILES, **options))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_token_of_the_worker_opens_what_it_may_read(hub, monkeypatch) -> None:
    model = model_of(hub, gated=True)
    hub.tokens = {"hf_reader": {"org/name"}, "hf_other": set()}

    def refused(token: str) -> ExplaindError:
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(ModelLoadFailed) as caught:
            fetch(model, "description", name="mine")
        return caught.value

    assert "account of the worker's HF_TOKEN has no access" in refused("hf_other").detail
    assert f"{hub.url}/org/name" in refused("hf_other").hint
    assert "refused the worker's token: it is wrong, revoked or expired" in refused("hf_wrong").detail
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    assert (fetch(model, "weights", name="mine") / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert {asked.token for asked in hub.requests if asked.path.startswith("/cdn/")} == {None}


def test_a_private_repository_is_not_told_from_one_that_is_not_there(hub, monkeypatch) -> None:
    model = model_of(hub, private=True)
    with pytest.raises(ModelLoadFailed, match=r"private and the worker has no token"):
        fetch(model, "description", name="mine")
    hub.tokens = {"hf_other": set()}
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(ModelLoadFailed, match=r"private and the worker has no access"):
        fetch(model, "description", name="mine")


def test_what_is_in_the_cache_needs_no_hub(hub, monkeypatch) -> None:
    model = model_of(hub)
    folder = fetch(model, "weights", name="mine")
    hub.requests.clear()
    monkeypatch.setattr(fetching, "_FETCHED", {})  # as after a restart
    assert fetch(model, "weights", name="mine") == folder
    assert hub.requests == []
    hub.stop()
    monkeypatch.setattr(fetching, "_FETCHED", {})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch(model, "weights", name="mine") == folder
    monkeypatch.delenv("HF_HUB_OFFLINE")
    trees = folder.parent.parent / "trees"
    (trees / f"{model.revision}.json").unlink()  # a cache that another program has filled
    monkeypatch.setattr(fetching, "_FETCHED", {})
    assert fetch(model, "weights", name="mine") == folder


def test_offline_with_files_missing_says_how_to_fetch_them(hub, monkeypatch) -> None:
    model = model_of(hub)
    fetch(model, "description", name="mine")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelLoadFailed, match=rf"HF_HUB_OFFLINE.*hf download org/name --revision {model.revision}"):
        fetch(model, "weights", name="mine")


def test_a_hub_that_is_not_there_is_not_waited_for(hub) -> None:
    model = model_of(hub)
    hub.stop()
    with pytest.raises(HubUnavailable, match=r"cannot be reached.*HTTPS_PROXY"):
        fetch(model, "weights", name="mine")


def test_a_full_disk_is_told_and_leaves_nothing(hub, tmp_path) -> None:
    model = model_of(hub)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # the process that fetches inherits it
    try:
        with pytest.raises(ModelLoadFailed, match=r"disk with the worker's cache of the hub is full.*HF_HOME"):
            fetch(model, "weights", name="mine")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.rglob("*.incomplete")) == []
    assert fetch(model, "weights", name="mine")


def test_weights_that_the_disk_has_no_room_for_are_not_begun(hub) -> None:
    model = model_of(hub)
    listed = hub.repositories["model", model.repo].commits[model.revision]
    listed["model.safetensors"] = Enormous(FILES["model.safetensors"])
    with pytest.raises(ModelLoadFailed, match=r"is full: 4,000,000\.0 GB are needed, [\d.,]+ [GM]B are free"):
        fetch(model, "weights", name="mine")
    assert hub.got("model.safetensors") == []


class Enormous(bytes):
    """Bytes of a file that the hub lists as larger than any disk."""

    def __len__(self) -> int:
        return 4_000_000_000_000_000


def test_jobs_that_want_the_same_files_share_a_download(hub) -> None:
    model = model_of(hub)
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(fetch(model, "weights", name="m"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(folders) == 4
    assert len(hub.got("model.safetensors")) == 1


def test_a_file_changed_in_the_cache_is_noticed_and_fetched_again(hub) -> None:
    model = model_of(hub)
    path = fetch(model, "weights", name="mine") / "model.safetensors"
    assert unchanged(model)
    blob = path.resolve()
    blob.chmod(0o644)
    blob.write_bytes(b"v" * 50_000)
    assert not unchanged(model)
    assert fetch(model, "weights", name="mine") == path.parent
    assert path.read_bytes() == FILES["model.safetensors"]
    assert unchanged(model)


def test_the_hubs_list_tells_the_size_of_weights_that_have_not_come(hub) -> None:
    folder = fetch(model_of(hub), "description", name="mine")
    assert not (folder / "model.safetensors").exists()
    assert listed_weight_bytes(folder) == 50_000
    assert listed_weight_bytes(folder.parent) == 0


def test_a_process_that_ends_without_a_word_leaves_no_job_waiting(hub, monkeypatch) -> None:
    monkeypatch.setattr(fetching.sys, "executable", "false")
    with pytest.raises(ModelLoadFailed, match="org/name could not be read from the hub"):
        fetch(model_of(hub), "description", name="mine")


def test_the_only_job_that_waited_ends_the_download_when_it_is_cancelled(hub) -> None:
    hub.faults.append(Fault("/tree/", FOREVER, hang=True))
    model = model_of(hub)

    def cancelled() -> None:
        assert progress(model) == (0, None)
        raise Cancelled

    with pytest.raises(Cancelled):
        fetch(model, "description", name="mine", while_waiting=cancelled)
    assert progress(model) is None
    hub.faults.clear()
    assert fetch(model, "description", name="mine")


def test_a_download_outlives_the_deadline_of_a_job(hub) -> None:
    model = model_of(hub)

    def late() -> None:
        raise DeadlineExceeded("too late")

    with pytest.raises(DeadlineExceeded):
        fetch(model, "weights", name="mine", while_waiting=late)
    fetch(model, "weights", name="mine")
    assert len(hub.got("model.safetensors")) == 1


def test_a_worker_that_dies_takes_the_download_with_it_and_its_rest_is_swept(hub, tmp_path) -> None:
    hub.faults.append(Fault("/cdn/", FOREVER, hang=True))
    os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] = "60"  # the fixture's monkeypatch puts it back
    model = model_of(hub)
    code = (
        "from explaind_worker.hub.fetch import HubModel, fetch\n"
        f"fetch(HubModel({model.repo!r}, {model.revision!r}), 'weights', name='m')"
    )
    worker = subprocess.Popen([sys.executable, "-c", code])
    eventually(lambda: bool(list(tmp_path.rglob("*.incomplete"))))
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    hub.faults.clear()
    fetch(model, "weights", name="mine")  # needs the lock that the first download held
    assert list(tmp_path.rglob("*.incomplete")) == []
