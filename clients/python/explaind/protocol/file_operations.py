"""Operations on datasets and artifacts, one flow each, and their local files."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from explaind.contract.errors import InvalidDataset, WrongSource
from explaind.contract.files import ArtifactCard, ArtifactPage, DatasetCard, DatasetPage, DatasetPreview
from explaind.protocol.dataset_rows import HINT, Table, json_lines, name_of
from explaind.protocol.exchange import Flow, Policy, Request, fetch, parsed, segment
from explaind.protocol.operations import delete_resource

# Media type by file name suffix.
MEDIA = {
    ".jsonl": "application/jsonl",
    ".ndjson": "application/jsonl",
    ".json": "application/json",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".parquet": "application/vnd.apache.parquet",
}

# What `datasets.upload` takes: a path, the bytes of a file, an open one, or a table in memory.
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | IO[str] | Table


@dataclass(frozen=True)
class Upload:
    """A file to upload."""

    data: bytes
    media: str
    name: str | None


def read_upload(source: Source, name: str | None, media: str | None) -> Upload:
    """The upload of a file or a table, which is read here.

    A path and the file that it names; bytes, or an open file from where it stands, which are what `media` or the suffix
    of their name says, else JSON (lines or an array); any other table as JSON lines.

    Raises:
        WrongSource: it is neither a file nor a table.
        InvalidDataset: the suffix of a path's name is unknown and no `media` is given, or a row cannot be sent.
        OSError: it cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        known = media or media_of(path.name)
        if known is None:
            raise InvalidDataset(
                f"The end of {path.name!r} does not say what it holds.",
                hint=f"Name it *{', *'.join(MEDIA)}, or give media=, such as 'text/csv'.",
            )
        return Upload(path.read_bytes(), known, name or path.name)
    read = getattr(source, "read", None)
    if isinstance(source, bytes | bytearray | memoryview) or callable(read):
        data = source if not callable(read) else read()
        name = name or _name_of_file(source)
        known = media or media_of(name or "") or MEDIA[".jsonl"]
        if isinstance(data, bytes | bytearray | memoryview | str):
            return Upload(data.encode() if isinstance(data, str) else bytes(data), known, name)
        raise WrongSource(f"Reading this gives a {type(data).__name__}, neither bytes nor text.", hint=HINT)
    return Upload(json_lines(source), MEDIA[".jsonl"], name or name_of(source))


def media_of(name: str) -> str | None:
    """The media type of a file of that name; None where its suffix does not say."""
    return MEDIA.get(Path(name).suffix.lower())


def _name_of_file(file: object) -> str | None:
    """The name of an open file; None of one that has none, such as one in memory or without a path."""
    named = getattr(file, "name", None)
    return Path(named).name or None if isinstance(named, str) else None


def upload_dataset(policy: Policy, file: Upload) -> Flow[DatasetCard]:
    """Upload a dataset; repetitions give the same dataset.

    Raises:
        InvalidDataset: it cannot be read; the error names the line.
        BodyTooLarge, TooManyFiles, UnsupportedMedia: it is refused.
    """
    query = {} if file.name is None else {"name": file.name}
    request = Request("POST", "/datasets", query=query, body=file.data, headers={"Content-Type": file.media})
    return parsed((yield from fetch(policy, request)), DatasetCard)


def list_datasets(policy: Policy, *, after: str | None, limit: int) -> Flow[DatasetPage]:
    """A page of datasets, newest first."""
    return parsed((yield from fetch(policy, _page_request("/datasets", after, limit))), DatasetPage)


def get_dataset(policy: Policy, dataset_id: str) -> Flow[DatasetPreview]:
    """A dataset's card and first rows. Raises DatasetNotFound."""
    return parsed((yield from fetch(policy, Request("GET", _dataset(dataset_id)))), DatasetPreview)


def delete_dataset(policy: Policy, dataset_id: str) -> Flow[None]:
    """Delete a dataset. Raises DatasetNotFound."""
    yield from delete_resource(policy, _dataset(dataset_id))


def get_artifact(policy: Policy, artifact_id: str) -> Flow[ArtifactCard]:
    """An artifact's card. Raises ArtifactNotFound."""
    return parsed((yield from fetch(policy, Request("GET", _artifact(artifact_id)))), ArtifactCard)


def list_artifacts(policy: Policy, *, after: str | None, limit: int) -> Flow[ArtifactPage]:
    """A page of artifacts, newest first."""
    return parsed((yield from fetch(policy, _page_request("/artifacts", after, limit))), ArtifactPage)


def get_artifact_content(policy: Policy, artifact_id: str) -> Flow[bytes]:
    """An artifact's bytes. Raises ArtifactNotFound, FileLost."""
    request = Request("GET", f"{_artifact(artifact_id)}/content", headers={"Accept": "application/octet-stream"})
    return (yield from fetch(policy, request)).content


def delete_artifact(policy: Policy, artifact_id: str) -> Flow[None]:
    """Delete an artifact. Raises ArtifactNotFound."""
    yield from delete_resource(policy, _artifact(artifact_id))


def write_atomically(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a file through a temporary one beside it, so that it exists whole or not at all; returns its path.

    Raises:
        OSError: it cannot be written.
    """
    target = Path(path)
    unfinished = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def _page_request(path: str, after: str | None, limit: int) -> Request:
    query: Mapping[str, str] = {"limit": str(limit), **({} if after is None else {"after": after})}
    return Request("GET", path, query=query)


def _dataset(dataset_id: str) -> str:
    return f"/datasets/{segment(dataset_id)}"


def _artifact(artifact_id: str) -> str:
    return f"/artifacts/{segment(artifact_id)}"
