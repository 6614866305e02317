"""Latency of the whole service: from the command to ready, from a POST to its response."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import load
from benchmarks.rows import Row, seconds, spread
from benchmarks.settings import Settings
from explaind import Client
from explaind_jobs.local_stack.stack import EmbeddedStack
from explaind_jobs.settings import JobsSettings

TWELVE_WORDS = "When Mary and John went to the store John gave drinks to"
RUNS = 15


@contextmanager
def stack_for_cases() -> Iterator[EmbeddedStack]:
    """A separate stack, in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="explaind-bench-") as folder:
        settings = JobsSettings(redis_url=None, data_dir=Path(folder))
        with EmbeddedStack(settings) as stack:
            yield stack


def _warm(client: Client) -> None:
    client.infer.score(model="demo", prompt="3 + 4 =", target=" 7")


def up_ready() -> Row:
    """From `explaind up` to a ready API with a live worker, and to the model's first result."""
    ready, answered = [], []
    for _ in range(5):
        began = time.perf_counter()
        with stack_for_cases() as stack, Client(stack.url) as client:
            ready.append(time.perf_counter() - began)
            _warm(client)
            answered.append(time.perf_counter() - began)
    figures = {"ready_s": spread(ready), "first_answer_s": spread(answered)}
    return Row("up_ready", "demo", ours_s=figures["ready_s"]["p50"], figures=figures)


def shap_exact_12_words() -> Row:
    """A 12-word exact SHAP, 4,096 coalitions, from the call of the SDK to its typed result."""
    with stack_for_cases() as stack, Client(stack.url) as client:
        _warm(client)

        def ask() -> None:
            shap = client.explain.shap.with_options(fresh=True)
            found = shap(model="demo", prompt=TWELVE_WORDS, target=" Mary", algorithm="exact")
            if found.evaluations != 4096:
                raise RuntimeError(f"{found.evaluations} evaluations instead of 4,096")

        ask()
        figures = spread([seconds(ask) for _ in range(RUNS)])
    return Row("shap_exact_12_words", "demo", ours_s=figures["p50"], figures=figures)


def create_to_start() -> Row:
    """From acceptance to the start of the work, on an idle service."""
    waits = []
    with stack_for_cases() as stack, Client(stack.url) as client:
        _warm(client)
        for _ in range(60):
            job = client.submit("infer/tokenize", {"model": "demo", "prompt": "3 + 4 ="}).wait()
            if job.timing is not None and job.timing.queued_s is not None:
                waits.append(job.timing.queued_s)
    figures = spread(waits)
    return Row("create_to_start", "demo", ours_s=figures["p50"], figures=figures)


def threads_beside_a_busy_process() -> Row:
    """A batch of 256 rows through the demo model beside a busy process: passive waiting against torch's own."""
    command = [sys.executable, "-m", "benchmarks.forward"]
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    passive, spinning = [], []
    with subprocess.Popen([*command, "--forever"], env=plain, stdout=subprocess.DEVNULL) as neighbour:
        try:
            for _ in range(3):
                passive.append(_forward_s(command, {**plain, "OMP_WAIT_POLICY": "PASSIVE"}))
                spinning.append(_forward_s(command, plain))
        finally:
            neighbour.kill()
    return Row(
        "threads_beside_a_busy_process",
        "demo",
        ours_s=statistics.median(passive),
        peer="torch's default",
        peer_s=statistics.median(spinning),
    )


def _forward_s(command: list[str], env: dict[str, str]) -> float:
    return float(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)


CASES: dict[str, Callable[[], Row]] = {
    "up_ready": up_ready,
    "shap_exact_12_words": shap_exact_12_words,
    "create_to_start": create_to_start,
    "threads_beside_a_busy_process": threads_beside_a_busy_process,
    **load.CASES,
}


def cases(_settings: Settings) -> dict[str, Callable[[], Row]]:
    """Every case of the area by name. Each decides how often it runs."""
    return CASES
