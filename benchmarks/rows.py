"""Measured rows: one JSON object per case."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One case, compared with its peer or alone. Times are in seconds; `ratio` is peer over ours: larger is better.

    Tokens are those through the blocks, counted alike on both sides. `peak_fraction` is the share of the machine's
    measured fp32 matrix peak that ours reached. `peer_share` is the part of the peer's work that was measured, if not
    the whole: its time and tokens are then scaled by it. `max_abs_diff` is the largest difference of the two answers to
    the same question.
    """

    case: str
    model: str
    ours_s: float | None = None
    peer: str | None = None
    peer_s: float | None = None
    max_abs_diff: float | None = None
    tokens_evaluated: int | None = None
    peer_tokens_evaluated: int | None = None
    peak_fraction: float | None = None
    peer_share: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Speed-up of ours over the peer."""
        return round(self.peer_s / self.ours_s, 2) if self.ours_s and self.peer_s else None

    def as_json(self) -> dict[str, Any]:
        """The row with its ratio, without missing values."""
        row = {**asdict(self), "ratio": self.ratio}
        return {name: value for name, value in row.items() if value not in (None, {})}


def seconds(call: Callable[[], object]) -> float:
    """Duration of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes, in seconds."""
    return {
        "p50": round(statistics.median(values), 5),
        "min": round(min(values), 5),
        "max": round(max(values), 5),
        "runs": len(values),
    }
