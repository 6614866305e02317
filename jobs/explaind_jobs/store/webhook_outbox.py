"""The outbox: ends of jobs that someone asked to be told of. A sorted set of job ids by when they are due.

The end of a job puts it there in the same script; everything else about a message is in the job's record:
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
    """One try to tell of a job's end. `key_id` is that of the API key that owns the job, "" when anonymous.

    Job and webhook are read when they are asked for, so that one record gone wrong holds up no other.
    """

    id: str
    attempt: int
    key_id: str
    stored_webhook: bytes
    stored_job: Sequence[bytes]

    def webhook(self) -> Webhook:
        """Where to and of what. Raises ValueError when this version would not accept it."""
        return Webhook.model_validate_json(self.stored_webhook)

    def job(self) -> Job[Any]:
        """The job that has ended, without its result."""
        return job_from(self.stored_job)


def take(limit: int, lease_s: float) -> ScriptCall[list[OutboxMessage]]:
    """Up to `limit` messages that are due; nobody else gets them while the lease lasts."""
    return ScriptCall("outbox_take", [limit, round(lease_s * 1000)], lambda reply: [_message(row) for row in reply])


def again(job_id: str, attempt: int, status: WebhookStatus, delay_s: float) -> ScriptCall[Noted]:
    """Note how a try went, and try again after so many seconds."""
    return _note(job_id, attempt, status.model_dump_json(), round(delay_s * 1000))


def settle(job_id: str, attempt: int, status: WebhookStatus | None) -> ScriptCall[Noted]:
    """Note how the message ended and take it out of the outbox; without a status, as if it had never been there."""
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
