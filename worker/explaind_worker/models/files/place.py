"""Location of a catalogue model: its files, their fingerprint, and its device."""

from pathlib import Path

import torch

from explaind_jobs.catalogue import ModelEntry
from explaind_worker.hub.catalogue_entries import hub_folder, pinned_revision
from explaind_worker.models import demo
from explaind_worker.models.files.fingerprint import fingerprint_of


def location(entry: ModelEntry) -> tuple[str, str | None]:
    """The directory of the model's files, and None; for a hub model not yet downloaded its id and pinned revision."""
    if entry.builtin:
        return str(demo.MODEL_DIR), None
    folder = entry.path or hub_folder(entry)
    return (str(entry.source), entry.revision) if folder is None else (str(folder), None)


def device_of(entry: ModelEntry) -> str:
    """The entry's device, with `auto` resolved for this machine."""
    if entry.device == "cuda":
        return "cuda:0"
    if entry.device != "auto":
        return entry.device
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def fingerprint(entry: ModelEntry) -> str | None:
    """The pinned revision of a hub model; for a directory the digest of its model files.

    Also a digest for a hub model whose files were changed after the download.
    """
    if (revision := pinned_revision(entry)) is not None:
        return revision
    folder = Path(location(entry)[0])
    return fingerprint_of(folder) if folder.is_dir() else None
