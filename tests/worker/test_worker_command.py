"""What `explaind worker` says when it cannot start."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from explaind_worker.commands import worker


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


def test_traces_that_cannot_be_exported_are_said_so(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert "pip install 'explaind[telemetry]'" in run("--redis-url", redis_url, EXPLAIND_TELEMETRY="1")
