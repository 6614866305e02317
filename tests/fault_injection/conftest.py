"""The stage of the fault matrix."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fault_harness import JOBS, Server

LONG_SHARE = 0.05
LONG_S = 4.0


@pytest.fixture
def requests() -> list[bytes]:
    """Small jobs and a few long ones, the same at every run; every other one passes checkpoints."""
    chance = random.Random(1)
    waits = [LONG_S if chance.random() < LONG_SHARE else chance.uniform(0.1, 0.4) for _ in range(JOBS)]
    return [
        json.dumps({"wait_s": wait_s, "steps": round(wait_s / 0.05) if number % 2 else 0}).encode()
        for number, wait_s in enumerate(waits)
    ]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A real server that keeps what it was told, as a deployment's does."""
    server = Server(tmp_path / "redis")
    server.start()
    yield server
    server.kill()
