"""Verification of webhooks, for their receiver.

The messages are Standard Webhooks (standardwebhooks.com): the headers `webhook-id`, `webhook-timestamp` and
`webhook-signature`, the last an HMAC-SHA-256 over the first two and the body. Any library of that standard
verifies them too.
"""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from explaind.contract.errors import WebhookNotVerified
from explaind.contract.webhook import WebhookEvent

ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
SIGNATURE = "webhook-signature"
SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of every secret
VERSION = "v1"

SECONDS = re.compile(r"[0-9]{1,12}")


def sign(secret: str, message_id: str, timestamp: int, body: bytes | str) -> dict[str, str]:
    """The three headers of a message; `timestamp` is the Unix time of sending.

    Raises:
        WebhookNotVerified: the secret is not `whsec_` and base64.
    """
    signature = _signature(_key(secret), message_id, str(timestamp), _bytes(body))
    return {ID: message_id, TIMESTAMP: str(timestamp), SIGNATURE: f"{VERSION},{signature}"}


def verify(
    secret: str | Sequence[str], headers: Mapping[str, str], body: bytes | str, tolerance_s: float = 300
) -> WebhookEvent:
    """The event of a message, after verifying that the service sent exactly this, recently.

    Args:
        secret: The signing secret, `whsec_…`. During a rotation, both the new and the old one.
        headers: The request's headers, names in any case.
        body: The request's body as received, not parsed and serialised again.
        tolerance_s: Most seconds that the message may be old, or ahead of this clock.

    Raises:
        WebhookNotVerified: a header is missing, the message is too old, no signature matches, or a secret is
            malformed.
    """
    message_id, timestamp, signatures = _headers(headers)
    _check_age(timestamp, tolerance_s)
    keys = [_key(each) for each in ([secret] if isinstance(secret, str) else secret)]
    expected = [_signature(key, message_id, timestamp, _bytes(body)).encode() for key in keys]
    # Compares every pair, even after a match, so that the time reveals nothing.
    fits = [hmac.compare_digest(one, other) for one in expected for other in signatures]
    if not any(fits):
        raise WebhookNotVerified(
            "No signature of the message fits.",
            hint="Verify the body as it came, byte by byte, with the secret of the API key that submitted the job.",
        )
    try:
        return WebhookEvent.model_validate_json(body)
    except ValidationError as error:
        raise WebhookNotVerified(
            f"The signature is right, but the body is not an event of explaind: {error.errors()[0]['msg']}.",
            hint="Update the explaind package.",
        ) from error


def _headers(headers: Mapping[str, str]) -> tuple[str, str, list[bytes]]:
    found = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not found.get(name)]
    if missing:
        raise WebhookNotVerified(
            f"The header {missing[0]} is missing.", hint="Only requests of the service carry it; refuse this one."
        )
    signatures = [word.partition(",") for word in found[SIGNATURE].split(" ")]
    return found[ID], found[TIMESTAMP], [_word(value) for version, _, value in signatures if version == VERSION]


def _check_age(timestamp: str, tolerance_s: float) -> None:
    if not SECONDS.fullmatch(timestamp):
        raise WebhookNotVerified(f"The header {TIMESTAMP} is not a number of seconds.")
    age = time.time() - int(timestamp)
    if abs(age) > tolerance_s:
        raise WebhookNotVerified(
            f"The message was sent {abs(age):.0f} s {'ago' if age > 0 else 'ahead of this clock'}, "
            f"and {tolerance_s:g} s are tolerated.",
            hint="It may be replayed. If it is not, set this machine's clock.",
        )


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise WebhookNotVerified(
            "The secret is not a webhook's.", hint="It is written whsec_ followed by base64; copy all of it."
        )
    return key


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    content = b".".join([_word(message_id), timestamp.encode(), body])
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def _word(value: str) -> bytes:
    # Headers may contain non-text; that must end as a refusal, too.
    return value.encode(errors="replace")


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body
