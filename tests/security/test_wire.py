"""Bytes on a socket that are not quite HTTP, or come too slowly: answered or cut off, while others are served."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from httpx import ByteStream, Response

from explaind.contract.errors import Problem
from tests.support.http_process import Served, read_all
from tests.support.problem_checks import check_problem

pytestmark = pytest.mark.integration

RECEIVE_S = 1.0  # as the service of these tests has it
HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"
POST = b"POST /infer/tokenize HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
GET = b"GET /healthz HTTP/1.1\r\n" + HOST
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
BODY = b'{"model": "demo", "prompt": "a"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def answers_in(received: bytes) -> list[Response]:
    """The answers on a connection, one after the other."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        headers = [tuple(line.split(b": ", 1)) for line in lines]
        length = int({name.lower(): value for name, value in headers}.get(b"content-length", b"0"))
        found.append(Response(int(status_line.split()[1]), headers=headers, stream=ByteStream(rest[:length])))
        found[-1].read()
        received = rest[length:]
    return found


def check_refused(received: bytes, status: int) -> Problem:
    """The only answer is a problem with that status."""
    (answer,) = answers_in(received)
    assert answer.status_code == status, received
    assert answer.headers["connection"] == "close"
    problem = check_problem(answer)
    assert problem.request_id == answer.headers["x-request-id"]
    return problem


NO_REQUESTS = {
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 40\r\n\r\n0000" + SMUGGLED,
    "a list of lengths": POST + b"Content-Length: 4, 40\r\n\r\n0000" + SMUGGLED,
    "a negative length": POST + b"Content-Length: -4\r\n\r\n0000",
    "a length with a sign": POST + b"Content-Length: +4\r\n\r\n0000",
    "a hexadecimal length": POST + b"Content-Length: 0x4\r\n\r\n0000",
    "a length of thirty digits": POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n0000",
    "a length in other digits": POST + "Content-Length: ٤\r\n\r\n0000".encode(),
    "an encoding beside chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "nearly chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked and nearly": POST + CHUNKED + b"Transfer-Encoding: x\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "no number of a chunk": POST + CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": POST + CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk that ends elsewhere": POST + CHUNKED + b"\r\n2\r\n{}XX0\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: evil.example\r\n\r\n",
    "NUL in a header": GET + b"X-A: a\0b\r\n\r\n",
    "NUL in a name": GET + b"X\0A: a\r\n\r\n",
    "space in a name": GET + b"X A: a\r\n\r\n",
    "carriage return in a header": GET + b"X-A: a\rX-B: b\r\n\r\n",
    "folded at once": b"GET /healthz HTTP/1.1\r\n X: y\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "no version": b"GET /healthz HTTP/\r\n" + HOST + b"\r\n",
    "a space in the path": b"GET /health z HTTP/1.1\r\n" + HOST + b"\r\n",
    "bytes in the path": b"GET /h\xffz HTTP/1.1\r\n" + HOST + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
    "SSH": b"SSH-2.0-OpenSSH_9.0\r\n\r\n",
    "Redis": b"*1\r\n$8\r\nFLUSHALL\r\n\r\n",
}
# More than 16 KiB: without an end, or whole and in one piece.
LARGE_HEADS = {
    "a head without end": GET + b"X-A: " + b"a" * 1_000_000,
    "headers without end": GET + b"X-A: a\r\n" * 100_000,
    "a path without end": b"GET /" + b"a" * 1_000_000,
    "a long header": GET + b"X-A: " + b"a" * 16_384 + b"\r\n\r\n",
    "a header of spaces": GET + b"X-A:" + b" " * 16_384 + b"a\r\n\r\n",
    "many headers": GET + b"X-A: a\r\n" * 2_048 + b"\r\n",
    "a long path": b"GET /healthz?" + b"a" * 16_384 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a long header before a body": POST + b"Content-Length: 2\r\nX-A: " + b"a" * 30_000 + b"\r\n\r\n{}",
    "the second of a connection": GET + b"\r\n" + GET + b"X-A: " + b"a" * 30_000 + b"\r\n\r\n",
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("sent", NO_REQUESTS.values(), ids=NO_REQUESTS)
def test_what_is_no_request(service: Served, sent: bytes) -> None:
    problem = check_refused(service.exchange(sent), 400)
    assert problem.code == "bad_request"
    assert b"smuggled" not in problem.model_dump_json().encode()
    assert service.healthy()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("sent", LARGE_HEADS.values(), ids=LARGE_HEADS)
def test_a_head_over_16_kib(service: Served, sent: bytes) -> None:
    answer = answers_in(service.exchange(sent))[-1]
    assert (answer.status_code, answer.json()["code"]) == (431, "head_too_large")
    assert answer.headers["connection"] == "close"
    assert service.healthy()


def test_a_head_of_16_kib_is_taken(service: Served) -> None:
    whole = GET + CLOSE + b"X-A: \r\n\r\n"
    sent = whole.replace(b"X-A: ", b"X-A: " + b"a" * (16_384 - len(whole)))
    assert len(sent) == 16_384
    (answer,) = answers_in(service.exchange(sent))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED,
        POST + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Content-Length: 4\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED,
    ],
)
def test_a_request_of_two_lengths_is_the_last_of_its_connection(service: Served, sent: bytes) -> None:
    problem = check_refused(service.exchange(sent), 400)
    assert "Transfer-Encoding" in problem.detail


def test_lines_may_end_as_rfc_9112_lets_them(service: Served) -> None:
    for sent in (GET.replace(b"\r\n", b"\n") + b"Connection: close\n\n", GET + b"X-A: b\r\n c\r\n" + CLOSE + b"\r\n"):
        (answer,) = answers_in(service.exchange(sent))
        assert answer.status_code == 200


def test_requests_in_one_go_are_answered_in_turn(service: Served) -> None:
    answers = answers_in(service.exchange((GET + b"\r\n") * 50 + GET + CLOSE + b"\r\n"))
    assert [answer.status_code for answer in answers] == [200] * 51
    assert len({answer.headers["x-request-id"] for answer in answers}) == 51


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"CONNECT evil.example:443 HTTP/1.1\r\n", {403, 404, 405}),
        (b"TRACE /jobs HTTP/1.1\r\n", {405}),
        (b"OPTIONS * HTTP/1.1\r\n", {404, 405}),
        (b"BREW /jobs HTTP/1.1\r\n", {405}),
        (b"GET http://evil.example/jobs HTTP/1.1\r\n", {403, 404}),
        (b"GET /jobs/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n", {404}),
        (b"GET /../../etc/passwd HTTP/1.1\r\n", {404}),
    ],
)
def test_requests_that_want_something_else(service: Served, request_line: bytes, status: set[int]) -> None:
    (answer,) = answers_in(
        service.exchange(request_line + HOST + b"Authorization: Bearer secret\r\n" + CLOSE + b"\r\n")
    )
    assert answer.status_code in status
    check_problem(answer)
    assert "secret" not in answer.text


def test_nobody_gets_another_protocol(service: Served) -> None:
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n"
    upgrade += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"
    before = len(service.words().splitlines())
    (answer,) = answers_in(service.exchange(GET + upgrade + b"\r\n"))
    assert answer.status_code == 200
    assert len(service.words().splitlines()) == before + 1  # its access line


def drip(connection: socket.socket, stopped: threading.Event) -> None:
    """A byte now and then, for as long as it is taken."""
    try:
        while not stopped.wait(0.1):
            connection.sendall(b"a")
    except OSError:
        pass


SLOW = {
    "half a head": (GET + b"X-A: ", 408),
    "half a request line": (b"GET /hea", 408),
    "half a body": (POST + LENGTH + b"\r\n" + BODY[:5], 408),
    "half a chunk": (POST + CHUNKED + b"\r\n20\r\n" + BODY[:5], 408),
    "a chunk too large to come": (POST + CHUNKED + b"\r\nffffffff\r\n{}", 408),
    "nothing but line ends": (b"\r\n", 400),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("sent", "status"), SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("dripping", [False, True])
def test_who_is_slow_is_cut_off(service: Served, sent: bytes, status: int, dripping: bool) -> None:
    stopped = threading.Event()
    with service.connect() as connection:
        began = time.monotonic()
        connection.sendall(sent)
        dripper = threading.Thread(target=drip, args=(connection, stopped))
        if dripping:
            dripper.start()
        received = read_all(connection)
        took = time.monotonic() - began
        stopped.set()
        if dripping:
            dripper.join()
    assert took < RECEIVE_S * 5
    # The answer may be lost where more bytes were on their way when the connection was closed.
    if received or not dripping:
        assert check_refused(received, status).code in {"request_too_slow", "bad_request"}


def test_a_large_body_is_waited_for_while_it_comes(service: Served) -> None:
    line = b"x" * 1023 + b"\n"
    head = b"POST /datasets HTTP/1.1\r\n" + HOST + CLOSE + b"Content-Type: text/csv\r\n"
    with service.connect() as connection:
        began = time.monotonic()
        connection.sendall(head + b"Content-Length: %d\r\n\r\na\n" % (2 + 16 * 128 * 1024))
        for _ in range(16):
            connection.sendall(line * 128)
            time.sleep(RECEIVE_S / 7)
        assert time.monotonic() - began > RECEIVE_S * 2
        (answer,) = answers_in(read_all(connection))
    assert answer.status_code == 201, answer.text


def test_who_says_nothing_is_let_go(service: Served) -> None:
    began = time.monotonic()
    assert service.exchange() == b""
    assert time.monotonic() - began < RECEIVE_S * 5


def test_many_who_are_slow_keep_nobody_waiting(service: Served) -> None:
    crowd = [service.connect() for _ in range(200)]
    try:
        for number, connection in enumerate(crowd):
            connection.sendall([GET + b"X-A: ", POST + LENGTH + b"\r\n{", b"G"][number % 3])
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            assert service.healthy()
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2
        for connection in crowd:
            read_all(connection)
    finally:
        for connection in crowd:
            connection.close()


def test_an_answer_may_take_longer_than_a_request(service: Served) -> None:
    body = json.dumps({"model": "demo", "prompt": "nobody does this"}).encode()
    head = POST + CLOSE + b"Prefer: wait=3\r\nContent-Length: %d\r\n\r\n" % len(body)
    began = time.monotonic()
    (answer,) = answers_in(service.exchange(head + body))
    assert answer.status_code == 202
    assert time.monotonic() - began > RECEIVE_S * 2


def test_a_connection_may_live_longer_than_a_request(service: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    with closing(connection):
        connection.connect()
        first = connection.sock
        for _ in range(4):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
            time.sleep(RECEIVE_S / 2)
        assert connection.sock is first


@pytest.mark.parametrize("path", [b"/infer/tokenize", b"/nowhere", b"/jobs"])
def test_a_body_without_end_is_not_listened_to(service: Served, path: bytes) -> None:
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n" + CHUNKED + b"\r\n"
    sent, began = 0, time.monotonic()
    with service.connect() as connection:
        connection.sendall(head)
        try:
            while time.monotonic() - began < 10:
                connection.sendall(b"10000\r\n" + b"[" * 0x10000 + b"\r\n")
                sent += 1
                time.sleep(0.001)
        except OSError:
            pass
    assert time.monotonic() - began < RECEIVE_S * 5
    assert service.healthy()


def test_more_than_was_announced_is_another_request(service: Served) -> None:
    first, second = answers_in(service.exchange(POST + b"Content-Length: 2\r\n\r\n{}garbage\r\n\r\n"))
    assert first.status_code == 422
    assert second.status_code == 400


@pytest.mark.parametrize("leave", [socket.SHUT_WR, None])
def test_who_leaves_midway_harms_nobody(service: Served, leave: int | None) -> None:
    for _ in range(20):
        with service.connect() as connection:
            connection.sendall(POST + LENGTH + b"\r\n" + BODY[:5])
            if leave is not None:
                connection.shutdown(leave)
    assert service.healthy()
    assert "Traceback" not in service.words()
    assert '"level": "ERROR"' not in service.words()


def test_the_log_stays_one_line_each(service: Served) -> None:
    odd: list[Callable[[], bytes]] = [
        lambda: service.exchange(b"GET /a%0ainjected%0d%0aline HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"),
        lambda: service.exchange(GET + b"X-Request-Id: a%0ainjected\r\n" + CLOSE + b"\r\n"),
        lambda: service.exchange(b"GET /\xe2\x80\xa8 HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"),
    ]
    for send in odd:
        send()
    lines = service.words().splitlines()
    assert [line for line in lines if not line.startswith("{")] == []
    for line in lines:
        json.loads(line)
