"""Download process, `python -m explaind_worker.hub.download`: one part of a model's files at one commit.

A separate process can be ended at any moment, reads the hub's settings (HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE, HF_TOKEN)
when it starts, and leaves the worker's state alone. It reads its task as JSON from the first line of stdin, and ends
when stdin is closed. It writes JSON lines to stdout: progress, finally the directory or the failure.
"""

import glob
import io
import json
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from huggingface_hub import constants, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import CachedRepoTreeNotFoundError
from huggingface_hub.file_download import repo_folder_name
from tqdm.auto import tqdm

from explaind_worker.hub.blobs import damaged, remove, sweep
from explaind_worker.hub.causes import Cause, NotFetched, failure_of
from explaind_worker.hub.retries import BoundedRequests, GaveUp

# Everything that transformers reads beside the weights, at the top of a repository, and its additional chat templates.
DESCRIPTION = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
TEMPLATES = "additional_chat_templates"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
OTHER_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".ckpt")
AT_ONCE = 4  # files downloaded concurrently
REPORT_S = 0.2
LOOK_S = 5.0


class Fetch:
    """Downloads the files of one part of a model at a commit into huggingface_hub's cache."""

    def __init__(self, repo: str, revision: str, report: "Reports") -> None:
        self._repo, self._revision, self._report = repo, revision, report
        self._bars = report.bars()
        self.unreachable: GaveUp | None = None  # set if the hub is unreachable: only the cache is used then
        sweep(_storage(repo))

    def description(self) -> Path:
        """The directory with everything but the weights.

        Raises:
            NotFetched: there is neither a config nor an adapter config.
        """
        folder = self._fetched(DESCRIPTION, ignore=("*/*",))
        if TEMPLATES in {name.partition("/")[0] for name in self._sizes()}:
            self._fetched((f"{TEMPLATES}/*.jinja",))
        if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise NotFetched(self._absent, files=("config.json",))
        return folder

    def weights(self) -> Path:
        """The directory with the weights: one file, or all that the index names.

        Raises:
            NotFetched: there are none as safetensors, or a file named by the index is missing.
        """
        index = self._index()
        sizes = self._sizes()
        wanted = [WEIGHTS] if WEIGHTS in sizes or not index else index
        self._require_room(wanted, sizes)
        folder = self._fetched([glob.escape(name) for name in wanted])
        missing = tuple(name for name in wanted if not (folder / name).is_file())
        if missing == (WEIGHTS,):
            others = tuple(name for name in sorted(sizes) if name.endswith(OTHER_WEIGHTS))
            raise NotFetched(self._absent if self._absent is Cause.OFFLINE else Cause.NO_WEIGHTS, files=others[:3])
        if missing:
            raise NotFetched(self._absent, files=missing)
        return folder

    def weight_bytes(self) -> int:
        """Bytes of the weights in the repository; 0 if its files are not known."""
        sizes = self._sizes()
        index = [] if WEIGHTS in sizes else self._index()
        return sum(sizes.get(name, 0) for name in index or [WEIGHTS])

    @property
    def _absent(self) -> Cause:
        """Cause of a missing file: it is not in the repository or, offline, not in the cache.

        Raises:
            GaveUp: the hub could not be reached.
        """
        if self.unreachable is not None:
            raise self.unreachable from self.unreachable.__cause__
        return Cause.OFFLINE if constants.is_offline_mode() and not self._sizes() else Cause.NO_FILE

    def _require_room(self, wanted: Sequence[str], sizes: Mapping[str, int]) -> None:
        """Refuses files for which the disk has no space, before any of them is downloaded."""
        storage = _storage(self._repo)
        here = storage / "snapshots" / self._revision
        needed = sum(sizes.get(name, 0) for name in wanted if not (here / name).is_file())
        self._report.total = needed or None
        disk = next(place for place in (storage, *storage.parents) if place.exists())
        if needed > (free := shutil.disk_usage(disk).free):
            raise NotFetched(Cause.DISK_FULL, f"{_in_words(needed)} are needed, {_in_words(free)} are free")

    def _index(self) -> list[str]:
        """The files named by the weights' index; empty without an index."""
        path = self._fetched((INDEX,)) / INDEX
        if not path.is_file():
            return []
        try:
            return sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotFetched(Cause.UNREADABLE, str(error), files=(INDEX,)) from error

    def _fetched(self, patterns: Sequence[str], ignore: Sequence[str] = ()) -> Path:
        """The snapshot's directory with the files of these patterns, verified against the hub's digests.

        A file damaged in transit or in the cache is downloaded once more.
        """
        wrong: list[Path] = []
        for _ in range(2):
            folder = self._snapshot(list(patterns), list(ignore) or None)
            wrong = damaged(self._files(folder, patterns), self._report.alive)
            if not wrong:
                return folder
            for path in wrong:
                remove(path)
        raise NotFetched(Cause.DAMAGED, files=tuple(path.name for path in wrong))

    def _snapshot(self, patterns: list[str], ignore: list[str] | None) -> Path:
        def snapshot(*, local: bool) -> Path:
            found = snapshot_download(
                self._repo,
                revision=self._revision,
                allow_patterns=patterns,
                ignore_patterns=ignore,
                local_files_only=local,
                max_workers=AT_ONCE,
                tqdm_class=self._bars,
            )
            return Path(found)

        try:
            return snapshot(local=self.unreachable is not None)
        except GaveUp as error:
            self.unreachable = error
        try:
            return snapshot(local=True)  # a cache filled by another program
        except OSError:
            raise self.unreachable from self.unreachable.__cause__

    def _files(self, folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
        for pattern in patterns:
            yield from (path for path in folder.glob(pattern) if path.is_file())

    def _sizes(self) -> dict[str, int]:
        """Bytes of every file of the repository by path; empty if their list was never downloaded."""
        try:
            return {file.path: file.size for file in get_cached_repo_tree(self._repo, revision=self._revision)}
        except CachedRepoTreeNotFoundError:
            return {}


class Reports:
    """Reports from this process to its parent."""

    def __init__(self, output: IO[str], requests: BoundedRequests) -> None:
        self.total: int | None = None
        self._output, self.requests = output, requests
        self._lock = threading.Lock()
        self._done, self._told = 0, 0.0

    def write(self, **fields: Any) -> None:
        """Writes one line."""
        with self._lock:
            self._output.write(json.dumps(fields) + "\n")
            self._output.flush()

    def alive(self, more: int = 0) -> None:
        """Reports activity, with `more` further bytes downloaded."""
        self._done += more
        if time.monotonic() - self._told >= REPORT_S:
            self._told = time.monotonic()
            self.write(done=self._done, total=self.total)

    def bars(self) -> type[tqdm]:
        """A class of progress bars that draws nothing and reports the bytes of its bars."""
        reports = self

        class Bar(tqdm):
            monitor_interval = 0  # no monitor thread

            def __init__(self, *args: Any, **options: Any) -> None:
                # Of the two bars in bytes, one counts downloaded and the other written bytes.
                self._counts = options.get("unit") == "B" and "Downloading" in str(options.get("desc"))
                super().__init__(*args, **{**options, "file": io.StringIO()})

            def display(self, *_: Any, **__: Any) -> None:
                pass

            def update(self, n: float | None = 1) -> bool | None:
                reports.requests.advanced()
                reports.alive(int(n or 0) if self._counts else 0)
                return super().update(n)

        return Bar


def _storage(repo: str) -> Path:
    """Directory where huggingface_hub keeps a model's files."""
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")


def _in_words(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def main() -> None:
    """Download what the first line of stdin specifies."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keeps the output of libraries out of the reports
    wanted = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    warnings.filterwarnings("error", message="Not enough free disk space")
    reports = Reports(output, BoundedRequests())
    try:
        fetch = Fetch(wanted["repo"], wanted["revision"], reports)
        growing = (_storage(wanted["repo"]) / "blobs", reports)
        threading.Thread(target=_report_growth, args=growing, daemon=True).start()
        folder = fetch.weights() if wanted["part"] == "weights" else fetch.description()
        reports.write(folder=str(folder), weight_bytes=fetch.weight_bytes())
    except Exception as error:  # whatever it is, it is reported
        reports.write(failure=failure_of(error).as_json())
    os._exit(0)  # does not wait for threads of other files


def _report_growth(blobs: Path, reports: Reports) -> None:
    """Reports growth of files as activity, even if another process downloads them and holds their lock."""
    before = -1
    while True:
        with suppress(OSError):  # a file finished meanwhile
            now = sum(path.stat().st_size for path in blobs.glob("*.incomplete"))
            if now not in (0, before):
                reports.alive()
            before = now
        time.sleep(LOOK_S)


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
