"""The process that fetches: `python -m explaind_worker.hub.download`, one part of a model's files at one commit.

A process of its own, since it can be ended at any moment, reads the hub's settings (HF_ENDPOINT, HF_HOME,
HF_HUB_OFFLINE, HF_TOKEN) when it starts, and changes nothing of the worker. It reads what is wanted as JSON from the
first line of stdin, and ends when stdin does. It writes JSON lines to stdout: how far it is, at last the folder or the
failure.
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

# All that transformers reads beside the weights, at the top of a repository, and its further chat templates.
DESCRIPTION = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
TEMPLATES = "additional_chat_templates"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
OTHER_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".ckpt")
AT_ONCE = 4  # files
REPORT_S = 0.2
LOOK_S = 5.0


class Fetch:
    """The files of one part of a model at a commit, in huggingface_hub's cache."""

    def __init__(self, repo: str, revision: str, report: "Reports") -> None:
        self._repo, self._revision, self._report = repo, revision, report
        self._bars = report.bars()
        self.unreachable: GaveUp | None = None  # why only the cache is looked into
        sweep(_storage(repo))

    def description(self) -> Path:
        """The folder, with everything in it but the weights.

        Raises:
            NotFetched: there is no config, nor an adapter's.
        """
        folder = self._fetched(DESCRIPTION, ignore=("*/*",))
        if TEMPLATES in {name.partition("/")[0] for name in self._sizes()}:
            self._fetched((f"{TEMPLATES}/*.jinja",))
        if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise NotFetched(self._absent, files=("config.json",))
        return folder

    def weights(self) -> Path:
        """The folder, with the weights in it: one file, or all that the index names.

        Raises:
            NotFetched: there are none as safetensors, or the index names one that is not there.
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
        """Bytes of the weights that the repository holds; 0 where its files are not known."""
        sizes = self._sizes()
        index = [] if WEIGHTS in sizes else self._index()
        return sum(sizes.get(name, 0) for name in index or [WEIGHTS])

    @property
    def _absent(self) -> Cause:
        """Why a file is not in the folder: the repository has none, or the cache when nothing else may be asked.

        Raises:
            GaveUp: the hub could not be asked.
        """
        if self.unreachable is not None:
            raise self.unreachable from self.unreachable.__cause__
        return Cause.OFFLINE if constants.is_offline_mode() and not self._sizes() else Cause.NO_FILE

    def _require_room(self, wanted: Sequence[str], sizes: Mapping[str, int]) -> None:
        """Refuses what the disk has no room for before anything of it has come."""
        storage = _storage(self._repo)
        here = storage / "snapshots" / self._revision
        needed = sum(sizes.get(name, 0) for name in wanted if not (here / name).is_file())
        self._report.total = needed or None
        disk = next(place for place in (storage, *storage.parents) if place.exists())
        if needed > (free := shutil.disk_usage(disk).free):
            raise NotFetched(Cause.DISK_FULL, f"{_in_words(needed)} are needed, {_in_words(free)} are free")

    def _index(self) -> list[str]:
        """The files that the index of the weights names; none where there is no index."""
        path = self._fetched((INDEX,)) / INDEX
        if not path.is_file():
            return []
        try:
            return sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotFetched(Cause.UNREADABLE, str(error), files=(INDEX,)) from error

    def _fetched(self, patterns: Sequence[str], ignore: Sequence[str] = ()) -> Path:
        """The snapshot's folder, with the files of these patterns in it, each as the hub says it is.

        A file that was damaged on its way, or in the cache since, is fetched once more.
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
            return snapshot(local=True)  # a cache that another program has filled
        except OSError:
            raise self.unreachable from self.unreachable.__cause__

    def _files(self, folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
        for pattern in patterns:
            yield from (path for path in folder.glob(pattern) if path.is_file())

    def _sizes(self) -> dict[str, int]:
        """Bytes of every file of the repository by its path; nothing where the list of them was never fetched."""
        try:
            return {file.path: file.size for file in get_cached_repo_tree(self._repo, revision=self._revision)}
        except CachedRepoTreeNotFoundError:
            return {}


class Reports:
    """What this process tells the one that started it."""

    def __init__(self, output: IO[str], requests: BoundedRequests) -> None:
        self.total: int | None = None
        self._output, self.requests = output, requests
        self._lock = threading.Lock()
        self._done, self._told = 0, 0.0

    def write(self, **fields: Any) -> None:
        """One line."""
        with self._lock:
            self._output.write(json.dumps(fields) + "\n")
            self._output.flush()

    def alive(self, more: int = 0) -> None:
        """Something was done; so many bytes more have come."""
        self._done += more
        if time.monotonic() - self._told >= REPORT_S:
            self._told = time.monotonic()
            self.write(done=self._done, total=self.total)

    def bars(self) -> type[tqdm]:
        """A class of progress bars that draws nothing; the bytes of its bars are reported."""
        reports = self

        class Bar(tqdm):
            monitor_interval = 0  # no thread

            def __init__(self, *args: Any, **options: Any) -> None:
                # Of the two bars that count bytes one counts what comes, the other what is written.
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
    """Where huggingface_hub keeps a model's files."""
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")


def _in_words(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def main() -> None:
    """Fetch what the first line of stdin asks for."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no report
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
    except Exception as error:  # whatever it is, it is told
        reports.write(failure=failure_of(error).as_json())
    os._exit(0)  # threads of other files are not waited for


def _report_growth(blobs: Path, reports: Reports) -> None:
    """Files that grow are a sign of life, be it of another process that fetches them and has their lock."""
    before = -1
    while True:
        with suppress(OSError):  # one that was finished meanwhile
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
