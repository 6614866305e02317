"""Child processes that exit with their parent, however it ends (PR_SET_PDEATHSIG; elsewhere by watching the parent)."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

PARENT_VARIABLE = "EXPLAIND_PARENT_PID"
POLL_S = 1.0
_PR_SET_PDEATHSIG = 1


def spawn(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    output: IO[bytes] | int | None = None,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child that is ended with this process; Ctrl-C in the terminal does not reach it.

    On Linux the kernel sends it SIGTERM when the thread that called this ends: call it in a thread that lives long
    enough. Elsewhere a Python child calls `watch_parent` itself, and any other gets a small Python watcher.

    Args:
        command: The program and its arguments.
        env: Its environment; this process's by default.
        output: Where its stdout and stderr go.
        keep_open: File descriptors that it inherits, such as locks that it is to hold as well.
    """
    child_env = {**(os.environ if env is None else env), PARENT_VARIABLE: str(os.getpid())}
    args = [str(part) for part in command]
    bind = _bind_to_parent()
    if bind is None and args[0] != sys.executable:
        args = [sys.executable, "-m", "explaind_jobs.local_stack.child_process", *args]
    return subprocess.Popen(
        args,
        env=child_env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        preexec_fn=bind,  # noqa: PLW1509 - one prctl call on a function looked up beforehand
        pass_fds=() if sys.platform == "win32" else tuple(keep_open),
        start_new_session=True,
    )


def watch_parent() -> None:
    """Sends this process SIGTERM once its parent is gone; for children of `spawn` where the kernel cannot."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None or sys.platform == "linux":
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _bind_to_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:  # the parent died before prctl took effect
            os._exit(1)

    return bind


def _run_watched(command: Sequence[str]) -> int:
    """Run a program that does not watch its parent, and end it when our parent is gone or we get SIGTERM."""
    child = subprocess.Popen(list(command))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: child.terminate())
    watch_parent()
    return child.wait()


if __name__ == "__main__":
    sys.exit(_run_watched(sys.argv[1:]))
