"""What is left of a caller's rate, as headers (draft-ietf-httpapi-ratelimit-headers)."""

import math

from explaind_jobs.store.records import Allowance

NAME = '"requests"'


def rate_headers(allowance: Allowance, remaining: int, reset_s: float) -> dict[str, str]:
    """The policy (`q` requests at once, all back after `w` seconds) and what is left; nothing where no rate is set."""
    if not allowance.requests_per_minute:
        return {}
    window_s = math.ceil(allowance.burst * 60 / allowance.requests_per_minute)
    return {
        "RateLimit-Policy": f"{NAME};q={allowance.burst};w={window_s}",
        "RateLimit": f"{NAME};r={remaining};t={math.ceil(reset_s)}",
    }
