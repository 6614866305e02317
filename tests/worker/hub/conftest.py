"""A hub on loopback, and a worker's environment that points at it and at a cache of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from explaind_worker.hub import fetch as fetching
from tests.support.hub import StandInHub


def point_at(hub: StandInHub, cache: Path, patch: pytest.MonkeyPatch) -> None:
    """What a worker's environment says of the hub; the processes that fetch read it."""
    patch.setenv("HF_ENDPOINT", hub.url)
    patch.setenv("HF_HOME", str(cache))
    patch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "HF_TOKEN_PATH"):
        patch.delenv(name, raising=False)
    patch.setattr(fetching, "_FETCHED", {})


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """An empty hub and an empty cache."""
    with StandInHub() as server:
        point_at(server, tmp_path / "hf", monkeypatch)
        yield server
