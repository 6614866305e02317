"""The embedded stack: starts, is refused, restarts its children, stops, and leaves nobody behind."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from click.testing import CliRunner

from explaind_jobs.keys.cli import keys
from explaind_jobs.local_stack.machine_memory import redis_memory, total_memory
from explaind_jobs.local_stack.redis_server import StackError, find_server
from explaind_jobs.local_stack.stack import EmbeddedStack, StackCommands
from explaind_jobs.redis_scripts.connection import publish_url, published_url
from explaind_jobs.settings import JobsSettings

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
STAND_INS = StackCommands(
    api=[sys.executable, str(HERE / "stub_api.py")],
    worker=[sys.executable, str(HERE / "fake_worker.py"), "1"],
)
PATIENCE_S = 40.0


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for other processes to get there."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.02)


def answers(stack: EmbeddedStack) -> bool:
    """Whether its API does, which may have been started again a moment ago."""
    try:
        return httpx.get(f"{stack.url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def runs(pid: int | None) -> bool:
    """Whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="module", autouse=True)
def _children_find_the_packages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        patch.delenv("EXPLAIND_REDIS_URL", raising=False)
        yield


@pytest.fixture
def settings(tmp_path: Path) -> JobsSettings:
    return JobsSettings(redis_url=None, data_dir=tmp_path / "data")


@pytest.fixture(scope="module")
def stack(_children_find_the_packages: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """One for the tests that leave it running."""
    settings = JobsSettings(redis_url=None, data_dir=tmp_path_factory.mktemp("stack"))
    with EmbeddedStack(settings, commands=STAND_INS) as stack:
        yield stack


def test_it_answers_and_stops_without_orphans(settings: JobsSettings) -> None:
    with EmbeddedStack(settings, commands=STAND_INS) as stack:
        pids = stack.pids
        assert sorted(pids) == ["API", "Redis server", "worker"]
        assert httpx.get(f"{stack.url}/healthz").status_code == 200
        assert stack.data_dir.stat().st_mode & 0o077 == 0
    assert not any(runs(pid) for pid in pids.values())
    assert (settings.data_dir / "logs" / "worker.log").exists()


def test_what_was_accepted_is_there_after_a_crash_that_left_garbage(settings: JobsSettings) -> None:
    told: list[str] = []
    for expected in (None, b"kept"):
        with (
            EmbeddedStack(settings, commands=STAND_INS, tell=told.append),
            redis.Redis(unix_socket_path=str(settings.data_dir / "redis" / "redis.sock")) as client,
        ):
            assert client.get("word") == expected
            client.set("word", "kept")
        (file,) = settings.data_dir.glob("redis/appendonlydir/*.incr.aof")
        with file.open("ab") as opened:
            opened.write(b"\0" * 100)
    assert ["the 100 bytes after byte" in said for said in told] == [True]


def test_a_long_data_directory_gets_a_short_socket_that_keys_find(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    with EmbeddedStack(JobsSettings(redis_url=None, data_dir=folder), commands=STAND_INS) as stack:
        assert httpx.get(f"{stack.url}/healthz").status_code == 200
        assert not (folder / "redis" / "redis.sock").exists()
        made = CliRunner().invoke(keys, ["create", "--name", "x", "--data-dir", str(folder)])
        assert made.exit_code == 0, made.output
        assert stack.asks_for_keys


def test_ones_own_redis_comes_first(redis_url: str, tmp_path: Path) -> None:
    settings = JobsSettings(redis_url=redis_url, data_dir=tmp_path)
    with EmbeddedStack(settings, commands=STAND_INS) as stack:
        assert sorted(stack.pids) == ["API", "worker"]


def test_a_redis_of_its_own_gets_nobody_elses_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("secret")
    monkeypatch.setenv("EXPLAIND_REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    with EmbeddedStack(JobsSettings(redis_url=None, data_dir=tmp_path / "data"), commands=STAND_INS) as stack:
        assert httpx.get(f"{stack.url}/healthz").status_code == 200


@pytest.mark.parametrize("name", ["worker", "API", "Redis server"])
def test_a_child_that_dies_is_restarted(stack: EmbeddedStack, name: str) -> None:
    before = stack.pids[name]
    assert before is not None
    os.kill(before, signal.SIGKILL)
    eventually(lambda: stack.pids[name] != before and runs(stack.pids[name]), f"another {name}")


def test_its_redis_fills_a_tenth_of_the_machine_and_throws_nothing_out(stack: EmbeddedStack) -> None:
    url = published_url(stack.data_dir)
    assert url is not None
    total = total_memory()
    assert total is not None
    with redis.Redis.from_url(url) as client:
        limits: dict[str, str] = client.config_get("maxmemory*")  # type: ignore[assignment]
    assert (int(limits["maxmemory"]), limits["maxmemory-policy"]) == (redis_memory(0.1, total), "noeviction")


def test_a_data_directory_has_one_user(stack: EmbeddedStack) -> None:
    settings = JobsSettings(redis_url=None, data_dir=stack.data_dir)
    with pytest.raises(StackError, match="Another explaind uses the data directory"):
        EmbeddedStack(settings, commands=STAND_INS).start()
    eventually(lambda: answers(stack), "it goes on")


def test_a_port_in_use_is_named(settings: JobsSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} on 127.0.0.1"):
            EmbeddedStack(settings, port=port, commands=STAND_INS).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104
def test_other_hosts_are_refused(settings: JobsSettings, host: str) -> None:
    with pytest.raises(StackError, match="EXPLAIND_ALLOW_ANONYMOUS"):
        EmbeddedStack(settings, host=host, commands=STAND_INS).start()


def test_another_host_by_explicit_wish(settings: JobsSettings) -> None:
    with EmbeddedStack(settings, host="0.0.0.0", allow_anonymous=True, commands=STAND_INS) as stack:  # noqa: S104
        assert "asks nobody for a key" in stack.warnings[0]


def test_keys_are_made_beside_it_and_open_other_hosts(settings: JobsSettings) -> None:
    with EmbeddedStack(settings, commands=STAND_INS) as stack:
        assert not stack.asks_for_keys
        made = CliRunner().invoke(keys, ["create", "--name", "x", "--data-dir", str(settings.data_dir)])
        assert made.exit_code == 0, made.output
        assert stack.asks_for_keys
    assert CliRunner().invoke(keys, ["list", "--data-dir", str(settings.data_dir)]).exit_code == 1, "nothing runs"
    with EmbeddedStack(settings, host="0.0.0.0", commands=STAND_INS) as stack:  # noqa: S104
        assert stack.warnings == []
        assert stack.asks_for_keys


def test_the_api_itself_asks_for_the_key(settings: JobsSettings) -> None:
    real_api = StackCommands(worker=STAND_INS.worker)
    with EmbeddedStack(settings, commands=real_api) as stack, httpx.Client(base_url=stack.url) as http:
        assert http.get("/jobs").status_code == 200
        assert http.get("/jobs", headers={"Host": "rebound.example"}).status_code == 403
        made = CliRunner().invoke(keys, ["create", "--name", "x", "--data-dir", str(settings.data_dir)])
        key = made.stdout.strip()
        eventually(lambda: http.get("/jobs").status_code == 401, "the first key closes the door")
        assert http.get("/jobs", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        revoked = CliRunner().invoke(keys, ["revoke", key, "--data-dir", str(settings.data_dir)])
        assert revoked.exit_code == 0, revoked.output
        shown = {"Authorization": f"Bearer {key}"}
        eventually(lambda: http.get("/jobs", headers=shown).status_code == 401, "a revoked key works no longer")
    for log in (settings.data_dir / "logs").iterdir():
        assert key.split("_", 2)[2] not in log.read_text(encoding="utf-8", errors="replace")


def test_a_child_that_does_not_start_is_quoted(settings: JobsSettings) -> None:
    broken = StackCommands(api=[sys.executable, "-c", "raise SystemExit('no such luck')"], worker=STAND_INS.worker)
    with pytest.raises(StackError, match="no such luck"):
        EmbeddedStack(settings, commands=broken).start()


def test_it_waits_for_a_redis_that_refuses_and_says_why(
    settings: JobsSettings, valkey: redis.Redis, redis_url: str
) -> None:
    told: list[str] = []

    def tell(said: str) -> None:
        told.append(said)
        valkey.config_set("min-replicas-to-write", 0)

    valkey.config_set("min-replicas-to-write", 1)
    try:
        external = settings.model_copy(update={"redis_url": redis_url})
        with EmbeddedStack(external, commands=STAND_INS, tell=tell) as stack:
            assert answers(stack)
            assert stack.pids["worker"] is not None
    finally:
        valkey.config_set("min-replicas-to-write", 0)
    (said,) = told
    assert "(NOREPLICAS)" in said
    assert "min-replicas-to-write" in said


def test_it_waits_for_room_on_the_disk_of_its_data(settings: JobsSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    errors = [errno.ENOSPC, errno.EDQUOT]

    def publish(*args: Any) -> None:
        if errors:
            raise OSError(errors.pop(), "full")
        publish_url(*args)

    monkeypatch.setattr("explaind_jobs.local_stack.stack.publish_url", publish)
    monkeypatch.setattr("explaind_jobs.local_stack.stack.FULL_PAUSE_S", 0.01)
    with EmbeddedStack(settings, commands=STAND_INS, tell=told.append):
        assert published_url(settings.data_dir) is not None
    assert errors == []
    assert [str(settings.data_dir) in said and "is full" in said for said in told] == [True]


def test_the_order_in_which_a_server_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    packaged = find_server()
    for name in ("redis-server", "valkey-server"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n", encoding="ascii")
        program.chmod(0o755)
        assert find_server() == program
    assert packaged is None or packaged.parent != tmp_path


def test_fakeredis_stands_in_with_a_warning(settings: JobsSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explaind_jobs.local_stack.stack.find_server", lambda: None)
    with EmbeddedStack(settings, commands=STAND_INS) as stack:
        assert "KEEPS NOTHING" in stack.warnings[0]
        assert sorted(stack.pids) == ["API", "worker"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nobody_outlives_the_parent(tmp_path: Path, number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, str(HERE / "stack_process.py"), str(tmp_path / "data")], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    with parent.stdout:
        pids = json.loads(parent.stdout.readline())
    assert all(runs(pid) for pid in pids.values())
    parent.send_signal(number)
    parent.wait()
    eventually(lambda: not any(runs(pid) for pid in pids.values()), "no child is left")
