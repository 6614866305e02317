"""Permits: Celery wake-up messages. They carry no job and no data; a worker that gets one claims jobs from Redis."""

import logging
import queue
import ssl
import threading
import time
from typing import cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

from celery import Celery

from explaind_jobs.redis_scripts.connection import redis_from, redis_password
from explaind_jobs.settings import JobsSettings

PERMIT_TASK = "explaind.permit"
MAX_BACKLOG = 256
# A woken slot goes on claiming until nothing waits: more permits than slots wake none.
ENOUGH = 256
ENOUGH_FOR_S = 0.05
# With this few waiting to be sent, permits already sent are not counted: that would only delay the first job.
FEW = 8

log = logging.getLogger(__name__)


def queue_key(queue_name: str) -> str:
    """The name of the Celery queue of a queue (a class of workers)."""
    return f"explaind.{queue_name}"


def permits_key(settings: JobsSettings, queue_name: str) -> str:
    """The Redis list in which Celery keeps that queue."""
    return f"{settings.key_prefix}{queue_key(queue_name)}"


def broker_url(redis_url: str, password: str | None = None) -> str:
    """The URL in Celery's form: with its password, and a unix socket as redis+socket://…?virtual_host=0."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        if password is None:
            return redis_url
        address = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{_userinfo(parts.username, password)}{address}").geturl()
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    secret = password or unquote(parts.password or options.get("password", ""))
    user = _userinfo(parts.username, secret) if secret else ""
    return f"redis+socket://{user}{parts.path}?virtual_host={options.get('db', '0')}"


def _userinfo(username: str | None, password: str) -> str:
    return f"{username or ''}:{quote(password, safe='')}@"


def make_celery(settings: JobsSettings) -> Celery:
    """The Celery application: receives permits, stores no results. Its options belong together; see docs/decisions.

    Raises:
        ValueError: the settings name no Redis.
        StoreUnavailable: its password cannot be read.
    """
    if settings.redis_url is None:
        raise ValueError("Celery needs a redis_url.")
    broker = broker_url(settings.redis_url, redis_password(settings))
    app = Celery("explaind", broker=broker, backend=None, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=False,
        worker_pool="threads",
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # error replies of Redis (MISCONF, NOREPLICAS, …) are waited for, too
        broker_transport_options={
            "global_keyprefix": settings.key_prefix,
            "visibility_timeout": 3600,
            "socket_timeout": 15,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    )
    if settings.redis_url.startswith("rediss://"):
        app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    return app


class PermitPublisher:
    """Sends permits from a separate thread, so that no request waits for the broker.

    A permit that cannot be sent is dropped: the workers' supervisors send permits for waiting jobs. Superfluous ones
    are not sent: sending one costs the API as much as accepting a job.
    """

    def __init__(self, settings: JobsSettings) -> None:
        self._settings = settings
        self._app = make_celery(settings)
        self._client = redis_from(settings)
        self._enough_until: dict[str, float] = {}
        self._queues: queue.Queue[str | None] = queue.Queue(MAX_BACKLOG)
        self._thread = threading.Thread(target=self._publish, name="permit-publisher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self, queue_name: str) -> None:
        """Queue a permit for a worker of that class. Never blocks, never raises."""
        try:
            self._queues.put_nowait(queue_name)
        except queue.Full:
            log.debug("permit dropped: the backlog is full")

    def stop(self, timeout_s: float = 5.0) -> None:
        """Send the remaining permits, as far as the broker answers, and end the thread."""
        if self._thread.is_alive():
            self._make_room_for_the_end()
            self._thread.join(timeout_s)

    def _make_room_for_the_end(self) -> None:
        try:
            self._queues.put_nowait(None)
        except queue.Full:
            self._drop_backlog()
            self._queues.put_nowait(None)

    def _publish(self) -> None:
        while (queue_name := self._queues.get()) is not None:
            try:
                if not self._enough(queue_name):
                    self._send(queue_name)
            except Exception as error:  # whatever the broker does, API and worker continue
                log.warning("no permit sent (%s); the reconciler will wake a worker again", type(error).__name__)
                if self._drop_backlog():
                    break
        self._app.close()
        self._client.close()

    def _enough(self, queue_name: str) -> bool:
        if self._queues.qsize() < FEW:
            return False
        now = time.monotonic()
        if now < self._enough_until.get(queue_name, 0.0):
            return True
        sent = cast("int", self._client.llen(permits_key(self._settings, queue_name)))
        if sent >= ENOUGH:
            self._enough_until[queue_name] = now + ENOUGH_FOR_S
        return sent >= ENOUGH

    def _send(self, queue_name: str) -> None:
        self._app.send_task(PERMIT_TASK, queue=queue_key(queue_name), retry=False, ignore_result=True)

    def _drop_backlog(self) -> bool:
        """Drop the waiting permits; True if the stop marker was among them."""
        ended = False
        while True:
            try:
                ended = self._queues.get_nowait() is None or ended
            except queue.Empty:
                return ended
