"""Downloads a model's files from the hub, once for all jobs that need them, in a separate process."""

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
SILENCE_S = 120.0  # without output from the download process, whose requests time out; less would fail slow lines
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
    """The directory of huggingface_hub's cache with that part of the model's files, downloaded if missing.

    The description is everything but the weights. Existing files are verified against the hub's digests once per
    process. `while_waiting` is called every 0.2 s, and may raise. The download then continues for the next job, unless
    the only job waiting for it was cancelled. `name` is the model's name in errors.

    Raises:
        ModelLoadFailed: the hub refuses the files, or they cannot be stored; the hint has the remedy.
        HubUnavailable: the hub cannot be reached or has a temporary fault.
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
    """The directory of the model's files, once downloaded or verified by this process; None before."""
    known = _FETCHED.get((model, "description"))
    return None if known is None else known.folder


def unchanged(model: HubModel) -> bool:
    """Whether the model's files are unchanged since this process verified them."""
    return all(known.unchanged() for (other, _), known in list(_FETCHED.items()) if other == model)


def listed_weight_bytes(folder: Path) -> int:
    """Bytes of the weights that the hub lists for the model in that directory; 0 if it is not from a hub."""
    known = (fetched for fetched in list(_FETCHED.values()) if fetched.folder == folder)
    return max((fetched.weight_bytes for fetched in known), default=0)


def progress(model: HubModel) -> tuple[int, int | None] | None:
    """Bytes of that model downloaded, and the total if known; None while nothing is being downloaded."""
    with _LOCK:
        running = [d for (other, _), d in _RUNNING.items() if other == model]
    return running[0].bytes if running else None


@dataclass(frozen=True)
class _Fetched:
    """A downloaded part: its directory, and size, mtime and inode of each file when it was verified."""

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
    """A running download process; `ended` is set once its result or failure is known."""

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
        """End it at once."""
        self._process.kill()

    def _listen(self) -> None:
        output: IO[str] = self._process.stdout  # type: ignore[assignment]
        try:
            for line in output:
                self._heard = time.monotonic()
                self._take(json.loads(line))
        except (ValueError, OSError) as error:  # a directory removed again, a truncated line
            self.failure = Failure(Cause.OTHER, note=str(error))
            self.stop()
        finally:
            self._process.communicate()  # closes its pipes and waits for it
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
        stdin=subprocess.PIPE,  # closing it tells the child that this process is gone
        stdout=subprocess.PIPE,
        env={**QUIET, **os.environ},
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C is handled by this process
    )
    assert process.stdin is not None  # noqa: S101 - requested above
    with suppress(BrokenPipeError):  # it ended already: the missing report will show that
        process.stdin.write(json.dumps(wanted) + "\n")
        process.stdin.flush()
    return process
