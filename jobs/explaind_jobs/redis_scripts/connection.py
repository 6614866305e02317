"""Connections to the Redis (or Valkey) that holds the jobs."""

import contextlib
from pathlib import Path

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.settings import JobsSettings, read_password

URL_FILE = "redis.url"  # holds the URL of an embedded stack's server, in its data directory

API_CONNECTIONS = 64
API_CROWD_TIMEOUTS = 2.5  # a call waits this many store timeouts for a free connection
WORKER_TIMEOUT_S = 5.0


def redis_from(settings: JobsSettings) -> redis.Redis:
    """Redis client of a worker: retries a few times by itself. The caller closes it.

    Raises:
        StoreUnavailable: the settings name no Redis, or its password cannot be read.
    """
    return redis.Redis.from_url(
        _url(settings),
        password=redis_password(settings),
        socket_timeout=WORKER_TIMEOUT_S,
        socket_connect_timeout=WORKER_TIMEOUT_S,
        health_check_interval=10,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), 3),
    )


def async_redis_from(settings: JobsSettings) -> redis.asyncio.Redis:
    """Redis client of the API: fails fast and never retries, lest a job be created twice. The caller closes it.

    Calls beyond the number of connections wait for a free one rather than fail.

    Raises:
        StoreUnavailable: the settings name no Redis, or its password cannot be read.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        _url(settings),
        password=redis_password(settings),
        max_connections=API_CONNECTIONS,
        timeout=API_CROWD_TIMEOUTS * settings.store_timeout_s,
        socket_timeout=settings.store_timeout_s,
        socket_connect_timeout=settings.store_timeout_s,
        health_check_interval=10,
        retry=AsyncRetry(NoBackoff(), 0),
    )
    return redis.asyncio.Redis.from_pool(pool)


def redis_password(settings: JobsSettings) -> str | None:
    """The password from `redis_password_file`, read anew; None if no file is configured.

    Raises:
        StoreUnavailable: the file cannot be read.
    """
    if settings.redis_password_file is None:
        return None
    try:
        return read_password(settings.redis_password_file)
    except ValueError as error:
        raise StoreUnavailable(
            f"The password of Redis is missing: {error}",
            hint="Mend the file that EXPLAIND_REDIS_PASSWORD_FILE names.",
        ) from error


def _url(settings: JobsSettings) -> str:
    if settings.redis_url is None:
        raise StoreUnavailable(
            "No Redis is configured.",
            hint="Set EXPLAIND_REDIS_URL (redis://, rediss:// or unix://), or run `explaind up`, which brings its own.",
        )
    return settings.redis_url


def publish_url(data_dir: Path, url: str, cleanup: contextlib.ExitStack) -> None:
    """Write the URL of a running server to the file where the commands of this machine look for it."""
    file = data_dir / URL_FILE
    file.write_text(url, encoding="utf-8")
    cleanup.callback(file.unlink, missing_ok=True)


def published_url(data_dir: Path) -> str | None:
    """The URL of the server of the embedded stack running in that directory; None if there is none."""
    try:
        return (data_dir / URL_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
