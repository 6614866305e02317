"""The generator of the sync client: its rules, and that they leave nothing asynchronous behind."""

import pytest

from tools import ROOT
from tools.sync_client import ASYNC, PHRASES, SYNC, sync_source

PATH = f"{SYNC}/example.py"

ASYNC_SOURCE = '''"""An example for the async client."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import httpx

from explaind._async.jobs import AsyncJobs


class AsyncExample:
    """Reads `await client.jobs.list()`."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.jobs: AsyncJobs | None = None

    async def __aenter__(self) -> "AsyncExample":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.http.aclose()

    async def numbers(self) -> AsyncGenerator[dict[str, int], None]:
        async with aclosing(self.numbers()) as numbers:
            async for number in numbers:
                yield {"got": (await anext(self.pairs()))["a"], **number}

    async def pairs(self) -> AsyncIterator[dict[str, int]]:
        yield {"a": 1}
'''

SYNC_SOURCE = '''# Generated from clients/python/explaind/_async/example.py by `make generate`.
"""An example for the sync client."""

from collections.abc import Generator, Iterator
from contextlib import closing

import httpx

from explaind._sync.jobs import Jobs


class Example:
    """Reads `client.jobs.list()`."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.jobs: Jobs | None = None

    def __enter__(self) -> "Example":
        return self

    def __exit__(self, *exc: object) -> None:
        self.http.close()

    def numbers(self) -> Generator[dict[str, int], None, None]:
        with closing(self.numbers()) as numbers:
            for number in numbers:
                yield {"got": (next(self.pairs()))["a"], **number}

    def pairs(self) -> Iterator[dict[str, int]]:
        yield {"a": 1}
'''


def test_an_async_module_becomes_a_sync_one() -> None:
    assert sync_source(ASYNC_SOURCE, PATH) == SYNC_SOURCE


@pytest.mark.parametrize(
    "line", ["import asyncio", "from x import aclosing_all", "# awaited later", "x = aiter(y)", "# noqa: ASYNC109"]
)
def test_what_no_rule_knows_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"_sync/example\.py:2: no rule .* sync"):
        sync_source(f'"""An example."""\n{line}\n', PATH)


def test_what_is_no_python_is_refused() -> None:
    with pytest.raises(ValueError, match="ruff"):
        sync_source("def (:\n", PATH)


@pytest.mark.parametrize("phrase", PHRASES)
def test_every_phrase_occurs_in_the_async_client(phrase: str) -> None:
    assert any(phrase in path.read_text(encoding="utf-8") for path in (ROOT / ASYNC).glob("*.py"))
