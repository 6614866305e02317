"""A stand-in of the Hugging Face hub on loopback: what huggingface_hub asks of it, and the faults a real one has.

    with StandInHub() as hub:
        commit = hub.add("org/name", folder)          # or {"config.json": b"{}"}; kind="dataset" for a dataset
        monkeypatch.setenv("HF_ENDPOINT", hub.url)    # huggingface_hub reads it when it is imported: in a child process

A repository may be gated or private; `tokens` says which repositories a token may read. Small files are sent at once,
large ones by a redirect to a second port, as from a CDN, which must not be told the token. `faults` are what
goes wrong.
"""

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

Kind = Literal["model", "dataset"]
LARGE_BYTES = 10_000
LARGE_SUFFIXES = (".safetensors", ".npz", ".pt", ".bin", ".parquet")
FOREVER = 1_000_000

RESOLVE = re.compile(r"/(?P<set>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
API = re.compile(
    r"/api/(?P<kind>model|dataset)s/(?P<repo>[^/]+/[^/]+)"
    r"(?:/(?P<call>revision|tree|paths-info)/(?P<revision>[^/]+)(?:/(?P<file>.*))?)?"
)
CDN = re.compile(r"/cdn/(?P<digest>[0-9a-f]{64})")


@dataclass
class Repository:
    """Files by revision: names of branches and tags to commits, commits to files."""

    gated: bool = False
    private: bool = False
    disabled: bool = False
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit of a branch, tag or commit, and its files; None where there is none."""
        commit = self.refs.get(revision, revision)
        return (commit, self.commits[commit]) if commit in self.commits else None


@dataclass
class Fault:
    """What goes wrong with the next requests whose path holds `path`: as many as `times`.

    `status` is answered instead; `after` bytes of a body, the connection breaks; `hang`: nothing is answered; `damage`:
    the body's first byte is another.
    """

    path: str
    times: int = 1
    method: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int | None = None
    hang: bool = False
    damage: bool = False


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    status: int
    range: str | None
    token: str | None


class StandInHub:
    """The server; a context manager. `requests` are those that came, in order."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[Kind, str], Repository] = {}
        self.tokens: dict[str, set[str]] = {}
        self.faults: list[Fault] = []
        self.requests: list[Asked] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"hub": self})
        # Two: huggingface_hub follows a redirect to the same host by itself, and misses the headers of the file.
        self._servers = [_Server(("127.0.0.1", 0), handler) for _ in range(2)]
        self.url, self.cdn = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        self._threads = [threading.Thread(target=s.serve_forever, args=(0.02,), daemon=True) for s in self._servers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Nobody listens any more."""
        self._stopped.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()
        self._servers, self._threads = [], []

    def add(
        self,
        repo: str,
        files: Path | Mapping[str, bytes],
        *,
        kind: Kind = "model",
        revision: str = "main",
        gated: bool = False,
        private: bool = False,
    ) -> str:
        """A commit with these files, or those of a folder, as the head of that branch; the commit."""
        if isinstance(files, Path):
            files = {p.relative_to(files).as_posix(): p.read_bytes() for p in sorted(files.rglob("*")) if p.is_file()}
        repository = self.repositories.setdefault((kind, repo), Repository())
        repository.gated, repository.private = gated, private
        listed = json.dumps([kind, repo, {name: _blob_id(data) for name, data in sorted(files.items())}])
        commit = hashlib.sha1(listed.encode(), usedforsecurity=False).hexdigest()
        repository.commits[commit] = dict(files)
        repository.refs[revision] = commit
        return commit

    def got(self, name: str, method: str = "GET") -> list[Asked]:
        """The requests for the content of that file, by its name or its digest, that were answered with it."""
        digests = {
            _sha256(files[name]) for r in self.repositories.values() for files in r.commits.values() if name in files
        }
        ends = (f"/{name}", *digests)
        return [a for a in self.requests if a.method == method and a.path.endswith(ends) and a.status in (200, 206)]

    def fault_for(self, method: str, path: str) -> Fault | None:
        """The fault that the next such request meets."""
        with self._lock:
            for fault in self.faults:
                if fault.times and fault.path in path and fault.method in (None, method):
                    fault.times -= 1
                    return fault
        return None

    def note(self, asked: Asked) -> None:
        """A request was answered."""
        with self._lock:
            self.requests.append(asked)

    def wait_until_stopped(self) -> None:
        """What a request that is never answered does."""
        self._stopped.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StandInHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:  # and GET, and POST
        path = unquote(urlsplit(self.path).path)
        self._sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self._fault = self.hub.fault_for(self.command, path)
        if self._fault is not None and self._fault.hang:
            self.hub.wait_until_stopped()
            self.close_connection = True
        elif self._fault is not None and self._fault.status is not None:
            self._refuse(self._fault.status, "", "made to fail", **self._fault.headers)
        elif found := CDN.fullmatch(path):
            self._send_blob(found["digest"])
        elif path == "/api/whoami-v2":
            known = self._token in self.hub.tokens
            self._json({"name": "tester", "type": "user"}) if known else self._refuse(401, "", "Invalid username")
        elif found := RESOLVE.fullmatch(path):
            self._of_repository("dataset" if found["set"] else "model", found, resolving=True)
        elif found := API.fullmatch(path):
            self._of_repository("dataset" if found["kind"] == "dataset" else "model", found, resolving=False)
        else:
            self._refuse(404, "", "no such endpoint")

    do_GET = do_POST = do_HEAD  # noqa: N815 - the server's names

    def _of_repository(self, kind: Kind, asked: re.Match[str], *, resolving: bool) -> None:  # noqa: PLR0911 - one each
        name, token = asked["repo"], self._token
        if token is not None and token not in self.hub.tokens:
            return self._refuse(401, "", "Invalid credentials in Authorization header")
        repository = self.hub.repositories.get((kind, name))
        allowed = name in self.hub.tokens.get(token or "", ())
        if repository is None or (
            repository.private and not allowed
        ):  # whether it is there is not told without a token
            return self._refuse(401 if token is None else 404, "RepoNotFound", "Repository not found")
        if repository.disabled:
            return self._refuse(403, "", "Access to this resource is disabled.")
        found = repository.files(asked["revision"] or "main")
        if found is None:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {asked['revision']}")
        if resolving and repository.gated and not allowed:  # the list of files is open, the files are not
            said = f"Access to {kind} {name} is restricted. You must have access to it and be authenticated."
            if token is None:
                return self._refuse(401, "GatedRepo", said)
            return self._refuse(403, "GatedRepo", f"{said} Visit {self.hub.url}/{name} to ask for access.")
        if resolving:
            return self._send_file(*found, asked["file"])
        return self._describe(kind, repository, *found, asked)

    def _describe(
        self, kind: Kind, repository: Repository, commit: str, files: dict[str, bytes], asked: re.Match[str]
    ) -> None:
        listed = [_listed(name, data) for name, data in files.items()]
        if asked["call"] == "tree":
            under = f"{asked['file']}/" if asked["file"] else ""
            listed = [entry for entry in listed if entry["path"].startswith(under)]
            return self._json(listed) if listed or not under else self._refuse(404, "EntryNotFound", "No such folder")
        if asked["call"] == "paths-info":
            wanted = json.loads(self._sent or b"{}").get("paths", [])
            return self._json([entry for entry in listed if entry["path"] in wanted])
        return self._json(
            {
                "_id": "0" * 24,
                "id": asked["repo"],
                f"{kind}Id": asked["repo"],
                "sha": commit,
                "private": repository.private,
                "gated": "manual" if repository.gated else False,
                "disabled": False,
                "tags": [],
                "siblings": [{"rfilename": name} for name in files],
            }
        )

    def _send_file(self, commit: str, files: dict[str, bytes], name: str) -> None:
        if name not in files:  # with the commit: the client remembers that it is not there
            return self._refuse(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit})
        data = files[name]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_blob_id(data)}"', "Accept-Ranges": "bytes"}
        if not _large(name, data):
            return self._send_body(data, headers)
        digest = _sha256(data)
        return self._answer(
            302,
            b"",
            {
                **headers,
                "X-Linked-Size": str(len(data)),
                "X-Linked-Etag": f'"{digest}"',
                "Location": f"{self.hub.cdn}/cdn/{digest}",
            },
        )

    def _send_blob(self, digest: str) -> None:
        for repository in self.hub.repositories.values():
            for files in repository.commits.values():
                for data in files.values():
                    if _sha256(data) == digest:
                        return self._send_body(data, {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"})
        return self._refuse(404, "EntryNotFound", "Entry not found")

    def _send_body(self, data: bytes, headers: Mapping[str, str]) -> None:
        status, total = 200, len(data)
        if self._fault is not None and self._fault.damage:
            data = bytes([data[0] ^ 1]) + data[1:]
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first, last = int(found[1]), min(int(found[2] or total - 1), total - 1)
            if first >= total:
                return self._answer(416, b"", {"Content-Range": f"bytes */{total}"})
            data, status = data[first : last + 1], 206
            headers = {**headers, "Content-Range": f"bytes {first}-{last}/{total}"}
        return self._answer(status, data, headers)

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str, **headers: str) -> None:
        told = {"X-Error-Message": message, "Content-Type": "application/json", **headers}
        self._answer(
            status, json.dumps({"error": message}).encode(), {**({"X-Error-Code": code} if code else {}), **told}
        )

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.hub.note(Asked(self.command, self.path, status, self.headers.get("Range"), self._token))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        after = None if self._fault is None else self._fault.after
        self.wfile.write(body if after is None else body[:after])
        if after is not None and after < len(body):
            self.wfile.flush()
            self.close_connection = True


def _listed(name: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "oid": _blob_id(data), "size": len(data), "path": name}
    if _large(name, data):
        entry["lfs"] = {"oid": _sha256(data), "size": len(data), "pointerSize": 134}
    return entry


def _large(name: str, data: bytes) -> bool:
    return len(data) > LARGE_BYTES or name.endswith(LARGE_SUFFIXES)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
