"""Hub functions for catalogue entries; for entries that are not on the hub they do nothing."""

from collections.abc import Callable
from pathlib import Path

from explaind_jobs.catalogue import ModelEntry
from explaind_worker.hub.fetch import HubModel, Part, fetch, folder_of, nothing, progress, unchanged


def fetch_files(entry: ModelEntry, part: Part, while_waiting: Callable[[], None] = nothing) -> None:
    """Downloads that part of the model's files unless they are on this machine; may take minutes.

    Raises:
        ModelLoadFailed, HubUnavailable: as `fetch`.
    """
    if (model := _hub_model(entry)) is not None:
        fetch(model, part, name=entry.name, while_waiting=while_waiting)


def hub_folder(entry: ModelEntry) -> Path | None:
    """The directory of the model's files, once downloaded or verified by this process."""
    model = _hub_model(entry)
    return None if model is None else folder_of(model)


def pinned_revision(entry: ModelEntry) -> str | None:
    """The model's commit, unless its downloaded files have been changed since."""
    model = _hub_model(entry)
    return None if model is None or not unchanged(model) else model.revision


def fetched_bytes(entry: ModelEntry) -> tuple[int, int | None] | None:
    """Bytes downloaded, and the total if known; None while nothing is being downloaded."""
    model = _hub_model(entry)
    return None if model is None else progress(model)


def _hub_model(entry: ModelEntry) -> HubModel | None:
    return None if entry.source is None or entry.revision is None else HubModel(entry.source, entry.revision)
