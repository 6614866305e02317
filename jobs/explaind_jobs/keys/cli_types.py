"""Click parameter types for durations and rates: 90d, 600/min."""

import re
from typing import Any

import click

SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
PER_MINUTE = {"": 1, "/min": 1, "/m": 1, "/s": 60}
LONGEST_S = 100 * 365 * SECONDS["d"]
MAX_PER_MINUTE = 1_000_000
LEAST_BURST = 10


class Duration(click.ParamType):
    """A duration: a number and a unit, converted to seconds."""

    name = "90d|12h|4w|30m"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The seconds."""
        if not isinstance(value, str):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,8})([mhdw])", value, re.ASCII)
        seconds = int(found[1]) * SECONDS[found[2]] if found is not None else 0
        if not 0 < seconds <= LONGEST_S:
            self.fail(f"{value!r} is no duration: write a number and m, h, d or w, as in 90d.", param, ctx)
        return seconds


class Rate(click.ParamType):
    """A rate: requests per period, converted to requests per minute."""

    name = "600/min|10/s"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The requests a minute."""
        if not isinstance(value, str):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,8})(|/min|/m|/s)", value, re.ASCII)
        per_minute = int(found[1]) * PER_MINUTE[found[2]] if found is not None else 0
        if not 0 < per_minute <= MAX_PER_MINUTE:
            self.fail(f"{value!r} is no rate: write a number and /min or /s, as in 600/min.", param, ctx)
        return per_minute


def usual_burst(per_minute: int) -> int:
    """Default burst of a rate: the requests of ten seconds, at least ten and at most those of a minute."""
    return min(per_minute, max(LEAST_BURST, per_minute // 6))
