"""Outermost middleware: request id on every response and log line, request metrics, Content-Length limit, logging of
unexpected errors.
"""

import logging
import re
import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from explaind.contract.errors import RequestError
from explaind_jobs.observability.log_context import log_context
from explaind_jobs.observability.logs import described
from explaind_jobs.observability.tracing import trace_id_of
from explaind_service.body_limits import BodyLimits
from explaind_service.errors.problems import problem_response, unexpected
from explaind_service.middleware.request_metrics import RequestWatch, Seen
from explaind_service.middleware.trace_context import current_trace

logger = logging.getLogger(__name__)

# Each unknown parameter is a separate error; proxies in front of the service add some headers.
MOST_PARAMETERS, MOST_HEADERS = 100, 200
ACCEPTED_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class RequestEnvelope:
    """Wraps the whole application, including the framework's own error responses."""

    def __init__(self, app: ASGIApp, limits: BodyLimits, watch: RequestWatch) -> None:
        self.app = app
        self.watch = watch
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, trace = _request_id(Headers(scope=scope)), current_trace()
        scope.setdefault("state", {}).update(request_id=request_id, trace=trace)
        with log_context(request_id=request_id, trace_id=trace_id_of(trace)), self.watch.watch(scope) as seen:
            await self._answer(scope, receive, send, seen)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, seen: Seen) -> None:
        headers, request_id = Headers(scope=scope), scope["state"]["request_id"]

        async def send_sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                _seal(MutableHeaders(scope=message), request_id)
            await send(message)

        if _announced_bytes(headers) > self.limits.of(scope["path"]):
            # For an announced length the framework would answer in plain text; this problem explains the limit.
            refusal = problem_response(self.limits.refusal(scope["path"]), Request(scope))
            refusal.headers["Connection"] = "close"
            await refusal(scope, receive, send_sealed)
            return
        if "transfer-encoding" in headers and "content-length" in headers:
            refusal = problem_response(_two_lengths(), Request(scope))
            refusal.headers["Connection"] = "close"
            await refusal(scope, receive, send_sealed)
            return
        if scope["query_string"].count(b"&") >= MOST_PARAMETERS or len(scope["headers"]) > MOST_HEADERS:
            await problem_response(_too_many_words(), Request(scope))(scope, receive, send_sealed)
            return
        try:
            await self.app(scope, receive, send_sealed)
        except Exception as error:
            log_unexpected(error, request_id)
            if seen.status is None:
                await problem_response(unexpected(), Request(scope))(scope, receive, send_sealed)


def _two_lengths() -> RequestError:
    # A proxy may have used the other length: then what follows is not the body that was sent (request smuggling).
    return RequestError(
        "The request has both a Content-Length and a Transfer-Encoding, so its end is in doubt.",
        hint="Send one of the two.",
    )


def _too_many_words() -> RequestError:
    return RequestError(
        f"The request has more than {MOST_PARAMETERS} query parameters or {MOST_HEADERS} headers.",
        hint="GET /openapi.json describes the few that each operation takes.",
    )


def log_unexpected(error: Exception, request_id: str) -> None:
    """Logs what failed and where, without the error's message, which may quote the request."""
    logger.error("Request %s failed: %s", request_id, described(error))


def _request_id(headers: Mapping[str, str]) -> str:
    asked = headers.get("x-request-id", "")
    return asked if ACCEPTED_ID.fullmatch(asked) else f"req_{secrets.token_hex(12)}"


def _announced_bytes(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "")
    # More digits are never honest, and int() of thousands of them is slow.
    return int(length[:18]) if length.isascii() and length.isdigit() else 0


def _seal(headers: MutableHeaders, request_id: str) -> None:
    headers["X-Request-Id"] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    # Responses contain prompts: no cache on the way may keep them.
    headers.setdefault("Cache-Control", "no-store")
