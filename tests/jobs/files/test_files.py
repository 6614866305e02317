"""Files on a real server: kept once, found by their owner, and gone without a trace."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from explaind.contract.errors import (
    ArtifactNotFound,
    DatasetNotFound,
    FileLost,
    RequestTooLarge,
    StoreUnavailable,
    TooManyFiles,
    UnknownArtifact,
    UnknownDataset,
)
from explaind_jobs.files import scripts
from explaind_jobs.files.file_store import FileStore
from explaind_jobs.results.garbage_collection import tidy
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import ANYONE

ROWS = b'{"a": 1}\n{"a": 2, "b": "x"}\n'


def blobs(store: JobStore) -> int:
    return len(list((store.settings.data_dir / "files").rglob("*.bin")))


def loose(store: JobStore) -> int:
    return store.client.zcard(f"{store.settings.key_prefix}files:loose")  # pyright: ignore[reportReturnType]


def age(store: JobStore) -> None:
    """Make everything that is loose so old that it is swept."""
    key = f"{store.settings.key_prefix}files:loose"
    found: Any = store.client.zrange(key, 0, -1, withscores=True)
    for blob, at in found:
        store.client.zadd(key, {blob: at - scripts.LOOSE_MS - 1})


def test_a_dataset_is_kept_once_and_read_by_its_owner(store: JobStore, files_store: FileStore) -> None:
    files = files_store.of("k1")
    card, new = files.put_dataset(ROWS, "jsonl", "one")
    assert new
    assert files.put_dataset(ROWS, "jsonl", "two") == (card, False)
    assert files.rows(card.id) == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]
    assert (blobs(store), loose(store)) == (1, 0)
    assert files_store.of("k2").put_dataset(ROWS, "jsonl", "one")[0].id != card.id


def test_other_owners_have_no_such_file(store: JobStore, files_store: FileStore) -> None:
    mine, other = files_store.of("k1"), files_store.of("k2")
    dataset = mine.put_dataset(ROWS, "jsonl", "one")[0].id
    artifact = mine.put_artifact("tuned-lens", "lens", b"abc", model="demo").id
    refused: list[tuple[type[Exception], Callable[[], object]]] = [
        (UnknownDataset, lambda: other.rows(dataset, pointer="/questions/dataset")),
        (UnknownArtifact, lambda: other.artifact(artifact)),
        (DatasetNotFound, lambda: other.card(dataset)),
        (DatasetNotFound, lambda: other.dataset(dataset)),
        (ArtifactNotFound, lambda: other.content(artifact)),
        (DatasetNotFound, lambda: other.delete_dataset(dataset)),
        (ArtifactNotFound, lambda: other.delete_artifact(artifact)),
        (DatasetNotFound, lambda: mine.delete_dataset(artifact)),
        (UnknownArtifact, lambda: mine.artifact(dataset)),
    ]
    for error, ask in refused:
        with pytest.raises(error):
            ask()
    assert other.datasets().data == other.artifacts().data == []
    everyone = files_store.of("k2", sees=ANYONE)
    assert [card.id for card in everyone.datasets().data] == [dataset]
    assert everyone.artifact(artifact) == b"abc"


def test_the_field_that_names_it_is_told(store: JobStore, files_store: FileStore) -> None:
    with pytest.raises(UnknownDataset) as caught:
        files_store.of("").rows("ds_" + "0" * 26, pointer="/questions/dataset")
    assert caught.value.errors[0].pointer == "/questions/dataset"


def test_a_second_attempt_replaces_what_the_first_has_left(store: JobStore, files_store: FileStore) -> None:
    files = files_store.of("k1", job="job_a")
    first = files.put_artifact("tuned-lens", "lens", b"abc", model="demo")
    second = files.put_artifact("tuned-lens", "lens", b"abcd", model="demo")
    assert first.id == second.id
    assert files.artifact(first.id) == b"abcd"
    assert (blobs(store), loose(store)) == (1, 0)
    others = {
        files.put_artifact("tuned-lens", "other lens", b"abc", model="demo").id,
        files_store.of("k1", job="job_b").put_artifact("tuned-lens", "lens", b"abc", model="demo").id,
    }
    assert len(others | {first.id}) == 3


def test_a_dry_run_reads_and_keeps_nothing(store: JobStore, files_store: FileStore) -> None:
    files = files_store.of("k1", job="job_a")
    dataset, _ = files.put_dataset(ROWS, "jsonl", "one")
    dry = files.dry_run()
    assert len(dry.rows(dataset.id)) == 2
    card = dry.put_artifact("tuned-lens", "lens", b"abc", model="demo")
    assert card.bytes == 3
    assert files.artifacts().data == []
    assert files.put_artifact("tuned-lens", "lens", b"abc", model="demo").id == card.id


def test_no_more_than_an_owner_may_keep(store: JobStore, files_store: FileStore) -> None:
    files = files_store.of("k1")
    for number in range(3):
        files.check_room()
        files.put_artifact("tuned-lens", f"lens {number}", b"abc", model="demo", job_id="job_a")
    with pytest.raises(TooManyFiles):
        files.check_room()
    with pytest.raises(TooManyFiles, match="3 artifacts"):
        files.put_artifact("tuned-lens", "lens 3", b"abc", model="demo", job_id="job_a")
    assert (blobs(store), loose(store)) == (3, 0)
    files.put_artifact("tuned-lens", "lens 2", b"abcd", model="demo", job_id="job_a")
    files_store.of("k2").check_room()
    files.put_dataset(ROWS, "jsonl", "of another kind")
    files.delete_artifact(files.artifacts().data[0].id)
    files.check_room()


def test_an_artifact_larger_than_it_may_be(store: JobStore, settings: JobsSettings) -> None:
    small = JobStore(store.client, settings.model_copy(update={"artifact_bytes": 2}))
    with pytest.raises(RequestTooLarge, match="EXPLAIND_ARTIFACT_BYTES"):
        FileStore(small.run, small.settings).of("k1").put_artifact("tuned-lens", "lens", b"abc", model="demo")
    assert blobs(store) == 0


def test_what_a_crash_leaves_is_swept_after_an_hour(store: JobStore, files_store: FileStore) -> None:
    files = files_store.of("k1")
    kept = files.put_artifact("tuned-lens", "lens", b"abc", model="demo")
    files_store.write(b"never referred to")
    assert files_store.sweep() == 0
    assert blobs(store) == 2
    age(store)
    assert files_store.sweep() == 1
    assert (blobs(store), loose(store)) == (1, 0)
    assert files.artifact(kept.id) == b"abc"


def test_a_blob_that_may_be_swept_is_not_referred_to(
    store: JobStore, files_store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files_store.write

    def slow(data: bytes) -> str:
        blob = write(data)
        age(store)
        return blob

    monkeypatch.setattr(files_store, "write", slow)
    with pytest.raises(StoreUnavailable, match="too long"):
        files_store.of("k1").put_dataset(ROWS, "jsonl", "one")
    assert files_store.of("k1").datasets().data == []


def test_an_answer_that_is_lost_costs_no_bytes(
    store: JobStore, files_store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record was made although nobody heard of it: its blob must stay."""
    run = files_store.run

    def deaf(call):
        reply = run(call)
        if call.script == "file_put":
            raise StoreUnavailable("The answer was lost.")
        return reply

    monkeypatch.setattr(files_store, "run", deaf)
    with pytest.raises(StoreUnavailable):
        files_store.of("k1").put_dataset(ROWS, "jsonl", "one")
    monkeypatch.undo()
    card, new = files_store.of("k1").put_dataset(ROWS, "jsonl", "one")
    assert not new
    assert len(files_store.of("k1").rows(card.id)) == 2


def test_a_blob_that_cannot_be_removed_is_removed_later(
    store: JobStore, files_store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_store.of("k1")
    card, _ = files.put_dataset(ROWS, "jsonl", "one")

    def fail(blob: str) -> None:
        raise StoreUnavailable("The disk is away.")

    monkeypatch.setattr(files_store.blobs, "remove", fail)
    files.delete_dataset(card.id)
    with pytest.raises(DatasetNotFound):
        files.card(card.id)
    monkeypatch.undo()
    assert (blobs(store), loose(store)) == (1, 1)
    age(store)
    files_store.sweep()
    assert (blobs(store), loose(store)) == (0, 0)


def test_bytes_that_are_not_those_that_were_kept(store: JobStore, files_store: FileStore) -> None:
    files = files_store.of("k1")
    card, _ = files.put_dataset(ROWS, "jsonl", "one")
    blob = next((store.settings.data_dir / "files").rglob("*.bin"))
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(FileLost):
        files.rows(card.id)


def test_the_sweeper_of_results_leaves_files_alone(
    store: JobStore, files_store: FileStore, valkey: redis.Redis
) -> None:
    files = files_store.of("k1")
    card, _ = files.put_dataset(ROWS, "jsonl", "one")
    assert store.sweep() == 0
    tidy(store.run, files_store.blobs)
    assert len(files.rows(card.id)) == 2


def test_files_in_a_store_of_ones_own_have_a_folder_of_their_own(valkey: redis.Redis, settings, tmp_path) -> None:
    elsewhere = JobStore(valkey, settings.model_copy(update={"results_url": f"file://{tmp_path}/a"}))
    FileStore(elsewhere.run, elsewhere.settings).of("k1").put_dataset(ROWS, "jsonl", "one")
    assert len(list((tmp_path / "a" / "files").rglob("*.bin"))) == 1
