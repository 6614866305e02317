"""Where a model of the catalogue is: its files, their fingerprint, and the device it is loaded on."""

from pathlib import Path

import torch

from explaind_jobs.catalogue import ModelEntry
from explaind_worker.hub.catalogue_entries import hub_folder, pinned_revision
from explaind_worker.models import demo
from explaind_worker.models.files.fingerprint import fingerprint_of


def location(entry: ModelEntry) -> tuple[str, str | None]:
    """The folder with the model's files, and None; of a hub model before it is fetched its id and pinned revision."""
    if entry.builtin:
        return str(demo.MODEL_DIR), None
    folder = entry.path or hub_folder(entry)
    return (str(entry.source), entry.revision) if folder is None else (str(folder), None)


def device_of(entry: ModelEntry) -> str:
    """The device that `auto` means here."""
    if entry.device == "cuda":
        return "cuda:0"
    if entry.device != "auto":
        return entry.device
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def fingerprint(entry: ModelEntry) -> str | None:
    """The pinned revision of a hub model; for a directory a digest of all of its files that are read.

    Of a hub model whose files were changed since they were fetched it is a digest, too.
    """
    if (revision := pinned_revision(entry)) is not None:
        return revision
    folder = Path(location(entry)[0])
    return fingerprint_of(folder) if folder.is_dir() else None
