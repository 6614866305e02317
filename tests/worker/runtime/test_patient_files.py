"""A job outlasts a store of files that is full for a while."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from explaind.contract.errors import StoreUnavailable, UnknownDataset
from explaind_jobs.files.file_store import Files, FileStore
from explaind_jobs.results import directory_blobs
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_worker.runtime.patient_files import PatientFileStore
from explaind_worker.stops import Cancelled


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explaind_worker.runtime.outcome.FIRST_DELAY_S", 0.001)


@pytest.fixture
def patient(valkey: redis.Redis, redis_url: str, tmp_path: Path) -> Callable[[Callable[[], None]], Files]:
    settings = JobsSettings(redis_url=redis_url, data_dir=tmp_path)
    files = FileStore(JobStore(valkey, settings).run, settings)
    return lambda check: PatientFileStore(files, check).of("", job="job_1")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A disk that is full as many times as there are numbers in here."""
    times: list[int] = []
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        if times:
            raise OSError(times.pop(), "full")
        fsync(descriptor)

    monkeypatch.setattr(directory_blobs.os, "fsync", sync)
    return times


def test_an_artifact_is_kept_once_there_is_room(patient, full: list[int]) -> None:
    full.extend([errno.ENOSPC, errno.EDQUOT, errno.ENOSPC])
    checks: list[int] = []
    files = patient(lambda: checks.append(1))
    card = files.put_artifact("tuned-lens", "lens", b"abc", model="demo")
    assert files.artifact(card.id) == b"abc"
    assert (full, len(checks)) == ([], 3)


def test_a_job_that_is_cancelled_waits_no_longer(patient, full: list[int]) -> None:
    full.extend([errno.ENOSPC] * 100)

    def check() -> None:
        raise Cancelled("job_1")

    with pytest.raises(Cancelled):
        patient(check).put_artifact("tuned-lens", "lens", b"abc", model="demo")
    assert len(full) == 99


def test_what_no_waiting_mends_is_said_at_once(patient) -> None:
    with pytest.raises(UnknownDataset):
        patient(lambda: None).rows("ds_" + "0" * 26)


def test_it_does_not_wait_for_ever(patient, full: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    full.extend([errno.ENOSPC] * 100)
    monkeypatch.setattr("explaind_worker.runtime.patient_files.WAIT_S", 0.0)
    with pytest.raises(StoreUnavailable, match="disk is full"):
        patient(lambda: None).put_artifact("tuned-lens", "lens", b"abc", model="demo")
