"""SSRF guard of webhooks: a caller's URL must not make the service reach what the caller cannot.

Checked twice: cheaply when a job is submitted, and fully, with the name resolved, each time a message goes out. The
connection goes to the addresses that were checked; the name is not resolved again.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

import httpx

from explaind.contract.errors import InvalidRequest
from explaind.contract.webhook import checked_url
from explaind_service.webhooks.addresses import Address, is_public, unwrapped

POINTER = "/webhook/url"
HTTPS_PORT = 443
HINT = "Give an https URL on port 443 whose host is on the public Internet."
ASK = "Whoever runs the service may allow more by EXPLAIND_WEBHOOK_ALLOWED_NETWORKS."

NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_][a-z0-9_-]{0,62})*\Z")
NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
# Names without meaning on the public Internet.
LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".onion")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolved(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, by the system's resolver.

    Raises:
        OSError: it has no address, or the resolver does not answer.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class Destination:
    """A checked destination: a URL, and the addresses of its host."""

    url: httpx.URL
    addresses: tuple[str, ...]

    @property
    def port(self) -> int:
        """The port of the URL, or the scheme's default."""
        return _port(self.url)

    @property
    def host(self) -> str:
        """The host name in DNS form."""
        return _host(self.url)


class WebhookGuard:
    """Checks which URLs may be reached."""

    def __init__(self, allowed_networks: Sequence[str] = (), resolve: Resolve = resolved) -> None:
        """`allowed_networks` may be reached although private, on any port and by plain http too."""
        self._allowed = [ip_network(network) for network in allowed_networks]
        self._resolve = resolve

    def check_url(self, url: str) -> httpx.URL:
        """The normalized URL, if it passes all checks that need no DNS look-up.

        Raises:
            InvalidRequest: it does not; names the field and the reason.
        """
        parsed = _parsed(url)
        address = _literal(_host(parsed))
        if address is not None:
            self._check_addresses(parsed, [address])
        elif not self._allowed:
            _check_name(_host(parsed))
            _check_way(parsed)
        return parsed

    async def destination(self, url: str) -> Destination:
        """The URL with the checked addresses of its host.

        Raises:
            InvalidRequest: the URL, or one of the addresses, may not be reached.
            OSError: the name cannot be resolved now.
        """
        parsed = self.check_url(url)
        address = _literal(_host(parsed))
        if address is not None:
            return Destination(parsed, (str(address),))
        found = await self._resolve(_host(parsed), _port(parsed))
        addresses = [ip_address(each) for each in found]
        if not addresses:
            raise OSError("the name has no address")
        self._check_addresses(parsed, addresses)
        return Destination(parsed, tuple(str(each) for each in addresses))

    def _check_addresses(self, url: httpx.URL, addresses: Sequence[Address]) -> None:
        if all(self._is_allowed(each) for each in addresses):
            return
        _check_way(url)
        if not all(is_public(each) or self._is_allowed(each) for each in addresses):
            raise _refused("The host's address is not a public one.", hint=f"{HINT} {ASK}")

    def _is_allowed(self, address: Address) -> bool:
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            return False
        inner = unwrapped(address)
        return any(address in network or inner in network for network in self._allowed)


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(checked_url(url))
    except (ValueError, httpx.InvalidURL) as error:
        raise _refused(str(error)) from error
    if _literal(_host(parsed)) is None:
        _check_spelling(_host(parsed))
    return parsed


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _check_spelling(name: str) -> None:
    if not NAME.match(name):
        raise _refused("The host is not a name of the DNS.")
    if NUMBER.match(name.rpartition(".")[2]):
        # The system's resolver takes 2130706433, 0x7f.1 and 127.1 for 127.0.0.1.
        raise _refused("The host is a number, but not an address in full.")


def _check_name(name: str) -> None:
    if "." not in name or name.endswith(LOCAL_SUFFIXES):
        raise _refused(f"The host '{name[:64]}' is not a name of the public Internet.", hint=f"{HINT} {ASK}")


def _check_way(url: httpx.URL) -> None:
    if url.scheme != "https":
        raise _refused("A webhook's URL begins with https://.", hint=f"{HINT} {ASK}")
    if _port(url) != HTTPS_PORT:
        raise _refused(f"Port {_port(url)} is not allowed.", hint=f"{HINT} {ASK}")


def _host(url: httpx.URL) -> str:
    # Not url.host: that would decode xn-- into Unicode.
    return url.raw_host.decode("ascii")


def _port(url: httpx.URL) -> int:
    return url.port or (HTTPS_PORT if url.scheme == "https" else 80)


def _refused(detail: str, hint: str = HINT) -> InvalidRequest:
    return InvalidRequest.at(POINTER, detail, hint=hint)
