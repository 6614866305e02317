"""Celery consumer of permits that survives error replies of Redis as well as lost connections."""

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
    """Retries every two seconds, for as long as Redis is down or refuses."""

    _failed_at = float("-inf")

    def ensure_connected(self, conn: Any) -> Any:
        """The connection, once Redis accepts it."""
        conn.ensure_connection(
            lambda error, _: self._tell(error), interval_start=TRY_EVERY_S, interval_step=0, callback=maybe_shutdown
        )
        self.first_connection_attempt = False
        return conn

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Start again after a pause."""
        self._pause(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Drop the connection and start again after a pause; running jobs continue."""
        super().on_connection_error_after_connected(exc)
        self._pause(exc)

    def _pause(self, exc: Exception) -> None:
        self._tell(exc)
        if isinstance(exc, redis.ResponseError):  # Redis is up, and would refuse again at once
            time.sleep(TRY_EVERY_S)

    def _tell(self, exc: Exception) -> None:
        now = time.monotonic()
        if now - self._failed_at > ANEW_S:
            refused = code_of(exc) if isinstance(exc, redis.RedisError) else None
            log.warning("no permits from Redis (%s); trying again until there are", refused or type(exc).__name__)
        self._failed_at = now
