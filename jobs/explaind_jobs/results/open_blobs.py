"""Opens the blob store named by the settings: a directory or a bucket."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from explaind_jobs.results.blob_store import RESULTS, BlobKind, BlobStore, unavailable
from explaind_jobs.settings import JobsSettings


def open_blobs(settings: JobsSettings, place: BlobKind = RESULTS) -> BlobStore:
    """The configured store for blobs of one kind; nothing is accessed until it is used.

    Raises:
        StoreUnavailable: the store's library refuses its options.
    """
    # Imported here: the store not in use may lack its library.
    if settings.results_url is None or settings.results_url.startswith("file://"):
        from explaind_jobs.results.directory_blobs import DirectoryBlobs  # noqa: PLC0415

        return DirectoryBlobs(_folder(settings, place), place)
    from explaind_jobs.results.fsspec_blobs import BucketBlobs  # noqa: PLC0415

    with unavailable("opened"):
        below = f"/{place.below}" if place.below else ""
        url = f"{settings.results_url.rstrip('/')}{below}"
        return BucketBlobs(url, settings.results_options, place)


def scratch_folder(settings: JobsSettings, place: BlobKind = RESULTS) -> Path | None:
    """A temporary directory on the disk of the blobs of one kind, created if missing; None if they are in a bucket.

    Raises:
        OSError: it cannot be created.
    """
    if settings.results_url is not None and not settings.results_url.startswith("file://"):
        return None
    folder = _folder(settings, place).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _folder(settings: JobsSettings, place: BlobKind) -> Path:
    if settings.results_url is None:
        return settings.data_dir / place.folder
    return Path(url2pathname(urlsplit(settings.results_url).path)) / place.below
