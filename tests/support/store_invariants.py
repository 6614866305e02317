"""Whether the store is of one mind: every job's record against every queue, set and lease that names it."""

import json
import math
from collections import defaultdict
from typing import Any

import redis

WAITING = "queued"
ACTIVE = {"running", "cancelling"}
ENDED = {"succeeded", "failed", "cancelled", "expired"}
# What exists only as long as a job waits or runs.
PLACES = ("queue:", "line:", "lane:", "lanes:", "keys:", "suspects:", "running:", "leases")


def inconsistencies(client: redis.Redis, prefix: str = "explaind:") -> list[str]:
    """What is wrong, in sentences; nothing when all is well. Nobody may change the store meanwhile."""
    store = _Store(client, prefix)
    return [*store.misplaced(), *store.mistold(), *store.left_behind(), *store.miscounted()]


def places_in_use(client: redis.Redis, prefix: str = "explaind:") -> list[str]:
    """The keys that name waiting or running jobs: none when nothing is to be done."""
    return sorted(name for name in _Store(client, prefix).names if name.startswith(PLACES))


def job_records(client: redis.Redis, prefix: str = "explaind:") -> dict[str, dict[str, str]]:
    """Every job's record, by id."""
    return _Store(client, prefix).jobs


class _Store:
    """All keys under a prefix, read once."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self.names = {key.decode().removeprefix(prefix) for key in client.scan_iter(f"{prefix}*", count=1000)}
        self.jobs = {
            name.removeprefix("job:"): {field.decode(): value.decode() for field, value in self._hash(name).items()}
            for name in self.names
            if name.startswith("job:")
        }

    def misplaced(self) -> list[str]:
        """Jobs that are where they should not be, or not where they should."""
        expected, found = self._expected_places(), {name: self._read(name) for name in self._places()}
        return [
            f"{name} holds {found.get(name)}, and should hold {expected.get(name)}"
            for name in sorted(expected.keys() | found.keys())
            if expected.get(name) != found.get(name)
        ]

    def mistold(self) -> list[str]:
        """Jobs whose events or lifetimes do not fit their state."""
        wrong = []
        for job_id, job in self.jobs.items():
            state, ends = job.get("state"), self._ends(job_id)
            if state not in {WAITING, *ACTIVE, *ENDED}:
                wrong.append(f"{job_id} is {state}")
            elif state in ENDED and ends != [state] and self._keeps_events(job_id):
                wrong.append(f"{job_id} is {state}, and its events tell of the ends {ends}")
            elif state not in ENDED and ends:
                wrong.append(f"{job_id} is {state}, and its events tell of an end already")
            if (state in ENDED) != (self._client.pttl(f"{self._prefix}job:{job_id}") != -1):
                wrong.append(f"{job_id} is {state}, and its record {'stays for ever' if state in ENDED else 'expires'}")
            if state in ENDED and "request" in job:
                wrong.append(f"{job_id} is {state}, and its request is still there")
            if int(job.get("losses", 0)) < 0 or int(job.get("attempt", 0)) < 0:
                wrong.append(f"{job_id} counts {job.get('attempt')} attempts and {job.get('losses')} losses")
        return wrong

    def left_behind(self) -> list[str]:
        """What belongs to a job that there is no record of, and would stay for ever."""
        wrong = []
        for name in self.names:
            family, _, job_id = name.partition(":")
            orphan = family in {"result", "origin"} or (family == "events" and job_id not in self.jobs)
            if orphan and self._client.ttl(self._prefix + name) == -1:
                wrong.append(f"{name} is of no job, and does not expire")
        return wrong

    def miscounted(self) -> list[str]:
        """Turns that are no numbers: who has one is never, or always, next. Sums that are not those of their parts."""
        turns = {key.decode(): float(value) for key, value in self._hash("turns").items()}
        wrong = [f"the turn of {key!r} is {turn}" for key, turn in turns.items() if not math.isfinite(turn)]
        for name, expected in {"waiting_bytes": self._waiting_bytes(), "results": self._shared_results()}.items():
            found = {key.decode(): int(value) for key, value in self._hash(name).items()}
            if found != expected:
                wrong.append(f"{name} counts {found}, and should count {expected}")
        return wrong

    def _waiting_bytes(self) -> dict[str, int]:
        """The bytes of waiting requests, by API key and in all."""
        bytes_by: dict[str, int] = defaultdict(int)
        for job in self.jobs.values():
            if job["state"] == WAITING:
                for whose in ("*", job["key"]):
                    bytes_by[whose] += len(job["request"].encode()) + len(job["metadata"].encode())
        return dict(bytes_by)

    def _shared_results(self) -> dict[str, int]:
        """How many jobs have each of the small results."""
        shared = [job["result_digest"][:32] for job in self.jobs.values() if job.get("result_at") == "inline"]
        return {digest: shared.count(digest) for digest in shared}

    def _expected_places(self) -> dict[str, Any]:
        expected: dict[str, Any] = defaultdict(set)
        for job_id, job in self.jobs.items():
            key, model, state = job["key"], job["model"], job["state"]
            queue = job.get("queue")
            if state in ACTIVE:
                expected["leases"].add(job_id)
                expected[f"running:{key}"].add(job_id)
            elif state == WAITING:
                expected[f"keys:{queue}"].add(key)
                expected[f"queue:{queue}"].add((job_id, float(job["place"])))
                expected[f"line:{queue}:{key}"].add((job_id, float(job["ahead"])))
                if int(job["losses"]):
                    expected[f"suspects:{queue}"].add(job_id)
                else:
                    expected[f"lanes:{queue}:{key}"].add(model)
                    expected[f"lane:{queue}:{key}:{model}"].add((job_id, float(job["ahead"])))
        return dict(expected)

    def _places(self) -> list[str]:
        return [name for name in self.names if name.startswith(PLACES)]

    def _read(self, name: str) -> Any:
        key = self._prefix + name
        if name.startswith(("lanes:", "keys:", "running:")):
            return {member.decode() for member in self._client.smembers(key)}  # type: ignore[union-attr]
        members = self._client.zrange(key, 0, -1, withscores=True)
        if name.startswith(("suspects:", "leases")):  # their scores are times that no record repeats
            return {member.decode() for member, _ in members}  # type: ignore[union-attr]
        return {(member.decode(), score) for member, score in members}  # type: ignore[union-attr]

    def _keeps_events(self, job_id: str) -> bool:
        """Whether its events are still there: they go before the job, perhaps since the names were listed."""
        return f"events:{job_id}" in self.names and bool(self._client.exists(f"{self._prefix}events:{job_id}"))

    def _ends(self, job_id: str) -> list[str]:
        events = self._client.xrange(f"{self._prefix}events:{job_id}")
        return [json.loads(entry[b"data"])["state"] for _, entry in events if entry[b"event"] == b"end"]  # type: ignore[union-attr]

    def _hash(self, name: str) -> dict[bytes, bytes]:
        return self._client.hgetall(self._prefix + name)  # type: ignore[return-value]
