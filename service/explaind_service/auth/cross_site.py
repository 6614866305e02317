"""Where no key is asked for, a page of another site in this machine's browser must not be the one who asks."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from explaind.contract.errors import NotPermitted
from explaind_jobs.local_stack.exposure import is_loopback

HINT = (
    "Set EXPLAIND_ALLOWED_HOSTS to the names under which this service is reached, or make an API key "
    "(`explaind keys create`): whoever shows one may come from anywhere."
)


class CrossSiteGuard:
    """Lets in requests for a name of this service, from no page of another site.

    A page may make its own name resolve to 127.0.0.1 (DNS rebinding): then the Host header shows that name. One that
    simply sends a request across sites shows its name as Origin.

    Args:
        host: what the service listens on.
        allowed: further names; `*.example.org` stands for all below it, `*` for any.
    """

    def __init__(self, host: str, allowed: Sequence[str]) -> None:
        self._names = {host.lower(), *(name.lower() for name in allowed if not name.startswith("*"))}
        self._endings = tuple(name[1:].lower() for name in allowed if name.startswith("*."))
        self._any = "*" in allowed
        self._local = is_loopback(host)
        # A service that is open to a network on purpose is reached under names that it cannot know.
        self._checks_host = self._local or bool(allowed)

    def check(self, headers: Headers) -> None:
        """Raises NotPermitted for a request that another site may have sent."""
        host, origin = _name(f"//{headers.get('host', '')}"), headers.get("origin")
        if self._checks_host and not self._is_ours(host):
            raise NotPermitted(f"This service is not reached as {(host or '')[:100]!r}.", hint=HINT)
        if origin is not None:
            sender = _name(origin)
            if sender is None or not (sender == host or self._is_ours(sender)):
                raise NotPermitted(f"A page of another site ({origin[:100]!r}) sent this request.", hint=HINT)

    def _is_ours(self, name: str | None) -> bool:
        if self._any:
            return True
        if name is None:
            return False
        local = self._local and (is_loopback(name) or name.endswith(".localhost"))
        return local or name in self._names or name.endswith(self._endings)


def _name(url: str) -> str | None:
    try:
        return (urlsplit(url).hostname or "").rstrip(".") or None
    except ValueError:
        return None
