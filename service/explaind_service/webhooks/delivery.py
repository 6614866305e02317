"""Webhook delivery: takes due messages from the outbox, sends them signed, retries, finally gives up.

A task of the API's process; any number of processes may run one. Each message is sent at least once, mostly exactly
once, with the same `webhook-id` on every attempt.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpcore

from explaind.contract.errors import InvalidRequest, StoreUnavailable
from explaind.contract.job import WebhookStatus
from explaind.contract.webhook import WebhookEvent
from explaind.protocol.config import package_version
from explaind.webhooks import sign
from explaind_jobs.keys.webhook_secret import webhook_secret
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.store import webhook_outbox
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_jobs.store.webhook_outbox import Noted, OutboxMessage
from explaind_service.webhooks.ssrf_guard import WebhookGuard
from explaind_service.webhooks.transport import WebhookTransport

# Seconds between attempts: for short outages, a restart, an evening.
SCHEDULE_S = (5, 30, 120, 600, 1800, 7200, 21_600)
MAX_ATTEMPTS = len(SCHEDULE_S) + 1
JITTER = 0.1
MAX_RETRY_AFTER_S = 3600.0

CONCURRENCY = 16
POLL_S = 0.5
LONGEST_PAUSE_S = 10.0
LEASE_SLACK_S = 20.0
STOP_GRACE_S = 3.0
CANCEL_S = 0.1
GONE = 410

Spread = Callable[[float, float], float]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Try:
    """Outcome of one attempt: the receiver's response, or the error."""

    status: int | None = None
    retry_after: str | None = None
    trouble: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the receiver accepted the message."""
        return self.status is not None and 200 <= self.status < 300

    def __str__(self) -> str:
        return self.trouble or f"status {self.status}"


class WebhookDeliverer:
    """Sends the messages of the outbox, a bounded number at a time."""

    def __init__(
        self,
        store: AsyncJobStore,
        guard: WebhookGuard,
        transport: WebhookTransport,
        pepper: bytes,
        *,
        timeout_s: float,
        poll_s: float = POLL_S,
    ) -> None:
        self._store = store
        self._guard = guard
        self._transport = transport
        self._pepper = pepper
        self._timeout_s = timeout_s
        self._poll_s = poll_s
        self._lease_s = timeout_s + LEASE_SLACK_S
        self._loop_task: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Starts on the running event loop."""
        self._loop_task = asyncio.create_task(self._run(), name="webhooks")

    async def stop(self) -> None:
        """Stops taking messages and gives those in progress a moment; the rest is due again when its lease expires."""
        if self._loop_task is not None:
            await _ended(self._loop_task)
        if self._sending:
            await asyncio.wait(self._sending, timeout=STOP_GRACE_S)
        for task in list(self._sending):
            await _ended(task)

    async def _run(self) -> None:
        pause = self._poll_s
        while True:
            try:
                taken = await self.step()
                pause = self._poll_s
            except StoreUnavailable as error:
                taken, pause = 0, min(pause * 2, LONGEST_PAUSE_S)
                log.warning("webhooks wait for the store: %s", error.detail)
            except Exception:
                taken, pause = 0, min(pause * 2, LONGEST_PAUSE_S)
                log.exception("webhooks stumbled, and go on")
            if len(self._sending) >= CONCURRENCY:
                await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
            elif not taken:
                await asyncio.sleep(pause)

    async def step(self) -> int:
        """Takes due messages, up to the free capacity, and starts sending them; returns how many.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        messages = await self._store.run(webhook_outbox.take(CONCURRENCY - len(self._sending), self._lease_s))
        for message in messages:
            self._spawn(self.deliver(message))
        return len(messages)

    async def deliver(self, message: OutboxMessage) -> None:
        """One attempt of one message, from DNS look-up to recorded status."""
        held_until = time.monotonic() + self._lease_s
        try:
            await self._noted(message, await self._attempt(message), held_until)
        except Exception:
            # An unreadable record, or a bug of ours: the lease expires, and attempts are counted.
            log.exception("webhook of %s: try %d stumbled", message.id, message.attempt)

    async def _attempt(self, message: OutboxMessage) -> ScriptCall[Noted]:
        try:
            webhook = message.webhook()
        except ValueError:
            log.warning("webhook of %s: the record is not one that this version knows; given up", message.id)
            return webhook_outbox.settle(message.id, message.attempt, _status("failed", message, Try()))
        if message.attempt > MAX_ATTEMPTS:  # earlier ones were interrupted before they could record a status
            return self._given_up(message, Try(trouble="no try came to its end"))
        job = message.job()
        if job.state.value not in webhook.events:
            return webhook_outbox.settle(message.id, message.attempt, None)
        event = WebhookEvent(type=f"job.{job.state.value}", timestamp=job.finished_at or datetime.now(UTC), data=job)
        # Every attempt sends the same bytes, so the delivery status is left out.
        body = event.model_dump_json(exclude={"data": {"result", "webhook"}}).encode()
        return self._judged(message, await self._post(message, webhook.url, body))

    async def _post(self, message: OutboxMessage, url: str, body: bytes) -> Try:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"explaind-webhooks/{package_version()}",
            **sign(webhook_secret(self._pepper, message.key_id), f"msg_{message.id}", int(time.time()), body),
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                destination = await self._guard.destination(url)
                answer = await self._transport.post(destination, headers, body)
        except InvalidRequest as error:
            return Try(trouble=f"refused ({error.detail})")
        except (TimeoutError, httpcore.TimeoutException):
            return Try(trouble=f"no answer within {self._timeout_s:g} s")
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            return Try(trouble=f"not reached ({type(error).__name__})")
        return Try(status=answer.status, retry_after=answer.retry_after)

    def _judged(self, message: OutboxMessage, result: Try) -> ScriptCall[Noted]:
        if result.delivered:
            log.info("webhook of %s: delivered by try %d", message.id, message.attempt)
            return webhook_outbox.settle(message.id, message.attempt, _status("delivered", message, result))
        if result.status == GONE or message.attempt >= MAX_ATTEMPTS:
            return self._given_up(message, result)
        delay_s = next_delay_s(message.attempt, result.retry_after)
        log.info("webhook of %s: try %d: %s; again in %.0f s", message.id, message.attempt, result, delay_s)
        return webhook_outbox.again(message.id, message.attempt, _status("pending", message, result), delay_s)

    def _given_up(self, message: OutboxMessage, result: Try) -> ScriptCall[Noted]:
        log.warning("webhook of %s: given up after %d tries: %s", message.id, message.attempt, result)
        return webhook_outbox.settle(message.id, message.attempt, _status("failed", message, result))

    async def _noted(self, message: OutboxMessage, note: ScriptCall[Noted], held_until: float) -> None:
        """Records the status, retrying while the message's lease lasts; after that the message is sent once more."""
        pause = self._poll_s
        while True:
            try:
                await self._store.run(note)
                return
            except StoreUnavailable:
                if time.monotonic() + pause >= held_until:
                    log.warning("webhook of %s: the outcome could not be noted", message.id)
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)


def next_delay_s(attempt: int, retry_after: str | None, spread: Spread = random.uniform) -> float:
    """Seconds from attempt number `attempt` to the next: as scheduled, or as the receiver asks, up to an hour."""
    scheduled = SCHEDULE_S[attempt - 1] * (1 + spread(-JITTER, JITTER))
    return max(scheduled, min(_seconds(retry_after), MAX_RETRY_AFTER_S))


def _seconds(retry_after: str | None) -> float:
    if not retry_after:
        return 0.0
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    with contextlib.suppress(ValueError):
        moment = parsedate_to_datetime(retry_after)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - datetime.now(UTC)).total_seconds()
    return 0.0


def _status(state: str, message: OutboxMessage, result: Try) -> WebhookStatus:
    fields = {"state": state, "attempts": message.attempt, "last_status": result.status, "last_at": datetime.now(UTC)}
    return WebhookStatus.model_validate(fields)


async def _ended(task: asyncio.Task[None]) -> None:
    # Repeated: under Python 3.11 a call of the Redis client may swallow a cancellation (its wait_for does).
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_S)
