"""Operations on datasets and artifacts, one flow each, and their local files."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from explaind.contract.errors import InvalidDataset
from explaind.contract.files import ArtifactCard, ArtifactPage, DatasetCard, DatasetPage, DatasetPreview
from explaind.protocol.exchange import Flow, Policy, Request, fetch, parsed
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


@dataclass(frozen=True)
class Upload:
    """A file to upload."""

    data: bytes
    media: str
    name: str | None


def read_upload(source: str | os.PathLike[str] | bytes, name: str | None, media: str | None) -> Upload:
    """The upload of a path, whose file is read here, or of bytes, which are JSON unless `media` is given.

    Raises:
        InvalidDataset: the suffix of the name is unknown and no `media` is given.
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


def upload_dataset(policy: Policy, file: Upload) -> Flow[DatasetCard]:
    """Upload a dataset; however often it has to be repeated, it is the same dataset.

    Raises:
        InvalidDataset: it cannot be read; the error names the line.
        BodyTooLarge, TooManyFiles, UnsupportedMedia: it is not taken.
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
    return f"/datasets/{quote(dataset_id, safe='')}"


def _artifact(artifact_id: str) -> str:
    return f"/artifacts/{quote(artifact_id, safe='')}"
