"""Rate limit of an API key: taken by a request before any of its body is read."""

from typing import Any

from explaind.contract.errors import RateLimited
from explaind_jobs.redis_scripts.script import ScriptCall, text
from explaind_jobs.store.records import Allowance, Rate


def take(key: str, allowance: Allowance) -> ScriptCall[Rate]:
    """Take one request from the key's rate limit, which must be set; returns what is left.

    Raises:
        RateLimited: nothing is left.
    """

    def parse(reply: Any) -> Rate:
        taken, left, reset_ms = (text(word) for word in reply)
        rate = Rate(allowance.burst, int(left), int(reset_ms) / 1000)
        if taken != "1":
            raise RateLimited(
                f"This key may send {allowance.requests_per_minute} requests a minute, "
                f"{allowance.burst} of them at once.",
                hint="Wait as Retry-After says, then send it again.",
                retry_after=rate.reset_s,
            )
        return rate

    return ScriptCall("rate", [key, allowance.requests_per_minute, allowance.burst, 1], parse)


def give_back(key: str, allowance: Allowance) -> ScriptCall[None]:
    """Give a request back to the rate limit."""
    return ScriptCall("rate", [key, allowance.requests_per_minute, allowance.burst, -1], lambda reply: None)
