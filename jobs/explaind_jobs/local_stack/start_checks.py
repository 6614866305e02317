"""Readiness checks of the embedded stack: API, worker and Redis."""

import httpx

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.redis_scripts.refusals import SILENT, refusal_of
from explaind_jobs.store.job_store import JobStore


def answers(http: httpx.Client, url: str) -> bool:
    """Whether `url` answers with a success status."""
    try:
        return http.get(url, timeout=2.0).is_success
    except httpx.TransportError:
        return False


def has_worker(store: JobStore) -> bool:
    """Whether a worker sends heartbeats, according to Redis."""
    try:
        return bool(store.workers())
    except StoreUnavailable:
        return False


def refused_because(store: JobStore) -> str | None:
    """Why a reachable Redis refuses its work; None if it does not, or cannot be reached."""
    try:
        store.check_writable()
    except StoreUnavailable as error:
        return None if refusal_of(error) is SILENT else str(error)
    return None
