"""Requests handed to an application as uvicorn hands them on, byte by byte: no client's library tidies them up."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx
from fastapi import FastAPI

# No answer takes longer, or the service hangs.
ANSWER_S = 15.0


@dataclass(frozen=True)
class Raw:
    """Sends raw requests to an application that is up."""

    app: FastAPI

    async def __call__(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes = b"",
    ) -> httpx.Response:
        """The answer to a request with this path and query, as they travel, and these headers, named in lower case."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": list(headers) if b"host" in dict(headers) else [(b"host", b"localhost"), *headers],
            "state": {},
        }
        received: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Any] = []
        never = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if not received:
                await never.wait()
            return received.pop()

        async def send(message: Any) -> None:
            sent.append(message)

        await asyncio.wait_for(self.app(scope, receive, send), ANSWER_S)
        content = b"".join(message.get("body", b"") for message in sent[1:])
        answer = httpx.Response(sent[0]["status"], headers=sent[0]["headers"], stream=httpx.ByteStream(content))
        await answer.aread()
        return answer
