"""Opens the store of blobs that the settings name: a directory, or a bucket."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from explaind_jobs.results.blob_store import RESULTS, BlobKind, BlobStore, unavailable
from explaind_jobs.settings import JobsSettings


def open_blobs(settings: JobsSettings, place: BlobKind = RESULTS) -> BlobStore:
    """The store of these settings for blobs of one kind; nothing is touched until it is used.

    Raises:
        StoreUnavailable: the store's library refuses its options.
    """
    # Here, so that nobody imports what the store in use does not need.
    if settings.results_url is None or settings.results_url.startswith("file://"):
        from explaind_jobs.results.directory_blobs import DirectoryBlobs  # noqa: PLC0415

        return DirectoryBlobs(_folder(settings, place), place)
    from explaind_jobs.results.fsspec_blobs import BucketBlobs  # noqa: PLC0415

    with unavailable("opened"):
        below = f"/{place.below}" if place.below else ""
        url = f"{settings.results_url.rstrip('/')}{below}"
        return BucketBlobs(url, settings.results_options, place)


def scratch_folder(settings: JobsSettings, place: BlobKind = RESULTS) -> Path | None:
    """A directory on the disk that the blobs of one kind are on, made where there is none; None: they are in a bucket.

    Raises:
        OSError: it cannot be made.
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
