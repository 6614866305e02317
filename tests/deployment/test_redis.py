"""The box's Redis, run as the container runs it: it asks for the password, keeps what it took, and shows no secret."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from explaind_jobs.local_stack.redis_server import find_server
from explaind_jobs.redis_scripts.connection import redis_from
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "redis.sh"
PASSWORD = "6f1c0ffee0" * 6
PATIENCE_S = 20.0

# Stands in for valkey-cli, which is in the image and not here: takes the password from where that takes it.
CLI = f"""#!{sys.executable}
import os, sys
import redis
socket, word = sys.argv[2:]
password = os.environ["VALKEYCLI_AUTH"]
assert password == os.environ["REDISCLI_AUTH"]
assert word == "ping"
try:
    print("PONG" if redis.Redis(unix_socket_path=socket, password=password).ping() else "?")
except redis.RedisError as error:
    print(error)
"""

# Writes down how it was started, which the server itself hides soon after; then is the server.
SERVER = """#!/bin/sh
{{ printf '%s\\n' "$@"; env; }} > {record}
exec {binary} "$@"
"""


class Box:
    """A folder with the password, the programs that the image has, and a server in its container's place."""

    def __init__(self, folder: Path, socket: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.socket = socket
        self.password = folder / "password"
        self.password.write_text(f"{PASSWORD}\n", encoding="ascii")
        self.data.mkdir()
        programs = folder / "bin"
        programs.mkdir()
        binary = find_server()
        assert binary is not None
        self.record = folder / "started"
        (programs / "valkey-server").write_text(SERVER.format(record=self.record, binary=binary), encoding="utf-8")
        (programs / "valkey-server").chmod(0o755)
        (programs / "valkey-cli").write_text(CLI, encoding="utf-8")
        (programs / "valkey-cli").chmod(0o755)
        self.env = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "REDIS_PASSWORD_FILE": str(self.password),
            "REDIS_MAXMEMORY": "64mb",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["/bin/sh", str(SCRIPT), *arguments]
        return subprocess.run(command, cwd=self.data, env=self.env, capture_output=True, text=True, check=False)

    def ping(self) -> int:
        return self.run("ping", "-s", str(self.socket)).returncode

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", str(SCRIPT), "serve", "--port", "0", "--unixsocket", str(self.socket)],
            cwd=self.data,
            env=self.env,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE_S
        while not self.socket.exists() or not self.answers():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    def stop(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE_S)
            self.process = None
            self.socket.unlink(missing_ok=True)

    def client(self, password: str | None = PASSWORD) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), password=password, decode_responses=True)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    # pytest's folders are too deep for the name of a socket.
    with tempfile.TemporaryDirectory(prefix="explaind-") as short:
        box = Box(tmp_path, Path(short) / "redis.sock")
        yield box
        box.stop(signal.SIGKILL)


@pytest.fixture
def running(box: Box) -> Box:
    box.start()
    return box


def test_it_asks_for_the_password(running: Box) -> None:
    for wrong in (None, "another"):
        with running.client(wrong) as client, pytest.raises(redis.AuthenticationError):
            client.get("a")
    with running.client() as client:
        assert client.ping()


def test_it_keeps_what_it_took_and_throws_nothing_out(running: Box) -> None:
    with running.client() as client:
        names = ("appendonly", "appendfsync", "maxmemory-policy", "maxmemory", "save")
        found = {name: client.config_get(name)[name] for name in names}
        assert found == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "maxmemory": str(64 * 1024 * 1024),
            "save": "",
        }
        client.set("accepted", "job")
        client.config_set("appendfsync", "always")
        client.set("accepted too", "job")
    running.stop(signal.SIGKILL)
    running.start()
    with running.client() as client:
        assert sorted(client.keys()) == ["accepted", "accepted too"]


def test_it_stops_when_told(running: Box) -> None:
    process = running.process
    assert process is not None
    running.stop(signal.SIGTERM)
    assert process.returncode == 0


def test_the_password_is_on_no_command_line_and_in_no_file(running: Box) -> None:
    with running.client() as client:
        client.set("a", "b")
    assert "redis.conf" in running.record.read_text(encoding="utf-8")
    holding = [file for file in running.folder.rglob("*") if file.is_file() and PASSWORD.encode() in file.read_bytes()]
    assert holding == [running.password]


def test_the_health_check_tells_well_from_ill(running: Box) -> None:
    assert running.ping() == 0
    running.password.write_text("another", encoding="ascii")
    assert running.ping() != 0
    running.password.write_text(PASSWORD, encoding="ascii")
    running.stop(signal.SIGTERM)
    assert running.ping() != 0


def test_the_parts_find_their_way_in(running: Box) -> None:
    settings = JobsSettings(redis_url=f"unix://{running.socket}?db=0", redis_password_file=running.password)
    with redis_from(settings) as client:
        assert JobStore(client, settings).queued() == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "missing"), ("", "empty"), ("two words", "letters, digits"), ("a\nport 1", "letters, digits")],
)
@pytest.mark.parametrize("what", ["serve", "ping"])
def test_a_wrong_password_file_is_said_so(box: Box, what: str, text: str | None, says: str) -> None:
    box.password.unlink()
    if text is not None:
        box.password.write_text(text, encoding="ascii")
    done = box.run(what)
    assert done.returncode == 1
    assert says in done.stderr


def test_another_word_is_refused(box: Box) -> None:
    done = box.run("sreve")
    assert done.returncode == 2
    assert "serve | ping | cli" in done.stderr


def test_a_copy_of_its_files_is_a_backup(running: Box) -> None:
    with running.client() as client:
        client.config_set("auto-aof-rewrite-percentage", 0)
        client.config_set("appendfsync", "always")
        client.set("job", "1")
        shutil.copytree(running.data / "appendonlydir", running.folder / "backup")
        client.set("job", "2")
    running.stop(signal.SIGTERM)
    shutil.rmtree(running.data / "appendonlydir")
    shutil.copytree(running.folder / "backup", running.data / "appendonlydir")
    running.start()
    with running.client() as client:
        assert client.get("job") == "1"
