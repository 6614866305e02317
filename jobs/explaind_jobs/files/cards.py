"""File ids and file cards (the API's view of a file), and the errors for missing files."""

import hashlib
import io
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from explaind.contract.errors import ArtifactNotFound, BodyTooLarge, DatasetNotFound, FileLost, NotFound
from explaind.contract.files import ArtifactCard, DatasetCard, FileKind
from explaind_jobs.files.records import KeptFile
from explaind_jobs.store.transitions import ID_DIGITS

READ_AT_ONCE = 1 << 20

_json = TypeAdapter(dict[str, Any])


def kind_of(file_id: str) -> FileKind:
    """Whether an id belongs to a dataset or to an artifact."""
    return "dataset" if file_id.startswith("ds_") else "artifact"


def dataset_card(file: KeptFile) -> DatasetCard:
    """The card of a dataset."""
    return DatasetCard(id=file.id, created_at=file.created_at, **_json.validate_json(file.card))


def artifact_card(file: KeptFile) -> ArtifactCard:
    """The card of an artifact."""
    return ArtifactCard(id=file.id, created_at=file.created_at, **_json.validate_json(file.card))


def not_found(kind: FileKind, file_id: str) -> NotFound:
    """The 404 error for a file that does not exist (any more)."""
    if kind == "dataset":
        hint = "POST /datasets makes one; GET /datasets lists those kept."
        return DatasetNotFound(f"There is no dataset {file_id!r}.", hint=hint)
    return ArtifactNotFound(f"There is no artifact {file_id!r}.", hint="GET /artifacts lists those kept.")


def dataset_too_large(most: int) -> BodyTooLarge:
    """The error for a dataset over the size limit."""
    return BodyTooLarge(
        f"The dataset is larger than the {most} bytes that this service takes.",
        hint="Send fewer rows, or ask whoever runs the service to raise EXPLAIND_DATASET_BYTES.",
    )


def content_id(prefix: str, *parts: bytes | BinaryIO) -> str:
    """A 130-bit id derived from its parts by hashing; files are read from beginning to end."""
    seen = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            seen.update(len(part).to_bytes(8) + part)
        else:
            seen.update(part.seek(0, io.SEEK_END).to_bytes(8))
            part.seek(0)
            while chunk := part.read(READ_AT_ONCE):
                seen.update(chunk)
    bits = int.from_bytes(seen.digest())
    return f"{prefix}_{''.join(ID_DIGITS[bits >> place & 31] for place in range(0, 130, 5))}"


def lost() -> FileLost:
    """The error for a file whose stored bytes are missing or differ."""
    return FileLost(
        "The stored file is no longer in the store, or is damaged.",
        hint="Delete it and make it again. If every file is missing, the service and its workers do not share one "
        "store: give both the same EXPLAIND_RESULTS_URL.",
    )
