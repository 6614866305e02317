"""Blobs in a bucket: the real S3 client against a server of S3's protocol on this machine."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from moto.server import ThreadedMotoServer

from explaind.contract.errors import ResultLost, StoreUnavailable
from explaind.contract.job import JobState
from explaind_jobs.results.blob_store import BlobStore, name_of
from explaind_jobs.results.open_blobs import open_blobs
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import NewJob, Outcome

DATA = b"some bytes"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty bucket, by a client of its own; the environment is that of an operator."""
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    if files.exists("explaind"):
        files.rm("explaind", recursive=True)
    files.mkdir("explaind")
    return files


@pytest.fixture
def blobs(bucket: Any) -> BlobStore:
    return open_blobs(JobsSettings(results_url="s3://explaind/some/where"))


def test_a_blob_is_put_read_and_removed(blobs: BlobStore, bucket: Any) -> None:
    blobs.write(DIGEST, DATA)
    assert bucket.find("explaind") == [f"explaind/some/where/{name_of(DIGEST)}"]
    assert blobs.read(DIGEST) == DATA
    blobs.write(DIGEST, b"other")
    assert blobs.read(DIGEST) == b"other"
    blobs.remove(DIGEST)
    blobs.remove(DIGEST)
    with pytest.raises(ResultLost, match="no longer"):
        blobs.read(DIGEST)
    assert blobs.tidy(0) == 0


def test_what_another_process_did_is_seen(blobs: BlobStore, bucket: Any) -> None:
    with pytest.raises(ResultLost):
        blobs.read(DIGEST)
    path = f"explaind/some/where/{name_of(DIGEST)}"
    bucket.pipe_file(path, DATA)
    assert blobs.read(DIGEST) == DATA
    bucket.rm_file(path)
    with pytest.raises(ResultLost):
        blobs.read(DIGEST)


@pytest.mark.parametrize("name", ["", "..", f"../{DIGEST}", f"{DIGEST}\n", DIGEST.upper()])
def test_only_digests_are_names(blobs: BlobStore, bucket: Any, name: str) -> None:
    for act in (lambda: blobs.read(name), lambda: blobs.remove(name), lambda: blobs.write(name, DATA)):
        with pytest.raises(ResultLost):
            act()
    assert bucket.find("explaind") == []


def test_options_reach_the_file_system(bucket: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("EXPLAIND_RESULTS_URL", "s3://explaind")
    monkeypatch.setenv("EXPLAIND_RESULTS_OPTIONS", f'{{"endpoint_url": "{endpoint}", "key": "k", "secret": "hush"}}')
    settings = JobsSettings()
    open_blobs(settings).write(DIGEST, DATA)
    assert bucket.find("explaind") == [f"explaind/{name_of(DIGEST)}"]
    assert "hush" not in repr(settings)


def test_a_bucket_that_is_not_there_is_no_lost_result_when_written(bucket: Any) -> None:
    with pytest.raises(StoreUnavailable, match="written"):
        open_blobs(JobsSettings(results_url="s3://no-such-bucket")).write(DIGEST, DATA)


def test_a_server_that_does_not_answer_is_unavailable(bucket: Any) -> None:
    settings = JobsSettings(
        results_url="s3://explaind",
        results_options={"endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"retries": {"max_attempts": 1}}},
    )
    blobs = open_blobs(settings)
    for act in (lambda: blobs.read(DIGEST), lambda: blobs.write(DIGEST, DATA), lambda: blobs.remove(DIGEST)):
        with pytest.raises(StoreUnavailable):
            act()


def test_options_that_are_none_are_said_so(bucket: Any) -> None:
    settings = JobsSettings(results_url="s3://explaind", results_options={"client_kwargs": {"no_such": 1}})
    with pytest.raises(StoreUnavailable, match="TypeError"):
        open_blobs(settings).write(DIGEST, DATA)


def test_a_job_keeps_its_result_there(bucket: Any, valkey: redis.Redis, redis_url: str) -> None:
    settings = JobsSettings(redis_url=redis_url, results_url="s3://explaind", inline_result_bytes=0)
    store = JobStore(valkey, settings)
    job_id = store.create(NewJob("explain/shap", "demo", "default", b"{}")).id
    claim = store.claim("w", ["default"])
    assert claim is not None
    store.finish(job_id, claim.attempt, Outcome(JobState.SUCCEEDED, result=b'{"values": [1]}'))
    assert store.result(job_id) == b'{"values": [1]}'
    assert len(bucket.find("explaind")) == 1
    store.delete(job_id)
    (digest,) = valkey.zrange("explaind:blobs_dead", 0, -1)  # type: ignore[misc]
    valkey.zadd("explaind:blobs_dead", {digest: 1})
    assert store.sweep() == 1
    assert bucket.find("explaind") == []
