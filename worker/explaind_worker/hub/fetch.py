"""Fetches a model's files from the hub: once for all jobs that want them, in a process of its own."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Self

from explaind_worker.hub.causes import Cause, Failure
from explaind_worker.hub.sentences import error_of
from explaind_worker.stops import Cancelled

Part = Literal["description", "weights"]

POLL_S = 0.2
SILENCE_S = 120.0  # of the process that fetches, which bounds its requests itself; less takes slow lines for dead ones
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_SYMLINKS_WARNING": "1",
    "HF_HUB_VERBOSITY": "error",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubModel:
    """A model on the hub, at a commit."""

    repo: str
    revision: str


def nothing() -> None:
    """Default of `while_waiting`: neither reports nor cancels."""


def fetch(model: HubModel, part: Part, *, name: str, while_waiting: Callable[[], None] = nothing) -> Path:
    """The folder of huggingface_hub's cache with that part of the model's files in it, fetched where it is not there.

    The description is everything but the weights. What is there is checked against the hub's digests once a process.
    `while_waiting` is called every 0.2 s, and may raise. A download goes on then, for the next job, but not when the
    only job that waited for it was cancelled. `name` is the model's in an error.

    Raises:
        ModelLoadFailed: the hub does not give the files, or they cannot be kept; the hint says the way out.
        HubUnavailable: the hub cannot be reached or has a fault that may pass.
    """
    key = (model, part)
    known = _FETCHED.get(key)
    if known is not None and known.unchanged():
        return known.folder
    with _LOCK:
        download = _RUNNING.get(key)
        if download is None:
            download = _RUNNING[key] = _Download(model, part)
        download.waiting += 1
    try:
        while not download.ended.wait(POLL_S):
            while_waiting()
    except Cancelled:
        with _LOCK:
            if download.waiting == 1:
                _RUNNING.pop(key, None)
                download.stop()
        raise
    finally:
        with _LOCK:
            download.waiting -= 1
    if download.fetched is not None:
        return download.fetched.folder
    logger.warning("%s could not be fetched from the hub: %s", name, download.failure)
    raise error_of(download.failure, name, model.repo, model.revision)


def folder_of(model: HubModel) -> Path | None:
    """The folder of what was fetched of that model in this process; None before."""
    known = _FETCHED.get((model, "description"))
    return None if known is None else known.folder


def unchanged(model: HubModel) -> bool:
    """Whether what was fetched of that model in this process is still as it was checked then."""
    return all(known.unchanged() for (other, _), known in list(_FETCHED.items()) if other == model)


def listed_weight_bytes(folder: Path) -> int:
    """Bytes of the weights that the hub lists for the model of that folder; 0 where it is of no hub."""
    known = (fetched for fetched in list(_FETCHED.values()) if fetched.folder == folder)
    return max((fetched.weight_bytes for fetched in known), default=0)


def progress(model: HubModel) -> tuple[int, int | None] | None:
    """Bytes of that model that have come, and how many there are where it is known; None while nothing is fetched."""
    with _LOCK:
        running = [d for (other, _), d in _RUNNING.items() if other == model]
    return running[0].bytes if running else None


@dataclass(frozen=True)
class _Fetched:
    """A part that was fetched: its folder, and size, time and inode of each file when it had been checked."""

    folder: Path
    states: Mapping[Path, tuple[int, int, int]]
    weight_bytes: int

    @classmethod
    def of(cls, folder: Path, weight_bytes: int) -> Self:
        return cls(folder, {path: _state(path) for path in folder.rglob("*") if path.is_file()}, weight_bytes)

    def unchanged(self) -> bool:
        try:
            return all(_state(path) == state for path, state in self.states.items())
        except OSError:
            return False


def _state(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino


class _Download:
    """A running process that fetches; `ended` is set when its folder or its failure is there."""

    def __init__(self, model: HubModel, part: Part) -> None:
        self.waiting = 0
        self.ended = threading.Event()
        self.bytes: tuple[int, int | None] = (0, None)
        self.fetched: _Fetched | None = None
        self.failure = Failure(Cause.OTHER, note="the process that fetches ended by itself")
        self._key = (model, part)
        self._heard = time.monotonic()
        self._process = _started({"repo": model.repo, "revision": model.revision, "part": part})
        for work in (self._listen, self._watch):
            threading.Thread(target=work, name=f"fetch {model.repo}", daemon=True).start()

    def stop(self) -> None:
        """End it now."""
        self._process.kill()

    def _listen(self) -> None:
        output: IO[str] = self._process.stdout  # type: ignore[assignment]
        try:
            for line in output:
                self._heard = time.monotonic()
                self._take(json.loads(line))
        except (ValueError, OSError) as error:  # a folder that is gone again, a line cut off
            self.failure = Failure(Cause.OTHER, note=str(error))
            self.stop()
        finally:
            self._process.communicate()  # closes its pipes, waits
            with _LOCK:
                if _RUNNING.get(self._key) is self:
                    del _RUNNING[self._key]
                if self.fetched is not None:
                    _FETCHED[self._key] = self.fetched
            self.ended.set()

    def _take(self, report: dict[str, Any]) -> None:
        if "folder" in report:
            self.fetched = _Fetched.of(Path(report["folder"]), report["weight_bytes"])
        elif "failure" in report:
            self.failure = Failure.from_json(report["failure"])
        else:
            self.bytes = (report["done"], report["total"])

    def _watch(self) -> None:
        while not self.ended.wait(1.0):
            if time.monotonic() - self._heard > SILENCE_S:
                self.failure = Failure(Cause.TIMEOUT, endpoint=os.environ.get("HF_ENDPOINT", ""))
                self.stop()


_LOCK = threading.Lock()
_RUNNING: dict[tuple[HubModel, Part], _Download] = {}
_FETCHED: dict[tuple[HubModel, Part], _Fetched] = {}


def _started(wanted: dict[str, str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "explaind_worker.hub.download"],
        stdin=subprocess.PIPE,  # its end tells the child that this process is gone
        stdout=subprocess.PIPE,
        env={**QUIET, **os.environ},
        text=True,
        encoding="utf-8",
        start_new_session=True,  # a Ctrl-C is this process's to take
    )
    assert process.stdin is not None  # noqa: S101 - it was asked for
    with suppress(BrokenPipeError):  # it ended already: there will be no report, which says so
        process.stdin.write(json.dumps(wanted) + "\n")
        process.stdin.flush()
    return process
