"""What processes take up while they work: memory, file descriptors and threads, seen once a second."""

import statistics
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

import psutil

EVERY_S = 1.0
MB = 1_000_000


@dataclass(frozen=True)
class Vitals:
    """One process at one time."""

    seconds: float
    rss_mb: float
    fds: int
    threads: int


class Watch:
    """Looks at some processes until it is left."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch")
        self.seen: dict[str, list[Vitals]] = {name: [] for name in pids}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def quarter(self, name: str, number: int, what: str) -> float:
        """The median of what was seen of a process in that quarter of the time, 1 to 4."""
        seen = self.seen[name]
        part = seen[len(seen) * (number - 1) // 4 : len(seen) * number // 4]
        return statistics.median(getattr(each, what) for each in part)

    def curves(self, points: int) -> dict[str, list[dict[str, float]]]:
        """So many of the points of each process, at even distances, the first and the last among them."""
        found = {}
        for name, seen in self.seen.items():
            steps = range(min(points, len(seen)))
            found[name] = [asdict(seen[round(step * (len(seen) - 1) / max(1, len(steps) - 1))]) for step in steps]
        return found

    def _look(self) -> None:
        began = time.monotonic()
        while not self._stopped.wait(EVERY_S):
            for name, process in self._processes.items():
                with process.oneshot():
                    vitals = Vitals(
                        seconds=round(time.monotonic() - began, 1),
                        rss_mb=round(process.memory_info().rss / MB, 1),
                        fds=process.num_fds(),
                        threads=process.num_threads(),
                    )
                self.seen[name].append(vitals)
