"""Celery's consumer of permits, which outlasts a Redis that refuses as it does one that is away."""

import logging
import time
from typing import Any

import redis
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from explaind_jobs.redis_scripts.refusals import code_of

TRY_EVERY_S = 2.0
ANEW_S = 30.0

log = logging.getLogger(__name__)


class PermitConsumer(Consumer):
    """Tries again every two seconds, however long Redis has been away or has refused."""

    _failed_at = float("-inf")

    def ensure_connected(self, conn: Any) -> Any:
        """The connection, once Redis takes it."""
        conn.ensure_connection(
            lambda error, _: self._tell(error), interval_start=TRY_EVERY_S, interval_step=0, callback=maybe_shutdown
        )
        self.first_connection_attempt = False
        return conn

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Begin anew, in a moment."""
        self._pause(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Let go of the connection and begin anew, in a moment; running jobs go on."""
        super().on_connection_error_after_connected(exc)
        self._pause(exc)

    def _pause(self, exc: Exception) -> None:
        self._tell(exc)
        if isinstance(exc, redis.ResponseError):  # it is there, and would refuse the next at once
            time.sleep(TRY_EVERY_S)

    def _tell(self, exc: Exception) -> None:
        now = time.monotonic()
        if now - self._failed_at > ANEW_S:
            refused = code_of(exc) if isinstance(exc, redis.RedisError) else None
            log.warning("no permits from Redis (%s); trying again until there are", refused or type(exc).__name__)
        self._failed_at = now
