"""Request metrics (count, duration) and the optional access log line."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from starlette.types import Scope

from explaind_service.metrics.exposition import CALLER_LEFT, ServiceMetrics

MAX_PATH = 200

log = logging.getLogger(__name__)


@dataclass
class Seen:
    """A request in progress; `status` is set once its response has begun."""

    status: int | None = None


class RequestWatch:
    """Records the requests of one application."""

    def __init__(self, metrics: ServiceMetrics, *, access_log: bool = False) -> None:
        self._metrics = metrics
        self._access_log = access_log

    @contextmanager
    def watch(self, scope: Scope) -> Iterator[Seen]:
        """Context around the handling of one request, up to the end of its response."""
        seen, began = Seen(), time.perf_counter()
        self._metrics.begun()
        try:
            yield seen
        finally:
            seconds = time.perf_counter() - began
            self._metrics.ended(scope["method"], _template(scope), seen.status, seconds)
            if self._access_log:
                _log_access(scope, seen.status or CALLER_LEFT, seconds)


def _template(scope: Scope) -> str | None:
    return getattr(scope.get("route"), "path", None)


def _log_access(scope: Scope, status: int, seconds: float) -> None:
    # Never the query, and nothing that could break the line: the path percent-encoded.
    method, path = scope["method"], quote(scope["path"][:MAX_PATH])
    facts = {"http_method": method, "path": path, "status": status, "seconds": round(seconds, 4)}
    log.info("%s %s %d in %.4f s", method, path, status, seconds, extra=facts)
