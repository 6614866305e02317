"""Settings of a store with a directory of its own, where everything but a few bytes is a blob."""

from pathlib import Path

import pytest
import redis

from explaind_jobs.results.directory_blobs import DirectoryBlobs
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory of the blobs."""
    return tmp_path / "data" / "results"


@pytest.fixture
def blobs(root: Path) -> DirectoryBlobs:
    return DirectoryBlobs(root)


@pytest.fixture
def settings(redis_url: str, root: Path) -> JobsSettings:
    return JobsSettings(redis_url=redis_url, data_dir=root.parent, inline_result_bytes=64)


@pytest.fixture
def store(valkey: redis.Redis, settings: JobsSettings) -> JobStore:
    return JobStore(valkey, settings)
