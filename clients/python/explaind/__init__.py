"""explaind: why did the language model say that? The client of the explanation service.

>>> from explaind import Client
>>> with Client() as client:
...     client.explain.shap(model="demo", prompt="Review: The food was great. Sentiment:", target=" positive")

The package has the clients, the classes that requests and results are made of, and the errors. Everything loads when
it is first used: importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

from explaind._exports import HOMES
from explaind.contract.display import DISPLAY

__all__ = [*HOMES, "__version__"]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll] - see __init__.pyi


def _notebook_html(result: object) -> str:
    """Notebook HTML of a result; the views are loaded when the first one is displayed."""
    return import_module("explaind.views.registry").notebook_html(result)


def _summary(result: object) -> str:
    """A result in one line, for its `repr`."""
    return import_module("explaind.views.registry").summary_text(result)


DISPLAY.renderer = _notebook_html
DISPLAY.summary = _summary


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        value = import_module("explaind.protocol.config").package_version()
    else:
        value = getattr(import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
