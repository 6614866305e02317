"""What a measurement says: one JSON row a case."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One case beside its peer, or alone. Times are seconds; `ratio` is peer over ours, so more is better for us."""

    case: str
    model: str
    ours_s: float | None = None
    peer: str | None = None
    peer_s: float | None = None
    max_abs_diff: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The row with its ratio, without what was not measured."""
        row = asdict(self)
        if self.ours_s and self.peer_s:
            row["ratio"] = round(self.peer_s / self.ours_s, 2)
        return {name: value for name, value in row.items() if value not in (None, {})}


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
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
