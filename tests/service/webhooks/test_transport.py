"""The wire: one POST to a checked address, TLS and Host of the name, nothing followed, little read."""

import asyncio
import ssl
import time
from collections.abc import Iterable

import httpcore
import pytest
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

from explaind.contract.errors import InvalidRequest
from explaind_service.webhooks.ssrf_guard import WebhookGuard
from explaind_service.webhooks.transport import WebhookTransport

LOCAL = ["127.0.0.0/8"]
PUBLIC = "93.184.216.34"
BODY = b'{"type": "job.succeeded"}'


class Recorder(AsyncNetworkBackend):
    """Connects to this machine only, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        self.asked.append((host, port))
        if not host.startswith("127."):
            raise httpcore.ConnectError("out of reach")
        return await self._inner.connect_tcp(host, port, timeout=timeout)


async def send(guard: WebhookGuard, url: str, transport: WebhookTransport | None = None):
    return await (transport or WebhookTransport(5)).post(await guard.destination(url), {"X-Run": "7"}, BODY)


async def test_the_body_arrives_with_its_headers(receiver, names) -> None:
    answer = await send(WebhookGuard(LOCAL, names), f"http://hooks.example:{receiver.port}/a%20b?run=7&x=ü")
    assert answer.status == 204
    [(line, headers, body)] = receiver.requests
    assert line == "POST /a%20b?run=7&x=%C3%BC HTTP/1.1"
    assert (headers["host"], headers["x-run"]) == (f"hooks.example:{receiver.port}", "7")
    assert body == BODY
    assert names.asked == ["hooks.example"]


async def test_tls_speaks_of_the_name_and_the_wire_of_the_address(tls_receiver, names, certificate) -> None:
    backend = Recorder()
    transport = WebhookTransport(5, certificate.client, backend)
    answer = await send(WebhookGuard(LOCAL, names), f"https://hooks.example:{tls_receiver.port}/", transport)
    assert answer.status == 204
    assert backend.asked == [("127.0.0.1", tls_receiver.port)]
    assert tls_receiver.requests[0][1]["host"] == f"hooks.example:{tls_receiver.port}"


async def test_a_certificate_of_another_name_is_refused(tls_receiver, names, certificate) -> None:
    transport = WebhookTransport(5, certificate.client)
    with pytest.raises(httpcore.ConnectError, match="match"):
        await send(WebhookGuard(LOCAL, names), f"https://other.example:{tls_receiver.port}/", transport)
    assert tls_receiver.requests == []


async def test_a_certificate_nobody_vouches_for_is_refused(tls_receiver, names) -> None:
    with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await send(WebhookGuard(LOCAL, names), f"https://hooks.example:{tls_receiver.port}/")
    assert tls_receiver.requests == []


async def test_a_name_that_turns_private_is_never_reached(tls_receiver, names, certificate) -> None:
    """DNS rebinding: what was checked is what is connected to, and each look-up is checked anew."""
    names.answers = [[PUBLIC], ["127.0.0.1"]]
    backend = Recorder()
    transport = WebhookTransport(5, certificate.client, backend)
    guard = WebhookGuard(resolve=names)
    with pytest.raises(httpcore.ConnectError, match="out of reach"):
        await send(guard, "https://hooks.example/", transport)
    assert names.asked == ["hooks.example"], "a second look-up could have another answer"
    with pytest.raises(InvalidRequest, match="not a public one"):
        await send(guard, "https://hooks.example/", transport)
    assert backend.asked == [(PUBLIC, 443)]
    assert tls_receiver.connections == 0


async def test_the_next_address_is_tried(receiver, names) -> None:
    names.answers = [["127.0.0.2", "127.0.0.1"]]  # nobody listens on the first
    backend = Recorder()
    transport = WebhookTransport(5, backend=backend)
    answer = await send(WebhookGuard(LOCAL, names), f"http://hooks.example:{receiver.port}/", transport)
    assert answer.status == 204
    assert backend.asked == [("127.0.0.2", receiver.port), ("127.0.0.1", receiver.port)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(receiver, names, status: int) -> None:
    place = f"http://127.0.0.1:{receiver.port}/secret"
    receiver.answers = [f"HTTP/1.1 {status} Elsewhere\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()]
    answer = await send(WebhookGuard(LOCAL, names), f"http://hooks.example:{receiver.port}/first")
    assert answer.status == status
    assert [line for line, _, _ in receiver.requests] == ["POST /first HTTP/1.1"]


async def test_proxies_of_the_environment_are_ignored(receiver, names, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    answer = await send(WebhookGuard(LOCAL, names), f"http://hooks.example:{receiver.port}/x")
    assert answer.status == 204
    assert receiver.requests[0][0] == "POST /x HTTP/1.1", "a proxy would be given the whole URL"


async def test_little_of_the_answer_is_read(listening, names) -> None:
    sent, ended = 0, asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent += 65_536
        finally:
            ended.set()

    async with listening(flood) as port:
        answer = await send(WebhookGuard(LOCAL, names), f"http://hooks.example:{port}/")
        assert answer.status == 200
        await asyncio.wait_for(ended.wait(), 10)
    assert sent < 50_000_000, "what the buffers of the system hold, not the whole answer"


async def test_a_body_that_never_ends_is_left_and_its_status_counts(listening, names) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nx")
        await reader.read()

    async with listening(drip) as port:
        assert (await send(WebhookGuard(LOCAL, names), f"http://hooks.example:{port}/")).status == 202


async def test_silence_ends_within_the_timeout(receiver, names) -> None:
    receiver.silent = True
    began = time.perf_counter()
    with pytest.raises((TimeoutError, httpcore.TimeoutException)):
        await send(WebhookGuard(LOCAL, names), f"http://hooks.example:{receiver.port}/", WebhookTransport(0.2))
    assert time.perf_counter() - began < 3
    assert len(receiver.requests) == 1


async def test_headers_that_drip_end_within_the_timeout(listening, names) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Y: z\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with listening(drip) as port:
        began = time.perf_counter()
        with pytest.raises(TimeoutError):
            await send(WebhookGuard(LOCAL, names), f"http://hooks.example:{port}/", WebhookTransport(0.4))
        assert time.perf_counter() - began < 3


@pytest.mark.parametrize("answer", [b"no http at all\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000])
async def test_what_is_no_http_is_trouble(receiver, names, answer: bytes) -> None:
    receiver.answers = [answer]
    with pytest.raises((httpcore.ProtocolError, httpcore.NetworkError)):
        await send(WebhookGuard(LOCAL, names), f"http://hooks.example:{receiver.port}/")


async def test_retry_after_is_handed_on(receiver, names) -> None:
    receiver.answers = [b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n"]
    answer = await send(WebhookGuard(LOCAL, names), f"http://hooks.example:{receiver.port}/")
    assert (answer.status, answer.retry_after) == (503, "120")


async def test_no_socket_of_this_machine_is_a_destination(names) -> None:
    from explaind_service.webhooks.transport import PinnedBackend

    destination = await WebhookGuard(LOCAL, names).destination("http://hooks.example/")
    with pytest.raises(httpcore.ConnectError):
        await PinnedBackend(destination, Recorder()).connect_unix_socket("/var/run/docker.sock")


def test_certificates_are_verified_by_default() -> None:
    context = WebhookTransport(5)._ssl_context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
