"""Bounded requests to the hub: they give up within seconds; huggingface_hub's own retries take up to a minute."""

import os
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import huggingface_hub
from huggingface_hub.utils import hf_raise_for_status
from huggingface_hub.utils._http import default_client_factory

from explaind_worker.hub.causes import Cause, NotFetched, named, seconds_to_wait

MOST_FAILURES = 3  # consecutive failures of one request; a timeout counts twice
MOST_OPENINGS = 3  # of one file, without a byte received
LONGEST_WAIT_S = 3.0  # that a response may ask for
TIMEOUT_S = 5.0  # to connect, and between two pieces of a response
TRY_AGAIN = {408, 429, 500, 502, 503, 504}


class GaveUp(Exception):
    """The hub did not answer, or failed, several times; the last reason is its `__cause__`."""


class BoundedRequests:
    """Bounds every request of huggingface_hub in this process, from its construction on."""

    def __init__(self) -> None:
        self._failures, self._openings = _Counts(), _Counts()
        huggingface_hub.set_client_factory(self._client)

    def advanced(self) -> None:
        """Resets the counts of openings, as bytes of a file have arrived: it may be resumed as often again."""
        self._openings.clear()

    def _client(self) -> Any:
        client: Any = default_client_factory()
        send = client.send

        def bounded(request: Any, **options: Any) -> Any:
            return self._sent(send, request, options)

        client.send = bounded
        return client

    def _sent(self, send: Callable[..., Any], request: Any, options: dict[str, Any]) -> Any:
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), _timeout())
        key = f"{request.method} {request.url.copy_with(query=None)}"
        try:
            response = send(request, **options)
        except Exception as error:
            weight = 2 if named(error, "TimeoutException") else 1
            if named(error, "TransportError") and self._failures.add(key, weight) >= MOST_FAILURES:
                raise GaveUp(str(error)) from error
            raise
        if response.status_code not in TRY_AGAIN:
            self._failures.reset(key)
            if options.get("stream") and self._openings.add(key, 1) > MOST_OPENINGS:
                response.close()
                raise NotFetched(Cause.BROKEN_OFF, "the connection broke again and again")
        elif (seconds_to_wait(response.headers) or 0) > LONGEST_WAIT_S or self._failures.add(key, 1) >= MOST_FAILURES:
            _give_up(response)
        return response


class _Counts:
    """Thread-safe counters by request."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, key: str, weight: int) -> int:
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + weight
            return self._counts[key]

    def reset(self, key: str) -> None:
        with self._lock:
            self._counts.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._counts.clear()


def _timeout() -> float:
    given = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
    return float(given) if given.isdecimal() else TIMEOUT_S


def _give_up(response: Any) -> NoReturn:
    try:
        response.read()
        hf_raise_for_status(response)
    except Exception as error:
        raise GaveUp(str(error)) from error
    finally:
        response.close()
    raise GaveUp(f"status {response.status_code}")
