"""Authentication middleware: identifies the caller before the body is read; `OPEN_PATHS` are exempt."""

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from explaind.contract.errors import ExplaindError, Unauthenticated
from explaind_jobs.keys.key_format import id_of_key
from explaind_jobs.local_stack.exposure import is_loopback
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_service.api_docs.page import PATHS
from explaind_service.auth.caller import ANYBODY, Caller
from explaind_service.auth.cross_site import CrossSiteGuard
from explaind_service.auth.key_verifier import HOW, KeyVerifier
from explaind_service.errors.problems import problem_response
from explaind_service.settings import ServiceSettings

# Monitoring must learn that the store is down: a recently verified scraper may continue meanwhile.
WATCHED = "/metrics"
WATCHED_OUTLASTS_S = 900.0
# They reveal nothing about jobs. Every other path requires authentication, even where no route exists.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/openapi.json"}) | PATHS


class Authenticator:
    """Identifies the caller of a request."""

    def __init__(self, settings: ServiceSettings, store: AsyncJobStore, pepper: bytes) -> None:
        self._ring = KeyVerifier(store, pepper)
        self._sites = CrossSiteGuard(settings.host, settings.allowed_hosts)
        self._always = not (is_loopback(settings.host) or settings.allow_anonymous)

    async def caller(self, headers: Headers, path: str, scheme: str | None = None, method: str = "GET") -> Caller:
        """The holder of the key that was sent; anybody while no key is asked for. `scheme`, `method`: the request's.

        Raises:
            Unauthenticated: a key is asked for, and none that works was sent.
            NotPermitted: no key is asked for, but a page of another site may have sent this.
            StoreUnavailable: nobody can tell.
        """
        presented = _bearer(headers)
        outlast_s = WATCHED_OUTLASTS_S if path == WATCHED else 0.0
        known = await self._ring.look_up(id_of_key(presented) or "", outlast_s=outlast_s)
        if not (known.asked_for or self._always):
            self._sites.check(headers, scheme, method)
            return ANYBODY
        if not presented:
            raise Unauthenticated("This service asks for an API key, and none was sent.", hint=HOW)
        try:
            key = self._ring.verified(presented, known)
        except Unauthenticated:
            await self._ring.even_out(known)
            raise
        return Caller(key.id, key.scopes, key.allowance)


class AuthenticationMiddleware:
    """Authenticates each request before the application sees it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            access: Authenticator = scope["app"].state.resources.access
            try:
                scheme, method = scope.get("scheme", "http"), scope["method"]
                caller = await access.caller(Headers(scope=scope), scope["path"], scheme, method)
                scope.setdefault("state", {})["caller"] = caller
            except ExplaindError as error:
                await problem_response(error, Request(scope))(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
