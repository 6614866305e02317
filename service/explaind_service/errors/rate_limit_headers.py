"""RateLimit headers (draft-ietf-httpapi-ratelimit-headers)."""

import math

from starlette.types import Scope

from explaind_jobs.store.records import Allowance, Rate
from explaind_service.auth.caller import caller_of

NAME = '"requests"'


def rate_headers(allowance: Allowance, remaining: int, reset_s: float) -> dict[str, str]:
    """The policy (`q` requests at once, all restored after `w` seconds) and what is left; empty if no rate is set."""
    if not allowance.requests_per_minute:
        return {}
    window_s = math.ceil(allowance.burst * 60 / allowance.requests_per_minute)
    return {
        "RateLimit-Policy": f"{NAME};q={allowance.burst};w={window_s}",
        "RateLimit": f"{NAME};r={remaining};t={math.ceil(reset_s)}",
    }


def spent_headers(scope: Scope) -> dict[str, str]:
    """What is left after this request, which may have been refused; empty if it was not counted."""
    caller, rate = caller_of(scope), scope.get("state", {}).get("rate")
    if caller is None or not isinstance(rate, Rate):
        return {}
    return rate_headers(caller.allowance, rate.remaining, rate.reset_s)
