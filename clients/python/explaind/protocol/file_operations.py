"""Operations on datasets and artifacts, each a flow of `explaind.protocol.exchange`; their files on disk."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from explaind.contract.errors import InvalidDataset
from explaind.contract.files import ArtifactCard, ArtifactPage, DatasetCard, DatasetPage, DatasetPreview
from explaind.protocol.exchange import Flow, Policy, Request, fetch, parsed
from explaind.protocol.operations import removed

PageT = TypeVar("PageT", DatasetPage, ArtifactPage)

# What the end of a file's name says it holds.
MEDIA = {
    ".jsonl": "application/jsonl",
    ".ndjson": "application/jsonl",
    ".json": "application/jsonl",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
}


@dataclass(frozen=True)
class Upload:
    """A file on its way to the service."""

    data: bytes
    media: str
    name: str | None


def upload_of(source: str | os.PathLike[str] | bytes, name: str | None, media: str | None) -> Upload:
    """What to send of a path, whose file is read here, or of bytes, which are JSON lines unless `media` says other.

    Raises:
        InvalidDataset: the name's end does not say what the file holds.
        OSError: it cannot be read.
    """
    if isinstance(source, bytes):
        return Upload(source, media or MEDIA[".jsonl"], name)
    path = Path(source)
    known = media or MEDIA.get(path.suffix.lower())
    if known is None:
        raise InvalidDataset(
            f"The end of {path.name!r} does not say what it holds.",
            hint=f"Name it *{', *'.join(MEDIA)}, or give media=, such as 'text/csv'.",
        )
    return Upload(path.read_bytes(), known, name or path.name)


def upload(policy: Policy, file: Upload) -> Flow[DatasetCard]:
    """Upload a dataset; however often it has to be repeated, it is the same dataset.

    Raises:
        InvalidDataset: it cannot be read; the line is named.
        BodyTooLarge, TooManyFiles, UnsupportedMedia: it is not taken.
    """
    query = {} if file.name is None else {"name": file.name}
    request = Request("POST", "/datasets", query=query, body=file.data, headers={"Content-Type": file.media})
    return parsed((yield from fetch(policy, request)), DatasetCard)


def page(policy: Policy, kind: type[PageT], *, after: str | None, limit: int) -> Flow[PageT]:
    """A page of datasets or of artifacts, newest first."""
    place = "/datasets" if kind is DatasetPage else "/artifacts"
    query: Mapping[str, str] = {"limit": str(limit), **({} if after is None else {"after": after})}
    return parsed((yield from fetch(policy, Request("GET", place, query=query))), kind)


def dataset(policy: Policy, dataset_id: str) -> Flow[DatasetPreview]:
    """A dataset's card and first rows. Raises DatasetNotFound."""
    return parsed((yield from fetch(policy, Request("GET", _dataset(dataset_id)))), DatasetPreview)


def delete_dataset(policy: Policy, dataset_id: str) -> Flow[None]:
    """Delete a dataset. Raises DatasetNotFound."""
    yield from removed(policy, _dataset(dataset_id))


def artifact(policy: Policy, artifact_id: str) -> Flow[ArtifactCard]:
    """An artifact's card. Raises ArtifactNotFound."""
    return parsed((yield from fetch(policy, Request("GET", _artifact(artifact_id)))), ArtifactCard)


def content(policy: Policy, artifact_id: str) -> Flow[bytes]:
    """An artifact's bytes. Raises ArtifactNotFound, FileLost."""
    request = Request("GET", f"{_artifact(artifact_id)}/content", headers={"Accept": "application/octet-stream"})
    return (yield from fetch(policy, request)).content


def delete_artifact(policy: Policy, artifact_id: str) -> Flow[None]:
    """Delete an artifact. Raises ArtifactNotFound."""
    yield from removed(policy, _artifact(artifact_id))


def write_whole(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a file that is there as a whole or not at all; its path.

    Raises:
        OSError: it cannot be written.
    """
    place = Path(path)
    unfinished = place.with_name(f".{place.name[:100]}.{secrets.token_hex(4)}")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)
    return place


def _dataset(dataset_id: str) -> str:
    return f"/datasets/{quote(dataset_id, safe='')}"


def _artifact(artifact_id: str) -> str:
    return f"/artifacts/{quote(artifact_id, safe='')}"
