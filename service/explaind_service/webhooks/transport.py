"""Webhook transport: one POST to a checked destination, and its response.

httpcore alone, not httpx: it follows no redirect, keeps no cookie and ignores proxy variables.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import httpcore
import httpx
from httpcore import SOCKET_OPTION, AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream

from explaind_service.webhooks.ssrf_guard import Destination

MAX_ANSWER_BYTES = 4096
GLANCE_S = 1.0
MAX_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """The receiver's response."""

    status: int
    retry_after: str | None


class PinnedBackend(AsyncNetworkBackend):
    """Network backend that connects to the addresses of one destination only. TLS and Host use the name as usual."""

    def __init__(self, destination: Destination, inner: AsyncNetworkBackend) -> None:
        self._addresses = destination.addresses[:MAX_ADDRESSES]
        self._port = destination.port
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """A connection to the first address that accepts one; the name is not resolved again.

        Raises:
            httpcore.ConnectError, httpcore.ConnectTimeout: no address accepted.
        """
        share = None if timeout is None else timeout / len(self._addresses)
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._addresses:
            try:
                return await self._inner.connect_tcp(
                    address, self._port, timeout=share, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Refuses: a unix socket is never a destination."""
        raise httpcore.ConnectError(f"{path} is not the destination")

    async def sleep(self, seconds: float) -> None:
        """Sleeps."""
        await self._inner.sleep(seconds)


class WebhookTransport:
    """Sends messages, each over a new connection."""

    def __init__(
        self, timeout_s: float, ssl_context: ssl.SSLContext | None = None, backend: AsyncNetworkBackend | None = None
    ) -> None:
        """Without a context, certificates are verified as in httpx: against certifi's roots, or SSL_CERT_FILE's."""
        self._timeout_s = timeout_s
        self._given_context = ssl_context
        self._backend = backend

    async def post(self, destination: Destination, headers: Mapping[str, str], body: bytes) -> Answer:
        """Sends the body and reads the response, all within the timeout.

        Raises:
            TimeoutError, httpcore.TimeoutException: it took longer.
            httpcore.NetworkError, httpcore.ProtocolError: no connection, a broken one, or a non-HTTP response.
        """
        url = destination.url
        lines = [(name.encode(), value.encode()) for name, value in {"Host": url.netloc.decode(), **headers}.items()]
        phase = self._timeout_s
        timeouts = {"connect": phase, "read": phase, "write": phase, "pool": phase}
        async with (
            asyncio.timeout(self._timeout_s),
            httpcore.AsyncConnectionPool(
                ssl_context=self._ssl_context,
                max_keepalive_connections=0,
                network_backend=PinnedBackend(destination, self._backend or AnyIOBackend()),
            ) as pool,
            pool.stream("POST", _target(url), headers=lines, content=body, extensions={"timeout": timeouts}) as answer,
        ):
            await _glance(answer)
            found = {name.lower(): value for name, value in answer.headers}
            return Answer(answer.status, found.get(b"retry-after", b"").decode("latin-1") or None)

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return self._given_context or httpx.create_ssl_context()


async def _glance(answer: httpcore.Response) -> None:
    """Reads a little of the body, so that a receiver writing a short one is not cut off; only the status matters."""
    read = 0
    with contextlib.suppress(TimeoutError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        async with asyncio.timeout(GLANCE_S):
            async for part in answer.aiter_stream():
                read += len(part)
                if read >= MAX_ANSWER_BYTES:
                    return


def _target(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
