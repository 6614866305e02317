"""Many clients at once, each with a will of its own: they wait, look, cancel, repeat themselves, and make mistakes."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
PATIENCE_S = 120.0
ENDS = {"succeeded", "failed", "cancelled"}
WORDS = ("the", "food", "was", "great", "but", "small", "staff", "rude", "made", "Mary", "give", "John", "red", "fox")
FRESH = {"Cache-Control": "no-cache"}
TOO_LONG = "1 " * 400  # more tokens than the built-in model takes

Act = Callable[["Client"], Coroutine[Any, Any, None]]


@dataclass
class Tally:
    """What the crowd did and saw."""

    accepted: set[str] = field(default_factory=set)
    did: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Client:
    """One of the crowd."""

    def __init__(self, number: int, session: aiohttp.ClientSession, tally: Tally) -> None:
        self._chance = random.Random(number)
        self._session = session
        self._tally = tally
        self._number = number
        self._sent = 0

    async def go(self, jobs: int) -> None:
        """Acts until it has had so many jobs accepted."""
        acts, weights = zip(*ACTS, strict=True)
        while self._sent < jobs:
            (act,) = self._chance.choices(acts, weights)
            self._tally.did[act.__name__] += 1
            await act(self)

    async def look_again_and_again(self) -> None:
        """Asks how the job is until it has ended, then for its result."""
        job = await self._submit(self._request(), FRESH)
        self._check(await self._end(job), {"succeeded"})
        await self._get(f"{job['links']['result']}")

    async def wait(self) -> None:
        """Has the answer come with the POST."""
        job = await self._submit(self._request(), {**FRESH, "Prefer": "wait=30"})
        self._check(await self._end(job), {"succeeded"})

    async def cancel(self) -> None:
        """Thinks better of it."""
        job = await self._submit(self._request(), FRESH)
        async with self._session.post(job["links"]["cancel"]) as answer:
            if answer.status != 200:
                self._tally.wrong.append(f"a cancel was answered {answer.status}")
        self._check(await self._end(job), {"cancelled", "succeeded"})

    async def repeat(self) -> None:
        """Sends the same request under the same key again, before and after its end."""
        request, headers = self._request(), {**FRESH, "Idempotency-Key": f"{self._number}-{self._sent}"}
        job = await self._submit(request, headers)
        again = await self._submit(request, headers, counts=False)
        self._check(await self._end(job), {"succeeded"})
        last = await self._submit(request, headers, counts=False)
        if {job["id"], again["id"], last["id"]} != {job["id"]}:
            self._tally.wrong.append(f"one idempotency key named {job['id']}, {again['id']} and {last['id']}")

    async def ask_what_is_known(self) -> None:
        """Asks what others have asked: most often the answer is there already."""
        request = ("infer/score", {"model": "demo", "prompt": f"{self._chance.randrange(8)} + 1 =", "target": " 7"})
        job = await self._submit(request, {"Prefer": "wait=30"})
        job = await self._end(job)
        self._tally.did["was known already"] += job["cached"]
        self._check(job, {"succeeded"})

    async def ask_too_much(self) -> None:
        """Sends what only the worker can refuse."""
        job = await self._submit(("infer/tokenize", {"model": "demo", "prompt": TOO_LONG}), FRESH)
        job = await self._end(job)
        self._check(job, {"failed"})
        if job["state"] == "failed" and job["error"]["code"] != "prompt_too_long":
            self._tally.wrong.append(f"{job['id']} failed with {job['error']}")

    async def be_wrong(self) -> None:
        """Sends what the API refuses."""
        async with self._session.post("/infer/score", json={"model": "demo", "prompt": ""}) as answer:
            if answer.status != 422:
                self._tally.wrong.append(f"a wrong request was answered {answer.status}")

    def _request(self) -> tuple[str, dict[str, Any]]:
        prompt = " ".join(self._chance.choices(WORDS, k=self._chance.randint(3, 12)))
        if self._chance.random() < 0.5:
            return "infer/tokenize", {"model": "demo", "prompt": prompt}
        return "infer/score", {"model": "demo", "prompt": prompt, "target": " fox"}

    async def _submit(
        self, request: tuple[str, dict[str, Any]], headers: dict[str, str], *, counts: bool = True
    ) -> dict[str, Any]:
        path, body = request
        async with self._session.post(f"/{path}", json=body, headers=headers) as answer:
            if answer.status not in {200, 202}:
                raise AssertionError(f"POST /{path} was answered {answer.status}: {await answer.text()}")
            job = await answer.json()
        if counts:
            if job["id"] in self._tally.accepted:
                self._tally.wrong.append(f"{job['id']} was given to two")
            self._tally.accepted.add(job["id"])
            self._sent += 1
        return job

    async def _end(self, job: dict[str, Any]) -> dict[str, Any]:
        pause = FIRST_PAUSE_S
        async with asyncio.timeout(PATIENCE_S):
            while job["state"] not in ENDS:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE_S)
                job = await self._get(job["links"]["self"])
        self._tally.ended[job["state"]] += 1
        return job

    async def _get(self, path: str) -> Any:
        async with self._session.get(path) as answer:
            if answer.status != 200:
                raise AssertionError(f"GET {path} was answered {answer.status}: {await answer.text()}")
            return await answer.json()

    def _check(self, job: dict[str, Any], states: set[str]) -> None:
        if job["state"] not in states:
            self._tally.wrong.append(f"{job['id']} is {job['state']}, not one of {sorted(states)}: {job['error']}")


ACTS: list[tuple[Act, int]] = [
    (Client.look_again_and_again, 35),
    (Client.wait, 30),
    (Client.cancel, 10),
    (Client.repeat, 10),
    (Client.ask_what_is_known, 10),
    (Client.ask_too_much, 5),
    (Client.be_wrong, 5),
]


async def play(url: str, clients: int, jobs: int) -> Tally:
    """So many clients at once, until so many jobs were accepted and have ended."""
    tally = Tally()
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        crowd = [Client(number, session, tally) for number in range(clients)]
        shares = [jobs // clients + (number < jobs % clients) for number in range(clients)]
        async with asyncio.TaskGroup() as tasks:
            for client, share in zip(crowd, shares, strict=True):
                tasks.create_task(client.go(share))
    return tally
