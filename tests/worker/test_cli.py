"""What `explaind worker` says when it cannot start."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import WorkerState
from explaind_worker.cli import worker
from explaind_worker.runtime.worker_names import take_name


def run(*args: str, **env: str) -> str:
    result = CliRunner(env={"EXPLAIND_REDIS_URL": "", **env}).invoke(worker, args)
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    return result.output


def test_no_redis_is_said_so() -> None:
    assert "EXPLAIND_REDIS_URL" in run()


@pytest.mark.parametrize("url", ["unix:///nowhere/redis.sock", "redis://127.0.0.1:1/0"])
def test_a_redis_that_does_not_answer_is_said_so(url: str) -> None:
    assert "does not answer" in run("--redis-url", url)


def test_a_wrong_url_is_said_so() -> None:
    assert "redis_url (EXPLAIND_REDIS_URL): A Redis URL begins with" in run("--redis-url", "http://there")


def test_a_wrong_models_file_is_said_so(tmp_path: Path) -> None:
    output = run("--redis-url", "redis://there", "--models", str(tmp_path / "models.toml"))
    assert "models.toml: cannot be read" in output


def test_no_queue_is_said_so(redis_url: str) -> None:
    assert "--queues" in run("--redis-url", redis_url, "--queues", " , ")


def test_the_check_follows_the_beat(valkey: redis.Redis, redis_url: str, tmp_path: Path) -> None:
    check = ("--check", "--redis-url", redis_url, "--data-dir", str(tmp_path))
    assert "No worker of this host has run" in run(*check)
    name = take_name(tmp_path)
    assert f"No heartbeat of {name.name}" in run(*check)

    store = JobStore(valkey, JobsSettings(redis_url=redis_url))
    another = WorkerState("another-0-abc", "i", ["default"], [], [], 1, datetime.now(UTC))
    store.heartbeat(another, [])
    assert f"No heartbeat of {name.name}" in run(*check)

    store.heartbeat(replace(another, name=name.name), [])
    result = CliRunner().invoke(worker, check)
    assert (result.exit_code, result.output) == (0, f"{name.name} beats.\n")

    store.deregister(name.name)
    assert f"No heartbeat of {name.name}" in run(*check)
    name.release()


def test_the_check_says_that_redis_is_down(tmp_path: Path) -> None:
    take_name(tmp_path).release()
    output = run("--check", "--redis-url", "unix:///nowhere/redis.sock", "--data-dir", str(tmp_path))
    assert "does not answer" in output


def test_the_check_is_quick(redis_url: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from explaind_worker.cli import worker\n"
        f"worker(['--check', '--redis-url', {redis_url!r}, '--data-dir', {str(tmp_path)!r}], standalone_mode=False)"
    )
    # `-X importtime` names every module that was imported.
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=False)
    assert "No worker of this host" in done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "redis" in imported
    assert not imported & {"torch", "transformers", "numpy", "celery"}


def test_traces_that_cannot_be_exported_are_said_so(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert "pip install 'explaind[telemetry]'" in run("--redis-url", redis_url, EXPLAIND_TELEMETRY="1")
