"""Base URL, API key, User-Agent and the other httpx options of a client."""

import os
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from explaind.contract.errors import Unauthenticated
from explaind.protocol.exchange import Request

DEFAULT_URL = "http://127.0.0.1:8000"


def package_version() -> str:
    """The installed version; "0" if the sources are used without an installation."""
    try:
        return version("explaind")
    except PackageNotFoundError:
        return "0"


def http_options(base_url: str | None, api_key: str | None, timeout: float | None) -> dict[str, Any]:
    """The options of the httpx client, sync or async, for one service.

    Args:
        base_url: address of the service, else `EXPLAIND_URL`, else http://127.0.0.1:8000.
        api_key: sent as a bearer token, else `EXPLAIND_API_KEY`, else no key is sent.
        timeout: seconds that one exchange may take; None for no limit.

    Raises:
        Unauthenticated: the key contains invalid characters.
    """
    address = base_url or os.environ.get("EXPLAIND_URL") or DEFAULT_URL
    url = httpx.URL(address if "://" in address else f"http://{address}")
    key = (api_key or os.environ.get("EXPLAIND_API_KEY") or "").strip()
    if any(not "!" <= character <= "~" for character in key):
        # Not quoted: it may be a key with other pasted text.
        raise Unauthenticated(
            "The API key holds spaces or characters beyond ASCII, which no key does.",
            hint="Set EXPLAIND_API_KEY to the key alone: xp_, twelve characters, _, and the rest.",
        )
    headers = {"User-Agent": f"explaind-python/{package_version()}", "Accept": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return {
        "base_url": url,
        "headers": headers,
        "timeout": timeout,
        # No proxy for connections to this machine itself.
        "trust_env": url.host not in {"127.0.0.1", "localhost", "::1"},
    }


def http_request(
    http: httpx.Client | httpx.AsyncClient, request: Request, *, silence_s: float | None = None
) -> httpx.Request:
    """The httpx request; `silence_s` replaces the client's read timeout."""
    timeout = http.timeout
    if silence_s is not None:
        timeout = httpx.Timeout(connect=timeout.connect, read=silence_s, write=timeout.write, pool=timeout.pool)
    return http.build_request(
        request.method,
        request.path,
        params=dict(request.query),
        content=request.body,
        headers=dict(request.headers),
        timeout=timeout,
    )
