import pytest
from pydantic import TypeAdapter, ValidationError

from explaind.contract.base import RequestModel
from explaind.contract.errors import field_errors
from explaind.contract.job import WebhookStatus
from explaind.contract.webhook import Webhook, WebhookField

URL = "https://example.com/hooks?run=7"


class Request(RequestModel):
    webhook: WebhookField | None = None


def mistakes(value: object) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate({"webhook": value})
    return [(error.pointer, error.detail) for error in field_errors(caught.value.errors())]


def test_a_bare_string_is_short_for_its_url() -> None:
    assert Request(webhook=URL).webhook == Webhook(url=URL)  # type: ignore[arg-type]
    assert Request.model_validate({"webhook": {"url": URL}}).webhook == Webhook(url=URL)
    assert Request(webhook=None).webhook is None


def test_all_ends_are_told_by_default() -> None:
    assert Webhook(url=URL).events == ["succeeded", "failed", "cancelled", "expired"]
    assert Webhook(url=URL, events=["failed"]).events == ["failed"]


def test_it_is_stored_as_it_was_asked_for() -> None:
    webhook = Webhook(url=URL, events=["failed", "succeeded"])
    assert Webhook.model_validate_json(webhook.model_dump_json()) == webhook


def test_the_schema_shows_both_forms() -> None:
    schema = TypeAdapter(WebhookField).json_schema()
    text, whole = schema["anyOf"]
    assert (text["type"], text["maxLength"]) == ("string", 2000)
    assert whole == {"$ref": "#/$defs/Webhook"}


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/x",
        "https://[2606:4700::1111]/x",
        "https://bücher.example/%20",
        "HTTPS://EXAMPLE.COM/",
        "http://hooks.internal:8080/",
        "https://example.com/a@b?to=c@d",
        "https://example.com/" + "x" * 1980,
    ],
)
def test_urls_that_are_one(url: str) -> None:
    assert Webhook(url=url).url == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "at least 1 character"),
        ("https://example.com/" + "x" * 1981, "at most 2000"),
        ("example.com/x", "begins with https://"),
        ("//example.com/x", "begins with https://"),
        ("ftp://example.com", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("gopher://example.com:70/_x", "begins with https://"),
        ("javascript:alert(1)", "begins with https://"),
        ("https://user:secret@example.com/", "password"),
        ("https://user@example.com/", "user name"),
        ("https://@example.com/", "user name"),
        ("https://example.com/#frag", "fragment"),
        ("https://example.com/#", "fragment"),
        ("https://", "no host"),
        ("https:///x", "no host"),
        ("https://:443/", "no host"),
        ("https:example.com", "no host"),
        ("https://exam ple.com/", "control character"),
        (" https://example.com/", "control character"),
        ("https://example.com/\r\nX: y", "control character"),
        ("https://example.com/\t", "control character"),
        ("https://example.com/\x00", "control character"),
        ("https://example.com/\x7f", "control character"),
        ("https://example.com/\u2028", "control character"),
        ("https://good.example\\@127.0.0.1/", "backslash"),
        ("https://example.com:99999/", "not a URL"),
        ("https://example.com:port/", "not a URL"),
        ("https://example.com:４４３/", "not a URL"),
        ("https://example.com:0/", "Port 0"),
        ("https://[::1/", "not a URL"),
        ("https://[fe80::1%25eth0]/", "percent"),
        ("https://%31%32%37.0.0.1/", "percent"),
        ("https://evil.example\u2100@127.0.0.1/", "not a URL"),  # NFKC makes a/c of it
    ],
)
def test_what_is_none_is_refused_with_a_reason(url: str, words: str) -> None:
    for value in (url, {"url": url}):
        [(pointer, detail)] = mistakes(value)
        assert pointer == "/webhook/url"
        assert words in detail


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (5, "/webhook"),
        ([URL], "/webhook"),
        ({}, "/webhook/url"),
        ({"url": 5}, "/webhook/url"),
        ({"url": URL, "events": []}, "/webhook/events"),
        ({"url": URL, "events": ["started"]}, "/webhook/events/0"),
        ({"url": URL, "secret": "x"}, "/webhook/secret"),
    ],
)
def test_other_mistakes_name_their_field(value: object, pointer: str) -> None:
    assert [found for found, _ in mistakes(value)] == [pointer]


def test_a_status_knows_three_states() -> None:
    assert WebhookStatus(state="pending").attempts == 0
    with pytest.raises(ValidationError):
        WebhookStatus.model_validate({"state": "lost"})
