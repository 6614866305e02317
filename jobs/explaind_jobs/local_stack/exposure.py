"""Listening address of the API: loopback unless API keys are required, on a free port."""

import ipaddress
import socket
import sys

from explaind.contract.errors import StoreUnavailable
from explaind_jobs.keys import scripts
from explaind_jobs.local_stack.redis_server import StackError
from explaind_jobs.redis_scripts.connection import redis_from
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore

OPEN_HOST_WARNING = "explaind listens on {host} and asks nobody for a key: whoever reaches it may use it."
UNKNOWN_KEYS_WARNING = (
    "Redis does not answer, so nobody knows whether there are API keys. explaind listens on {host} and refuses "
    "whoever shows none."
)


def is_loopback(host: str) -> bool:
    """Whether a host (a name, or an address with or without brackets) is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_exposure(settings: JobsSettings, host: str, *, allow_anonymous: bool) -> str | None:
    """Refuses to expose a service that requires no API key; returns a warning, if there is one.

    Raises:
        StackError: `host` is not loopback, no key was ever made, and that was not allowed explicitly.
    """
    if is_loopback(host):
        return None
    try:
        if keys_are_asked_for(settings):
            return None
    except StoreUnavailable:
        return UNKNOWN_KEYS_WARNING.format(host=host)
    if allow_anonymous:
        return OPEN_HOST_WARNING.format(host=host)
    raise StackError(
        f"--host {host} would open explaind to others, and there is no API key yet. Make one by `explaind keys create "
        "--name NAME` (while `explaind up` runs on 127.0.0.1, or with the same EXPLAIND_REDIS_URL); or set "
        "EXPLAIND_ALLOW_ANONYMOUS=1 where the network is closed, say in a container."
    )


def keys_are_asked_for(settings: JobsSettings) -> bool:
    """Whether a key was ever made for the jobs in this Redis.

    Raises:
        StoreUnavailable: it does not answer.
    """
    with redis_from(settings) as client:
        return JobStore(client, settings).run(scripts.look_up("")).asked_for


def free_port(host: str, port: int) -> int:
    """The port, if free on that host; for 0 any free port.

    Raises:
        StackError: it is in use, or the host is not an address of this machine.
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
