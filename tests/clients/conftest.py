"""A scripted service and a clock that needs no time."""

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from rich.console import Console

from explaind import AsyncClient, Client
from explaind.cli.views.job import show_job
from explaind.contract.blocks.attribution_result import Attribution, Replacement, ScoredText, ScoredToken
from explaind.contract.blocks.units import Unit
from explaind.contract.job import Job
from explaind.views.report import job_html

JOB_ID = "job_01hzy3v7k2m4n6p8q0r2s4t6v8"

Reply = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


@dataclass
class FakeClock:
    """Seconds that pass when somebody sleeps."""

    now: float = 100.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


class Script:
    """A service that answers with the next reply each time, and remembers what it was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert self.replies, f"unexpected {request.method} {request.url}"
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, httpx.Response) else reply(request)

    def says(self, *replies: Reply) -> "Script":
        self.replies += replies
        return self

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def client(script: Script, clock: FakeClock) -> Iterator[Client]:
    with Client("http://explaind.test", transport=httpx.MockTransport(script)) as made:
        made.driver.policy = replace(made.driver.policy, clock=clock, jitter=lambda: 1.0)
        made.driver.sleep = clock.sleep
        yield made


@pytest.fixture
async def async_client(script: Script, clock: FakeClock) -> Any:
    async with AsyncClient("http://explaind.test", transport=httpx.MockTransport(script)) as made:
        made.driver.policy = replace(made.driver.policy, clock=clock, jitter=lambda: 1.0)
        made.driver.sleep = clock.asleep
        yield made


@pytest.fixture
def job_json() -> Callable[..., dict[str, Any]]:
    """Makes a job as the service writes it."""

    def make(state: str = "succeeded", **fields: Any) -> dict[str, Any]:
        links = {name: f"/jobs/{JOB_ID}/{name}" for name in ("result", "report", "cancel")}
        return {
            "id": JOB_ID,
            "method": "explain/shap",
            "model": "demo",
            "state": state,
            "created_at": "2026-11-20T18:00:00Z",
            "links": {"self": f"/jobs/{JOB_ID}", **links},
            **fields,
        }

    return make


@pytest.fixture
def says_job(job_json: Callable[..., dict[str, Any]]) -> Callable[..., httpx.Response]:
    """Makes a response that holds a job."""

    def make(state: str = "succeeded", *, status: int = 200, **fields: Any) -> httpx.Response:
        return httpx.Response(status, json=job_json(state, **fields))

    return make


@pytest.fixture
def attribution() -> Callable[..., Attribution]:
    """Makes an attribution of a prompt by its words; `worth` are the values of some of them."""

    def make(prompt: str = "great food, great place", **fields: Any) -> Attribution:
        worth = fields.pop("worth", {"great": 1.5, "food": -0.5})
        units = fields.pop(
            "units",
            [Unit(text=m[0], start=m.start(), end=m.end()) for m in re.finditer(r"\w+|[^\w\s]", prompt)],
        )
        values = [worth.get(unit.text, 0.01) for unit in units]
        made = {
            "prompt": prompt,
            "units": units,
            "values": values,
            "values_by_target": [[value] for value in values],
            "base_value": -3.0,
            "full_value": -3.0 + sum(values),
            "completeness_gap": 0.0,
            "score": "logprob",
            "target": ScoredText(text=" yes", tokens=[ScoredToken(text=" yes", id=7, logprob=-0.25)]),
            "baseline": Replacement(choice="mask", text="<mask>", token_ids=[3]),
            "algorithm": "exact",
            "evaluations": 32,
        }
        return Attribution(**{**made, **fields})

    return make


@pytest.fixture
def attribution_json(attribution: Callable[..., Attribution]) -> dict[str, Any]:
    return json.loads(attribution().model_dump_json())


@pytest.fixture
def page(job_json):
    """`page(result, method)`: the report of a job that came to that result."""

    def make(result: Any, method: str) -> str:
        return job_html(Job[Any].model_validate(job_json(result=result.model_dump(mode="json"), method=method)))

    return make


@pytest.fixture
def terminal(job_json):
    """`terminal(result, method)`: what the command line shows of it, without colour."""

    def write(result: Any, method: str) -> str:
        to = Console(file=io.StringIO(), width=110, color_system=None, _environ={})
        show_job(to, Job[Any].model_validate(job_json(result=result.model_dump(mode="json"), method=method)))
        assert isinstance(to.file, io.StringIO)
        return to.file.getvalue()

    return write
