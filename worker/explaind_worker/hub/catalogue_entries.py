"""Entries of the catalogue whose model is on the hub; of any other entry these functions do and say nothing."""

from collections.abc import Callable
from pathlib import Path

from explaind_jobs.catalogue import ModelEntry
from explaind_worker.hub.fetch import HubModel, Part, fetch, folder_of, nothing, progress, unchanged


def fetch_files(entry: ModelEntry, part: Part, while_waiting: Callable[[], None] = nothing) -> None:
    """Fetches that part of the model's files, where they are not on this machine yet; may take minutes.

    Raises:
        ModelLoadFailed, HubUnavailable: as `fetch`.
    """
    if (model := _hub_model(entry)) is not None:
        fetch(model, part, name=entry.name, while_waiting=while_waiting)


def hub_folder(entry: ModelEntry) -> Path | None:
    """The folder of the model's files, once they were fetched in this process."""
    model = _hub_model(entry)
    return None if model is None else folder_of(model)


def pinned_revision(entry: ModelEntry) -> str | None:
    """The model's commit, unless files that were fetched of it have been changed since."""
    model = _hub_model(entry)
    return None if model is None or not unchanged(model) else model.revision


def fetched_bytes(entry: ModelEntry) -> tuple[int, int | None] | None:
    """Bytes that have come of the model, and of how many where that is known; None while nothing is fetched of it."""
    model = _hub_model(entry)
    return None if model is None else progress(model)


def _hub_model(entry: ModelEntry) -> HubModel | None:
    return None if entry.source is None or entry.revision is None else HubModel(entry.source, entry.revision)
