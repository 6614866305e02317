"""What the embedded stack looks at until it is ready: its API, its worker, and whether Redis does its work."""

import httpx

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.redis_scripts.refusals import SILENT, refusal_of
from explaind_jobs.store.job_store import JobStore


def answers(http: httpx.Client, url: str) -> bool:
    """Whether something at `url` answers with success."""
    try:
        return http.get(url, timeout=2.0).is_success
    except httpx.TransportError:
        return False


def has_worker(store: JobStore) -> bool:
    """Whether a worker beats, as far as Redis tells."""
    try:
        return bool(store.workers())
    except StoreUnavailable:
        return False


def refused_because(store: JobStore) -> str | None:
    """Why a Redis that can be reached does not do its work; None where it does, or cannot be reached."""
    try:
        store.check_writable()
    except StoreUnavailable as error:
        return None if refusal_of(error) is SILENT else str(error)
    return None
