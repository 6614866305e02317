"""What is known of a file that is kept."""

from dataclasses import dataclass
from datetime import datetime

from explaind.contract.files import FileKind


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be kept: its blob is written already, under a name that was announced.

    `card` is JSON of what the card says beside id and time, `digest` the SHA-256 of the blob's `size` bytes.
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
    """A file that is kept."""

    id: str
    created_at: datetime
    card: str
    blob: str
    digest: str
    size: int
    preview: str = ""


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a file: `created` is False where it was there already; `loose` is a blob to be removed."""

    file: KeptFile
    created: bool
    loose: str | None
