"""`explaind api`: what it refuses before it serves."""

import sys

import pytest
from click.testing import CliRunner, Result

from explaind_jobs.keys.create import issue_key
from explaind_jobs.keys.pepper import load_pepper
from explaind_jobs.keys.records import Scope
from explaind_jobs.store.job_store import JobStore
from explaind_service import cli
from explaind_service.cli import api
from explaind_service.settings import ServiceSettings

URL = "redis://127.0.0.1:1"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    """Runs the command up to where it would serve; returns click's result and the settings served with."""
    served: list[ServiceSettings] = []
    monkeypatch.setattr(cli.GracefulServer, "run", lambda server: served.append(server.config.app.state.settings))
    for name in ("EXPLAIND_REDIS_URL", "EXPLAIND_HOST", "EXPLAIND_ALLOW_ANONYMOUS"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*args: str, **env: str) -> tuple[Result, list[ServiceSettings]]:
        return CliRunner().invoke(api, list(args), env=env), served

    return invoke


def test_needs_a_redis(run) -> None:
    result, served = run()
    assert result.exit_code == 2
    assert "EXPLAIND_REDIS_URL" in result.output
    assert "explaind up" in result.output
    assert not served


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_is_fine(run, host: str) -> None:
    result, served = run("--redis-url", URL, "--host", host, "--port", "0")
    assert result.exit_code == 0, result.output
    assert (served[0].host, served[0].port) == (host, 0)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.2", "example.org", "localhost.example.org"])  # noqa: S104
def test_beyond_loopback_is_refused(run, redis_url: str, host: str) -> None:
    result, served = run("--redis-url", redis_url, "--host", host)
    assert result.exit_code == 2
    assert "explaind keys create" in result.output
    assert "EXPLAIND_ALLOW_ANONYMOUS=1" in result.output
    assert not served


def test_beyond_loopback_loudly(run, redis_url: str) -> None:
    env = {"EXPLAIND_REDIS_URL": redis_url, "EXPLAIND_HOST": "0.0.0.0", "EXPLAIND_ALLOW_ANONYMOUS": "1"}  # noqa: S104
    result, served = run(**env)
    assert result.exit_code == 0, result.output
    assert "WARNING" in result.stderr
    assert "asks nobody for a key" in result.stderr
    assert served


def test_beyond_loopback_with_keys(run, redis_url: str, settings: ServiceSettings, valkey) -> None:
    issue_key(JobStore(valkey, settings), load_pepper(settings), name="x", scopes=frozenset({Scope.READ}))
    result, served = run("--redis-url", redis_url, "--host", "0.0.0.0")  # noqa: S104
    assert result.exit_code == 0, result.output
    assert "WARNING" not in result.stderr
    assert served


def test_beyond_loopback_while_redis_is_away_is_closed(run) -> None:
    result, served = run("--redis-url", URL, "--host", "0.0.0.0")  # noqa: S104
    assert result.exit_code == 0, result.output
    assert "refuses whoever shows none" in result.stderr
    assert served


def test_a_pepper_that_is_none(run) -> None:
    result, served = run("--redis-url", URL, EXPLAIND_PEPPER="pepper")
    assert result.exit_code == 1
    assert "EXPLAIND_PEPPER" in result.output
    assert not served


@pytest.mark.parametrize(
    ("args", "env", "says"),
    [
        (["--redis-url", "http://x"], {}, "EXPLAIND_REDIS_URL: A Redis URL begins with"),
        (["--redis-url", URL, "--port", "70000"], {}, "EXPLAIND_PORT"),
        (["--redis-url", URL], {"EXPLAIND_MAX_BODY_BYTES": "many"}, "EXPLAIND_MAX_BODY_BYTES"),
        (["--redis-url", URL, "--models", "/nowhere/models.toml"], {}, "/nowhere/models.toml"),
    ],
)
def test_settings_that_are_wrong_are_named(run, args, env, says: str) -> None:
    result, served = run(*args, **env)
    assert result.exit_code in {1, 2}
    assert says in result.output
    assert "Traceback" not in result.output
    assert not served


def test_a_pepper_that_others_may_read_stops_the_start(run, data_dir) -> None:
    data_dir.mkdir()
    (data_dir / "pepper").write_bytes(bytes(32))
    (data_dir / "pepper").chmod(0o644)
    result, served = run("--redis-url", URL)
    assert result.exit_code == 1
    assert "chmod 600" in result.output
    assert not served


def test_traces_that_cannot_be_exported_are_said_so(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    result, served = run("--redis-url", URL, EXPLAIND_TELEMETRY="1")
    assert result.exit_code == 1
    assert "pip install 'explaind[telemetry]'" in result.output
    assert not served
