"""The real API process, killed while it answers: what a caller saw accepted ends, and what is repeated runs once."""

import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from explaind.contract.registry import all_methods
from explaind_jobs.local_stack.exposure import free_port
from tests.support.fault_harness import JOBS, Server, Stage
from tests.support.fault_ledger import Ledger

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

SENDERS = 8
KILLS = 3


class Sender:
    """Sends each request until it is accepted, always under the same idempotency key, as an SDK does."""

    def __init__(self, url: str, body: Mapping[str, Any]) -> None:
        self._url = url
        self._body = body
        self.refusals = 0
        self.given_up_at = time.monotonic() + 120

    def send(self, number: int) -> str:
        """The id of the job that the answer names."""
        with httpx.Client(trust_env=False, timeout=10) as http:
            body, headers = {**self._body, "seed": number}, {"Idempotency-Key": f"request-{number}"}
            while True:
                try:
                    answer = http.post(self._url, json=body, headers=headers)
                    if answer.status_code in {200, 202}:
                        return str(answer.json()["id"])
                    assert answer.status_code == 503, answer.text
                except httpx.TransportError:
                    assert time.monotonic() < self.given_up_at, "the API is not back"
                self.refusals += 1
                time.sleep(0.2)


def test_the_api_is_killed_while_it_answers(server: Server, tmp_path: Path) -> None:
    port = free_port("127.0.0.1", 0)
    method = all_methods()["explain/shap"]
    with Stage(tmp_path, redis_url=server.url) as stage:
        command = [sys.executable, "-m", "explaind_service"]
        api = stage.add(lambda: stage.spawn(command, EXPLAIND_HOST="127.0.0.1", EXPLAIND_PORT=str(port)))
        ledger, sender = Ledger(stage), Sender(f"http://127.0.0.1:{port}/{method.path}", method.example)
        with ThreadPoolExecutor(SENDERS) as pool:
            answers = [pool.submit(sender.send, number) for number in range(JOBS)]
            for kill in range(1, KILLS + 1):
                share = kill * JOBS // (KILLS + 1)
                stage.until(lambda share=share: sum(map(Future.done, answers)) >= share, "some requests are answered")
                api.kill()
            stage.until(lambda: all(map(Future.done, answers)), "every request is answered")
        stage.feed.accepted += [answer.result() for answer in answers]
        stage.feed.refused = sender.refusals
        api.restarting = False
        ledger.close(f"the API kill -9 while it answers, {KILLS} times")
        assert len(api.exits) == KILLS
        assert len(set(stage.feed.accepted[:JOBS])) == JOBS, "each request is one job"
