"""Signing and verifying: as the standard's own library does, and nothing else gets through."""

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import standardwebhooks

from explaind.contract.errors import WebhookNotVerified
from explaind.webhooks import sign, verify

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(b"another secret of 32 bytes, or so").decode()
EVENT = {
    "type": "job.succeeded",
    "timestamp": "2026-01-01T00:00:02Z",
    "data": {
        "id": "job_1", "method": "explain/shap", "model": "demo", "state": "succeeded",
        "created_at": "2026-01-01T00:00:00Z", "metadata": {"straße": "é"},
        "links": {"self": "a", "result": "/jobs/job_1/result", "report": "c", "cancel": "d"},
    },
}  # fmt: skip
BODY = json.dumps(EVENT, ensure_ascii=False)


def signed(secret: str = SECRET, age: int = 0, body: str = BODY) -> dict[str, str]:
    return sign(secret, "msg_job_1", int(time.time()) - age, body)


def test_what_is_signed_verifies() -> None:
    event = verify(SECRET, signed(), BODY)
    assert (event.type, event.data.id, event.data.metadata) == ("job.succeeded", "job_1", {"straße": "é"})
    assert event.timestamp == datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert event.data.links.result == "/jobs/job_1/result"


def test_the_vector_of_the_standard() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_standards_library_accepts_ours() -> None:
    assert standardwebhooks.Webhook(SECRET).verify(BODY, signed()) == EVENT


def test_ours_accepts_the_standards_librarys() -> None:
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_9",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(SECRET).sign("msg_9", now, BODY),
    }
    assert verify(SECRET, headers, BODY.encode()).data.id == "job_1"


def test_names_of_headers_in_any_case_among_others() -> None:
    headers = {name.title(): value for name, value in signed().items()} | {"Content-Type": "application/json"}
    assert verify(SECRET, headers, BODY).data.id == "job_1"


def test_secrets_may_change_on_either_side() -> None:
    assert verify([OTHER, SECRET], signed(), BODY).data.id == "job_1"
    both = signed(OTHER)["webhook-signature"] + " v1a,bm90IGZvciB1cw== " + signed()["webhook-signature"]
    assert verify(SECRET, signed() | {"webhook-signature": both}, BODY).data.id == "job_1"


def test_a_secret_without_its_padding_is_the_same() -> None:
    assert verify(SECRET.rstrip("="), signed(), BODY).data.id == "job_1"


@pytest.mark.parametrize(
    "changed",
    [
        lambda: (signed(OTHER), BODY),
        lambda: (signed(), BODY.replace("job_1", "job_2")),
        lambda: (signed(), BODY + " "),
        lambda: (signed() | {"webhook-id": "msg_job_2"}, BODY),
        lambda: (signed() | {"webhook-timestamp": str(int(time.time()) + 7)}, BODY),
        lambda: (signed() | {"webhook-signature": "v1,"}, BODY),
        lambda: (signed() | {"webhook-signature": "v1,\u00e9\u20ac"}, BODY),
        lambda: (signed() | {"webhook-signature": signed()["webhook-signature"].replace("v1,", "v2,")}, BODY),
        lambda: (signed() | {"webhook-signature": signed()["webhook-signature"].removeprefix("v1,")}, BODY),
        lambda: (signed() | {"webhook-signature": ",,, ,"}, BODY),
        lambda: (signed() | {"webhook-signature": "v1,\udcff", "webhook-id": "\udcff"}, BODY),
    ],
)
def test_anything_else_is_refused(changed: Callable[[], tuple[dict[str, str], str]]) -> None:
    headers, body = changed()  # signed now: the tests before this one may have taken minutes
    with pytest.raises(WebhookNotVerified, match="No signature of the message fits"):
        verify([SECRET], headers, body)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_is_missing(missing: str) -> None:
    with pytest.raises(WebhookNotVerified, match=missing):
        verify(SECRET, {name: value for name, value in signed().items() if name != missing}, BODY)
    with pytest.raises(WebhookNotVerified, match=missing):
        verify(SECRET, signed() | {missing: ""}, BODY)


@pytest.mark.parametrize(("age", "words"), [(302, "ago"), (-302, "ahead of this clock")])
def test_old_and_early_messages_are_refused(age: int, words: str) -> None:
    with pytest.raises(WebhookNotVerified, match=words):
        verify(SECRET, signed(age=age), BODY)
    assert verify(SECRET, signed(age=age), BODY, tolerance_s=310).data.id == "job_1"


@pytest.mark.parametrize("timestamp", ["soon", "1e9", "-5", " 17", "٣", "1" * 400, "nan"])
def test_timestamps_are_seconds(timestamp: str) -> None:
    headers = signed() | {"webhook-timestamp": timestamp}
    with pytest.raises(WebhookNotVerified, match="seconds"):
        verify(SECRET, headers, BODY)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_é", "whsec_!!!!", "not base64"])
def test_what_is_no_secret_is_said_to_be_none(secret: str) -> None:
    with pytest.raises(WebhookNotVerified, match="secret"):
        verify(secret, signed(), BODY)
    with pytest.raises(WebhookNotVerified, match="secret"):
        sign(secret, "msg_1", 1, BODY)


def test_no_secret_at_all_verifies_nothing() -> None:
    with pytest.raises(WebhookNotVerified):
        verify([], signed(), BODY)


@pytest.mark.parametrize("body", ["", "[]", '{"type": "job.succeeded"}', "\udcff".encode("utf-8", "surrogateescape")])
def test_a_signed_body_that_is_no_event(body: str | bytes) -> None:
    with pytest.raises(WebhookNotVerified, match="not an event of explaind"):
        verify(SECRET, sign(SECRET, "msg_1", int(time.time()), body), body)


def test_the_error_is_of_the_tree() -> None:
    import explaind

    assert issubclass(explaind.WebhookNotVerified, explaind.ClientError)
