"""Webhook of a job: URL, reported states, and the event that is sent.

The message is a Standard Webhook (standardwebhooks.com); `explaind.webhooks` signs and verifies it.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from explaind.contract.base import RequestModel, ResponseModel
from explaind.contract.job import Job

MAX_URL_CHARS = 2000

WebhookEnd = Literal["succeeded", "failed", "cancelled", "expired"]
ALL_ENDS: tuple[WebhookEnd, ...] = get_args(WebhookEnd)


def checked_url(url: str) -> str:
    """The URL, if well-formed for a webhook. Whether its host and port are allowed is up to the service.

    Raises:
        ValueError: it is not; the message has the reason.
    """
    if any(not char.isprintable() or char in " \\" for char in url):
        raise ValueError("The URL holds a space, a backslash or a control character: percent-encode it.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"This is not a URL: {error}.") from None
    if parts.scheme not in {"https", "http"}:
        raise ValueError("A webhook's URL begins with https://.")
    if "@" in parts.netloc:
        raise ValueError("The URL holds a user name or a password. Leave them out: every message is signed.")
    if "#" in url:
        raise ValueError("The URL has a fragment (#…), which is never sent. Leave it out.")
    if not parts.hostname or "%" in parts.netloc:
        raise ValueError("The URL names no host." if not parts.hostname else "The host holds a percent sign.")
    if port == 0:
        raise ValueError("Port 0 is none that can be reached.")
    return url


WebhookUrl = Annotated[str, Field(min_length=1, max_length=MAX_URL_CHARS), AfterValidator(checked_url)]


class Webhook(RequestModel):
    """Receiver of the notification of a job's end, and the ends to report."""

    url: WebhookUrl = Field(
        description="URL that the event is POSTed to: https on port 443, unless the service's operator allows more.",
        examples=["https://example.com/hooks/explaind"],
    )
    events: list[WebhookEnd] = Field(
        default=list(ALL_ENDS),
        min_length=1,
        max_length=len(ALL_ENDS),
        description="Ends of a job to report; all of them by default.",
        examples=[["succeeded", "failed"]],
    )


def _from_url(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


# A bare string is short for {"url": …}.
WebhookField = Annotated[Webhook, BeforeValidator(_from_url, json_schema_input_type=WebhookUrl | Webhook)]


class WebhookEvent(ResponseModel):
    """Event sent to a webhook's receiver."""

    type: str = Field(
        description='Type of the event: "job." and the state in which the job ended.', examples=["job.succeeded"]
    )
    timestamp: datetime = Field(description="Time when the job ended; the same on every attempt.")
    data: Job[Any] = Field(
        description="The job as returned by `GET /jobs/{id}`, without its result: see `links.result`."
    )
