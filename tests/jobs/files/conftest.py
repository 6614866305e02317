"""A store of files on a real server, with a directory of its own."""

from pathlib import Path

import pytest
import redis

from explaind_jobs.files.file_store import FileStore
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> JobsSettings:
    return JobsSettings(redis_url=redis_url, data_dir=tmp_path / "data", max_files=3)


@pytest.fixture
def store(valkey: redis.Redis, settings: JobsSettings) -> JobStore:
    return JobStore(valkey, settings)


@pytest.fixture
def files_store(store: JobStore) -> FileStore:
    return FileStore(store.run, store.settings)
