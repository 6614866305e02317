"""Headers with odd bytes, too many, too long, or with a second header in them: none gets anywhere."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from explaind_jobs.observability.logs import log_handler
from tests.support import LONG
from tests.support.problem_checks import REQUEST_ID, check_answer

BODY = json.dumps({"model": "demo", "prompt": "3 + 4 =", "target": " 7"}).encode()
JSON = (b"content-type", b"application/json")
NAMES = [
    b"x-request-id",
    b"idempotency-key",
    b"prefer",
    b"cache-control",
    b"last-event-id",
    b"traceparent",
    b"tracestate",
    b"range",
    b"if-range",
    b"if-none-match",
    b"accept",
    b"accept-encoding",
    b"authorization",
    b"origin",
    b"content-encoding",
    b"cookie",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-http-method-override",
    b"forwarded",
    b"expect",
    b"te",
    b"user-agent",
]
# uvicorn lets no line feed and no NUL through; what stands before another server might.
VALUES = {
    "empty": b"",
    "line feed": b"a\r\nSet-Cookie: evil=1",
    "line feed alone": b"a\nX-Evil: 1",
    "NUL": b"a\0b",
    "Latin-1": bytes(range(0x80, 0x100)),
    "UTF-8": "ключ 🔑 \u202e".encode(),
    "broken UTF-8": b"\xc3\x28\xff\xfe",
    "controls": bytes(range(1, 0x20)) + b"\x7f",
    "long": b"Q" * 60_000,
    "commas": b"," * 5000,
    "semicolons": b";" * 5000,
    "equals": b"=" * 5000,
    "quotes": b'"' * 5001,
    "backslashes": b'"\\' * 2000,
    "spaces": b" " * 5000 + b"a",
    "tags": b'W/"a",' * 2000,
    "numbers": b"wait=" + b"9" * 5000,
    "a bad number": "wait=٣٤".encode(),
    "minus": b"wait=-1",
    "ranges": b"bytes=" + b"0-1," * 2000,
    "a huge range": b"bytes=" + b"9" * 60 + b"-" + b"9" * 60,
    "a range backwards": b"bytes=9-1",
    "a range of nothing": b"bytes=-0",
    "ranges of another kind": b"lines=1-2",
    "weights": b"gzip;q=1e400, zstd;q=nan, *;q=-1, br;q=2",
    "trace": b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
    "a bad trace": b"zz-" + b"g" * 32 + b"-\xff-99",
    "a key": b"Bearer xp_00000000_" + b"A" * 43,
    "a key with more": b"Bearer xp_00000000_" + b"A" * 43 + b" and more",
    "markup": b"<script>alert(1)</script>",
    "format": b"%s%n%(a)s{0}${x}",
}
PATHS = (
    ("POST", "/infer/score", BODY),
    ("GET", "{job}/result", b""),
    ("GET", "{job}/report", b""),
    ("GET", "/jobs", b""),
    ("GET", "/metrics", b""),
    ("HEAD", "{job}/result", b""),
)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Every line that the service logs as text, the access line too."""
    stream, logger = io.StringIO(), logging.getLogger("explaind_service")
    handler, level = log_handler(stream, "text"), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_whatever_a_header_says(raw, finish, value: bytes, lines: io.StringIO) -> None:
    job = await finish()
    turn, sent = list(VALUES.values()).index(value), 0
    for place, name in enumerate(NAMES):
        # Every value in every header, every header to every path; all three together only in `make test-all`.
        third = (turn + place) % 3
        for method, path, body in PATHS if LONG else (PATHS[third], PATHS[third + 3]):
            asked = lines.tell()
            answer = await raw(
                method, path.format(job=job), headers=[(name, value), JSON] if body else [(name, value)], body=body
            )
            sent += 1
            if method == "HEAD" and not answer.content:
                assert answer.status_code in {200, 304, 403}
            else:
                check_answer(answer)
            assert not {"set-cookie", "x-evil"} & answer.headers.keys()
            assert all(b"\n" not in each and b"\r" not in each for each in dict(answer.headers.raw).values())
            lines.seek(asked)
            # Of a request one line, and one more of a job: nothing that it says makes another.
            accepted = method == "POST" and answer.status_code < 300
            assert len(lines.read().splitlines()) == 1 + accepted
    assert sent == len(NAMES) * (len(PATHS) if LONG else 2)


@pytest.mark.parametrize(
    "asked", ["a\n", "a b", "../x", "é", "", "-a", "Q" * 65, "a\r\nX-Evil: 1", "<b>", "%0a", "a\u2028b"]
)
async def test_a_request_id_that_is_none_is_replaced(raw, asked: str) -> None:
    answer = await raw("GET", "/healthz", headers=[(b"x-request-id", asked.encode())])
    assert answer.headers["x-request-id"].startswith("req_")
    assert REQUEST_ID.fullmatch(answer.headers["x-request-id"])


async def test_many_headers(raw) -> None:
    many = [(b"x-%d" % number, b"a") for number in range(5000)]
    check_answer(await raw("GET", "/jobs", headers=many))
    twice = [(b"idempotency-key", b"a"), (b"idempotency-key", b"b"), (b"prefer", b"wait=0"), JSON] * 500
    check_answer(await raw("POST", "/infer/score", headers=twice, body=BODY))


@pytest.mark.parametrize("second", ["text/plain", "application/json"])
async def test_two_content_types(raw, second: str) -> None:
    headers = [JSON, (b"content-type", second.encode())]
    check_answer(await raw("POST", "/infer/score", headers=headers, body=BODY))


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"evil.example",
        b"localhost:99999999",
        b"[::1",
        b"a" * 10_000,
        b"\xff",
        b"localhost@evil",
        b"localhost#",
        b"127.0.0.1.evil.example",
        b"\0",
    ],
)
async def test_hosts_that_are_none(raw, host: bytes) -> None:
    answer = await raw("GET", "/jobs", headers=[(b"host", host)])
    check_answer(answer)
    assert "evil" not in answer.headers.get("location", "")
