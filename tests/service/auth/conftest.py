"""Keys of every kind, and a service that asks for them."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import redis

from explaind_jobs.keys import scripts
from explaind_jobs.keys.create import IssuedKey, issue_key
from explaind_jobs.keys.pepper import load_pepper
from explaind_jobs.keys.records import Scope
from explaind_jobs.store.job_store import JobStore
from explaind_service.auth import key_verifier
from explaind_service.settings import ServiceSettings

Issue = Callable[..., IssuedKey]


@pytest.fixture
def store(valkey: redis.Redis, settings: ServiceSettings) -> JobStore:
    return JobStore(valkey, settings)


@pytest.fixture
def issue(store: JobStore, settings: ServiceSettings) -> Issue:
    """Makes a key with these scopes."""

    def make(*scopes: str, **fields: Any) -> IssuedKey:
        held = frozenset(Scope(scope) for scope in scopes or ("read", "write"))
        return issue_key(store, load_pepper(settings), **{"name": "test", "scopes": held, **fields})

    return make


@pytest.fixture
def revoke(store: JobStore) -> Callable[[IssuedKey], None]:
    def end(issued: IssuedKey) -> None:
        assert store.run(scripts.revoke(issued.record.id)) == "revoked"

    return end


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key ring that remembers nothing, so that no test waits for a second."""
    monkeypatch.setattr(key_verifier, "REMEMBERED_S", 0.0)


@pytest.fixture
def holder_of(client: httpx.AsyncClient, forgetful: None) -> Callable[[IssuedKey], Any]:
    """Sends requests with a key."""

    def with_key(issued: IssuedKey) -> Callable[..., Any]:
        async def send(method: str, path: str, **options: Any) -> httpx.Response:
            headers = {"Authorization": f"Bearer {issued.key}", **options.pop("headers", {})}
            return await client.request(method, path, headers=headers, **options)

        return send

    return with_key
