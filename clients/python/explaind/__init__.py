"""explaind: why did the language model say that? The client of the explanation service.

>>> from explaind import Client
>>> with Client() as client:
...     client.explain.shap(model="demo", prompt="Review: The food was great. Sentiment:", target=" positive")

Everything loads when it is first used: importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from explaind.contract.display import DISPLAY

if TYPE_CHECKING:
    from explaind._async.client import AsyncClient
    from explaind._sync.client import Client
    from explaind.contract.errors import (
        CapacityError,
        ClientError,
        ConnectionFailed,
        ExplaindError,
        InvalidRequest,
        JobCancelled,
        JobError,
        JobNotFinished,
        JobNotFound,
        NotFound,
        NotPermitted,
        QueueFull,
        RateLimited,
        RequestError,
        StoreUnavailable,
        Unauthenticated,
        UnexpectedResponse,
        UnknownMethod,
        UnknownModel,
        WaitTimeout,
        WebhookNotVerified,
    )
    from explaind.protocol.events import JobEvent

    __version__: str

__all__ = [
    "AsyncClient",
    "CapacityError",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "ExplaindError",
    "InvalidRequest",
    "JobCancelled",
    "JobError",
    "JobEvent",
    "JobNotFinished",
    "JobNotFound",
    "NotFound",
    "NotPermitted",
    "QueueFull",
    "RateLimited",
    "RequestError",
    "StoreUnavailable",
    "Unauthenticated",
    "UnexpectedResponse",
    "UnknownMethod",
    "UnknownModel",
    "WaitTimeout",
    "WebhookNotVerified",
    "__version__",
]

_HOMES = {
    "Client": "explaind._sync.client",
    "AsyncClient": "explaind._async.client",
    "JobEvent": "explaind.protocol.events",
}


def _notebook_html(result: object) -> str:
    """Draws a result; the views are loaded when the first one is displayed."""
    return import_module("explaind.views.registry").notebook_html(result)


DISPLAY.renderer = _notebook_html


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        value = import_module("explaind.protocol.config").package_version()
    else:
        value = getattr(import_module(_HOMES.get(name, "explaind.contract.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
