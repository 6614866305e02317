"""A store on a real server, and a pepper."""

from pathlib import Path

import pytest
import redis

from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore

PEPPER = bytes(range(32))


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> JobsSettings:
    return JobsSettings(redis_url=redis_url, data_dir=tmp_path / "data")


@pytest.fixture
def store(valkey: redis.Redis, settings: JobsSettings) -> JobStore:
    return JobStore(valkey, settings)


@pytest.fixture
def pepper() -> bytes:
    """32 bytes that are always the same."""
    return PEPPER
