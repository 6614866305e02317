"""Host and Origin checks against DNS rebinding and cross-site requests, for services without API keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from explaind.contract.errors import NotPermitted
from explaind_jobs.local_stack.exposure import is_loopback

HINT = (
    "Set EXPLAIND_ALLOWED_HOSTS to the names under which this service is reached, or make an API key "
    "(`explaind keys create`): whoever shows one may come from anywhere."
)
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Origin of a page; `port` is None if not written."""

    scheme: str
    name: str
    port: int | None

    @property
    def at(self) -> tuple[str, int | None]:
        """Host name and effective port."""
        return self.name, DEFAULT_PORTS.get(self.scheme) if self.port is None else self.port


class CrossSiteGuard:
    """Accepts requests for a name of this service that no page of another origin (scheme, name, port) has sent.

    A page may make its own name resolve to 127.0.0.1 (DNS rebinding): then the Host header contains that name. A plain
    cross-site request carries the page's Origin; a page on another port of this machine is another origin, too.

    Args:
        host: listening address of the service.
        allowed: further names; `*.example.org` stands for all its subdomains, `*` for any.
    """

    def __init__(self, host: str, allowed: Sequence[str]) -> None:
        self._allowed = {name.lower() for name in allowed if not name.startswith("*")}
        self._names = {host.lower(), *self._allowed}
        self._endings = tuple(name[1:].lower() for name in allowed if name.startswith("*."))
        self._any = "*" in allowed
        self._local = is_loopback(host)
        # A service exposed to a network on purpose is reached under names that it cannot know.
        self._checks_host = self._local or bool(allowed)

    def check(self, headers: Headers, scheme: str | None = None, method: str = "GET") -> None:
        """Refuses a request that another site may have sent; `scheme` is that of the request, where it is known.

        A form of another site can send a file without asking first. Where a browser leaves its Origin out, what changes
        something is held to Sec-Fetch-Site and Referer; following a link, which changes nothing, is not.

        Raises:
            NotPermitted: it is for another name, or a page of another origin sent it.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        reached = _origin(f"{scheme or 'http'}://{host}")
        if self._checks_host and not (reached and self._is_ours(reached.name)) and not self._any:
            shown = reached.name if reached else ""
            raise NotPermitted(f"This service is not reached as {shown[:100]!r}.", hint=HINT)
        if origin is not None and not self._any and not self._is_own(_origin(origin), reached, scheme):
            raise NotPermitted(f"A page of another site ({origin[:100]!r}) sent this request.", hint=HINT)
        if (
            origin is None
            and method not in SAFE
            and not self._any
            and self._comes_from_elsewhere(headers, reached, scheme)
        ):
            raise NotPermitted("A page of another site sent this request.", hint=HINT)

    def _comes_from_elsewhere(self, headers: Headers, reached: Origin | None, scheme: str | None) -> bool:
        referer = headers.get("referer")
        if referer is not None:
            return not self._is_own(_origin(referer), reached, scheme)
        return headers.get("sec-fetch-site", "none").strip().lower() not in {"none", "same-origin"}

    def _is_own(self, sender: Origin | None, reached: Origin | None, scheme: str | None) -> bool:
        if sender is None or sender.scheme not in DEFAULT_PORTS:
            return False
        # A proxy may terminate TLS or rewrite Host: its names are listed in `allowed`.
        named = sender.name in self._allowed or sender.name.endswith(self._endings)
        if named and sender.at[1] == DEFAULT_PORTS[sender.scheme]:
            return True
        if reached is None or not (named or scheme is None or sender.scheme == scheme):
            return False
        return sender.at == Origin(sender.scheme, reached.name, reached.port).at

    def _is_ours(self, name: str) -> bool:
        local = self._local and (is_loopback(name) or name.endswith(".localhost"))
        return local or name in self._names or name.endswith(self._endings)


def _origin(url: str) -> Origin | None:
    """The origin of a URL; None if it has none."""
    try:
        parts = urlsplit(url)
        name, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    return Origin(parts.scheme.lower(), name, port) if name else None
