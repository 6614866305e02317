"""A receiver on this machine that answers as it is told, over TLS with a certificate of its own."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "hooks.example"
LOOPBACK = "127.0.0.1"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Receiver:
    """What came in, and what is answered: `answers` in turn, the last one again and again."""

    port: int = 0
    answers: list[bytes] = field(default_factory=lambda: [b"HTTP/1.1 204 No Content\r\n\r\n"])
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0
    silent: bool = False
    """Takes requests and answers nothing."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one connection."""
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.requests.append((line, headers, body))
            if self.silent:
                await reader.read()
            else:
                writer.write(self.answers[0] if len(self.answers) == 1 else self.answers.pop(0))
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass


@asynccontextmanager
async def _listening(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await serve(reader, writer)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)
        finally:
            writer.transport.abort()
            handlers.discard(task)

    server = await asyncio.start_server(handle, LOOPBACK, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0)


@pytest.fixture
def listening() -> Callable[..., AbstractAsyncContextManager[int]]:
    """Serves connections on this machine by a function, at the port that it gives."""
    return _listening


@asynccontextmanager
async def _receiving(context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with _listening(receiver.serve, context) as receiver.port:
        yield receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver over plain http."""
    async with _receiving() as receiver:
        yield receiver


@dataclass(frozen=True)
class Certificate:
    """A self-made certificate for `hooks.example`, and the two ends that know it."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Made once a session."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path: Path = tmp_path_factory.mktemp("tls") / "both.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    path.write_bytes(secret + public)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    client = ssl.create_default_context(cadata=public.decode())
    return Certificate(server, client)


@pytest.fixture
async def tls_receiver(certificate: Certificate) -> AsyncIterator[Receiver]:
    """A receiver over TLS, as `hooks.example`."""
    async with _receiving(certificate.server) as receiver:
        yield receiver


@dataclass
class Names:
    """A resolver that answers in turn, the last answer again and again; `asked` are the names."""

    answers: list[Sequence[str]] = field(default_factory=lambda: [[LOOPBACK]])
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)


@pytest.fixture
def names() -> Names:
    """Everything is this machine, until told otherwise."""
    return Names()
