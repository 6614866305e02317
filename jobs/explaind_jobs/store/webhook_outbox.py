"""Webhook outbox: ended jobs whose webhook is to be delivered. A sorted set of job ids by due time.

The script that ends a job adds it; everything else about a message is in the job's record:
`webhook`, `key`, `webhook_attempts`, `webhook_status`. So a message lives as long as its job.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from explaind.contract.job import Job, WebhookStatus
from explaind.contract.webhook import Webhook
from explaind_jobs.redis_scripts.script import ScriptCall
from explaind_jobs.store.job_view import job_from

Noted = Literal["noted", "stale", "gone"]


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """One delivery attempt of a job's webhook. `key_id` is the id of the owning API key, "" if anonymous.

    Job and webhook are parsed on access, so that one malformed record does not block the others.
    """

    id: str
    attempt: int
    key_id: str
    stored_webhook: bytes
    stored_job: Sequence[bytes]

    def webhook(self) -> Webhook:
        """The webhook: URL and states. Raises ValueError if this version does not accept it."""
        return Webhook.model_validate_json(self.stored_webhook)

    def job(self) -> Job[Any]:
        """The job that has ended, without its result."""
        return job_from(self.stored_job)


def take(limit: int, lease_s: float) -> ScriptCall[list[OutboxMessage]]:
    """Up to `limit` messages that are due; no other process gets them while the lease lasts."""
    return ScriptCall("outbox_take", [limit, round(lease_s * 1000)], lambda reply: [_message(row) for row in reply])


def again(job_id: str, attempt: int, status: WebhookStatus, delay_s: float) -> ScriptCall[Noted]:
    """Record the status of an attempt, and schedule the next one in `delay_s` seconds."""
    return _note(job_id, attempt, status.model_dump_json(), round(delay_s * 1000))


def settle(job_id: str, attempt: int, status: WebhookStatus | None) -> ScriptCall[Noted]:
    """Record a message's final status and remove it from the outbox; with status None, leave no trace of it."""
    return _note(job_id, attempt, "" if status is None else status.model_dump_json(), -1)


def _note(job_id: str, attempt: int, status: str, delay_ms: int) -> ScriptCall[Noted]:
    def parse(reply: Any) -> Noted:
        word = reply.decode()
        return next(known for known in get_args(Noted) if known == word)

    return ScriptCall("outbox_note", [job_id, attempt, status, delay_ms], parse)


def _message(row: Any) -> OutboxMessage:
    attempt, webhook, key_id, view = row
    return OutboxMessage(
        id=view[0].decode(),
        attempt=int(attempt),
        key_id=key_id.decode(),
        stored_webhook=bytes(webhook),
        stored_job=view,
    )
