"""A worker's slots in this process: what becomes of a job whose end cannot be stored."""

import errno
import os
from pathlib import Path

import pytest
import redis

from explaind.contract.job import JobState
from explaind_jobs.results import directory_blobs
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import Claim, NewJob, Outcome
from explaind_worker.runtime import worker as worker_module
from explaind_worker.runtime.job_control import JobControl
from explaind_worker.runtime.worker import JobRunner, build_worker

LARGE = b'"' + os.urandom(2000).hex().encode() + b'"'


class LargeResults(JobRunner):
    def run(self, claim: Claim, control: JobControl) -> Outcome:
        return Outcome(JobState.SUCCEEDED, result=LARGE)


def test_a_job_whose_result_finds_no_room_goes_back_unharmed(
    valkey: redis.Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = JobsSettings(redis_url=redis_url, data_dir=tmp_path, inline_result_bytes=100)
    store = JobStore(valkey, settings)
    job_id = store.create(NewJob("explain/shap", "demo", "default", b"{}")).id
    left, fsync = [errno.ENOSPC], os.fsync

    def sync(descriptor: int) -> None:
        if left:
            raise OSError(left.pop(), "full")
        fsync(descriptor)

    monkeypatch.setattr(directory_blobs.os, "fsync", sync)
    monkeypatch.setattr(worker_module, "persist", lambda call: call())  # as if ten minutes were over
    worker = build_worker(settings, LargeResults())
    worker.permit()
    worker.close()
    job = store.get(job_id)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
    assert valkey.hget(f"{settings.key_prefix}job:{job_id}", "losses") == b"0"
    assert store.result(job_id) == LARGE
