"""Records of stored files, passed between service, store and worker."""

from dataclasses import dataclass
from datetime import datetime

from explaind.contract.files import FileKind


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be recorded; its blob is already written, under a name that was announced.

    `card` is the card as JSON without id and time, `digest` the SHA-256 of the blob's `size` bytes.
    """

    kind: FileKind
    id: str
    blob: str
    digest: str
    size: int
    card: str
    preview: str = ""
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A stored file."""

    id: str
    created_at: datetime
    card: str
    blob: str
    digest: str
    size: int
    preview: str = ""


@dataclass(frozen=True, slots=True)
class Put:
    """Outcome of storing a file: `created` is False if it existed already; `loose` is a blob to be removed."""

    file: KeptFile
    created: bool
    loose: str | None
