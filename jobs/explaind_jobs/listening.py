"""Where the embedded API listens: on this machine only, on a port that is free."""

import contextlib
import ipaddress
import socket
import sys

from explaind_jobs.server import StackError

OPEN_HOST_WARNING = "explaind listens on {host} and asks nobody for a key: whoever reaches it may use it."


def refuse_open_host(host: str, allow_anonymous: bool) -> bool:
    """Only this machine may use a service that asks for no key; True when others may by explicit wish.

    Raises:
        StackError: `host` is not loopback, and that was not allowed explicitly.
    """
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return False
    if host == "localhost":
        return False
    if not allow_anonymous:
        raise StackError(
            f"--host {host} would open explaind to others, and it does not ask for access keys yet. Use "
            "127.0.0.1 behind a proxy that does, or set EXPLAIND_ALLOW_ANONYMOUS=1 where the network is "
            "closed, say in a container."
        )
    return True


def free_port(host: str, port: int) -> int:
    """The port, if it is free on that host; for 0 one that is.

    Raises:
        StackError: it is in use, or the host is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise StackError(
            f"Port {port} on {host} cannot be used: {error.strerror}. Choose another by --port (0 takes a free one)."
        ) from error
