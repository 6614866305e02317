"""File store of datasets and artifacts: bytes in the blob store, records in Redis.

All methods block. The blob is written before the record is created, and the record is deleted before the blob; a blob
left without a record (by a crash in between) is swept after an hour.
"""

import hashlib
import io
import secrets
from datetime import UTC, datetime
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from explaind.contract.errors import (
    NotFound,
    RequestTooLarge,
    TooManyFiles,
    UnknownArtifact,
    UnknownDataset,
)
from explaind.contract.files import (
    ArtifactCard,
    ArtifactPage,
    DatasetCard,
    DatasetPage,
    DatasetPreview,
    FileKind,
)
from explaind_jobs.files import dataset_codec, scripts
from explaind_jobs.files.cards import (
    artifact_card,
    content_id,
    dataset_card,
    dataset_too_large,
    kind_of,
    not_found,
)
from explaind_jobs.files.dataset_codec import TableForm
from explaind_jobs.files.encode_process import encode_upload
from explaind_jobs.files.file_blobs import FileBlobs
from explaind_jobs.files.records import KeptFile, NewFile
from explaind_jobs.files.table_readers import Row
from explaind_jobs.store.records import ANONYMOUS

_json = TypeAdapter(dict[str, Any])
_rows = TypeAdapter(list[Row])


class FileStore(FileBlobs):
    """All files; `of` restricts them to one owner."""

    def of(self, owner: str, *, sees: str | None = None, job: str | None = None) -> "Files":
        """The files of an owner (an API key's id); `sees`: whose files can be read, if not only the owner's."""
        return Files(self, owner, owner if sees is None else sees, job)


class Files:
    """The datasets and artifacts of one owner, for jobs and routes."""

    def __init__(self, store: FileStore, owner: str = ANONYMOUS, sees: str = ANONYMOUS, job: str | None = None) -> None:
        self._store = store
        self._owner = owner
        self._sees = sees
        self._job = job
        self._storing = True

    def dry_run(self) -> "Files":
        """The same files for a dry run: reads work, writes are discarded."""
        files = Files(self._store, self._owner, self._sees, self._job)
        files._storing = False
        return files

    def rows(self, dataset_id: str, *, pointer: str = "/dataset") -> list[Row]:
        """The rows of a dataset; each has every column, None for missing values.

        Args:
            dataset_id: its id.
            pointer: the field of the request that names it.

        Raises:
            UnknownDataset: the owner has no dataset with that id.
            FileLost, StoreUnavailable: it cannot be read.
        """
        file = self._named("dataset", dataset_id, pointer)
        return dataset_codec.decode(self._store.read(file), dataset_card(file).columns)

    def artifact(self, artifact_id: str, *, pointer: str = "/artifact") -> bytes:
        """The bytes of an artifact that a request names at `pointer`.

        Raises:
            UnknownArtifact: the owner has no artifact with that id.
            FileLost, StoreUnavailable: it cannot be read.
        """
        return self._store.read(self._named("artifact", artifact_id, pointer))

    def require(self, file_id: str, *, pointer: str) -> None:
        """Checks that the dataset or artifact named by the request at `pointer` exists.

        Raises:
            UnknownDataset, UnknownArtifact: the owner has no such file.
        """
        self._named(kind_of(file_id), file_id, pointer)

    def card(self, file_id: str) -> DatasetCard | ArtifactCard:
        """The card of a dataset or an artifact. Raises DatasetNotFound, ArtifactNotFound, StoreUnavailable."""
        kind = kind_of(file_id)
        file = self._found(kind, file_id)
        return dataset_card(file) if kind == "dataset" else artifact_card(file)

    def dataset(self, dataset_id: str) -> DatasetPreview:
        """The card of a dataset with its first rows. Raises DatasetNotFound, StoreUnavailable."""
        file = self._found("dataset", dataset_id, preview=True)
        return DatasetPreview(**dataset_card(file).model_dump(), preview=_rows.validate_json(file.preview))

    def content(self, artifact_id: str) -> tuple[ArtifactCard, str]:
        """The card of an artifact and the SHA-256 of its bytes. Raises ArtifactNotFound, StoreUnavailable."""
        file = self._found("artifact", artifact_id)
        return artifact_card(file), file.digest

    def content_bytes(self, artifact_id: str) -> bytes:
        """The bytes of an artifact. Raises ArtifactNotFound, FileLost, StoreUnavailable."""
        return self._store.read(self._found("artifact", artifact_id))

    def datasets(self, after: str | None = None, limit: int = 20) -> DatasetPage:
        """A page of datasets, newest first, that follow `after`. Raises InvalidRequest, StoreUnavailable."""
        found = self._store.run(scripts.page("dataset", self._sees, after, limit + 1))
        return DatasetPage(data=[dataset_card(file) for file in found[:limit]], has_more=len(found) > limit)

    def artifacts(self, after: str | None = None, limit: int = 20) -> ArtifactPage:
        """A page of artifacts, newest first, that follow `after`. Raises InvalidRequest, StoreUnavailable."""
        found = self._store.run(scripts.page("artifact", self._sees, after, limit + 1))
        return ArtifactPage(data=[artifact_card(file) for file in found[:limit]], has_more=len(found) > limit)

    def put_dataset(self, data: bytes, form: TableForm, name: str) -> tuple[DatasetCard, bool]:
        """`put_upload` for bytes already in memory."""
        with self._store.temporary() as source:
            source.write(data)
            return self.put_upload(source, form, name)

    def put_upload(self, source: BinaryIO, form: TableForm, name: str) -> tuple[DatasetCard, bool]:
        """Store a dataset; returns its card and whether it is new: the same bytes keep their id and first name.

        Args:
            source: the uploaded file, from `FileStore.temporary`.
            form: its format.
            name: its name.

        Raises:
            InvalidDataset, UnsupportedMedia: it cannot be read, or is over a limit.
            BodyTooLarge, TooManyFiles, StoreUnavailable: it cannot be stored.
        """
        most, size = self._store.settings.dataset_bytes, source.seek(0, io.SEEK_END)
        if size > most:
            raise dataset_too_large(most)
        file_id = content_id("ds", self._owner.encode(), form.encode(), source)
        known = self._store.run(scripts.get("dataset", file_id, self._owner))
        if known is not None:
            return dataset_card(known), False
        with self._store.temporary() as out:
            encoded = encode_upload(source, form, out)
            blob = self._store.write_file(out)
        card = {"name": name, "bytes": size, "rows": encoded.rows, "columns": encoded.columns}
        new = NewFile(
            kind="dataset",
            id=file_id,
            blob=blob,
            digest=encoded.digest,
            size=encoded.size,
            card=_json.dump_json(card).decode(),
            preview=_rows.dump_json(encoded.preview).decode(),
        )
        file, created = self._keep(new)
        return dataset_card(file), created

    def check_room(self, size: int = 0) -> None:
        """Checks, before the work begins, that an artifact of `size` bytes can be stored.

        Raises:
            RequestTooLarge, TooManyFiles, StoreUnavailable: it cannot.
        """
        self._check_size(size)
        most = self._store.settings.max_files
        if len(self._store.run(scripts.page("artifact", self._owner, None, most))) >= most:
            raise scripts.too_many("artifact", most)

    def put_artifact(self, kind: str, name: str, data: bytes, *, model: str, job_id: str | None = None) -> ArtifactCard:
        """Store an artifact of a job, durably; in a dry run only its card is made.

        Artifact names are unique within a job: a second attempt replaces the artifact of the first.

        Args:
            kind: its kind, such as "tuned-lens".
            name: its file name.
            data: its bytes.
            model: the model that it belongs to.
            job_id: the job, if not the one for which these files were opened.

        Raises:
            RequestTooLarge, TooManyFiles, StoreUnavailable: it cannot be stored.
        """
        self._check_size(len(data))
        job = job_id or self._job
        file_id = content_id("art", self._owner.encode(), (job or secrets.token_hex(16)).encode(), name.encode())
        card = {"name": name, "bytes": len(data), "kind": kind, "model": model, "job": job}
        digest = hashlib.sha256(data).hexdigest()
        described = _json.dump_json(card).decode()
        if not self._storing:
            return artifact_card(KeptFile(file_id, datetime.now(UTC), described, "", digest, len(data)))
        blob = self._store.write(data)
        return artifact_card(
            self._keep(NewFile("artifact", file_id, blob, digest, len(data), described, replaces=True))[0]
        )

    def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset. Raises DatasetNotFound, StoreUnavailable."""
        self._delete("dataset", dataset_id)

    def delete_artifact(self, artifact_id: str) -> None:
        """Delete an artifact. Raises ArtifactNotFound, StoreUnavailable."""
        self._delete("artifact", artifact_id)

    def _delete(self, kind: FileKind, file_id: str) -> None:
        blob = self._store.run(scripts.delete(kind, file_id, self._sees))
        if blob is None:
            raise not_found(kind, file_id)
        self._store.discard(blob)

    def _check_size(self, size: int) -> None:
        most = self._store.settings.artifact_bytes
        if size > most:
            raise RequestTooLarge(
                f"The artifact has {size} bytes; this service keeps artifacts of up to {most}.",
                hint="Ask for less of it, or have EXPLAIND_ARTIFACT_BYTES raised.",
            )

    def _keep(self, new: NewFile) -> tuple[KeptFile, bool]:
        try:
            put = self._store.run(scripts.put(self._owner, new, self._store.settings.max_files))
        except TooManyFiles:  # after any other error the record may or may not refer to the blob
            self._store.discard(new.blob)
            raise
        if put.loose is not None:
            self._store.discard(put.loose)
        return put.file, put.created

    def _found(self, kind: FileKind, file_id: str, *, preview: bool = False) -> KeptFile:
        file = self._store.run(scripts.get(kind, file_id, self._sees, preview=preview))
        if file is None:
            raise not_found(kind, file_id)
        return file

    def _named(self, kind: FileKind, file_id: str, pointer: str) -> KeptFile:
        try:
            return self._found(kind, file_id)
        except NotFound as error:
            unknown = UnknownDataset if kind == "dataset" else UnknownArtifact
            raise unknown.at(pointer, error.detail, hint=error.hint) from error
