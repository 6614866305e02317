"""Finds the methods: every module of `explaind.contract.methods` that holds a `METHOD`."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from explaind.contract import methods
from explaind.contract.errors import UnknownMethod
from explaind.contract.estimate import Estimate
from explaind.contract.method import Method
from explaind.contract.near_miss import near_miss


@cache
def all_methods() -> Mapping[str, Method[..., Any]]:
    """Every method by its path, in order of path.

    Raises:
        TypeError: two modules name the same method, or a module holds none.
    """
    found: dict[str, Method[..., Any]] = {}
    for module_info in pkgutil.iter_modules(methods.__path__):
        module = importlib.import_module(f"{methods.__name__}.{module_info.name}")
        method = getattr(module, "METHOD", None)
        if not isinstance(method, Method):
            raise TypeError(f"{module.__name__} holds no METHOD.")
        if method.path in found:
            raise TypeError(f"Two modules name the method {method.path}.")
        found[method.path] = method
    return MappingProxyType(dict(sorted(found.items())))


@cache
def all_estimates() -> Mapping[str, Method[..., Any]]:
    """For every method the one that tells what it would cost, by path: `estimate/explain/shap`."""
    return MappingProxyType({found.path: found for found in map(_estimate, all_methods().values())})


def known_method(path: str) -> Method[..., Any] | None:
    """The method of that path, or the estimate of one; None where there is neither."""
    return all_methods().get(path) or all_estimates().get(path)


def find_method(path: str) -> Method[..., Any]:
    """The method of that path, or the estimate of one.

    Raises:
        UnknownMethod: there is none; the hint names the nearest.
    """
    found = known_method(path)
    if found is None:
        known = all_estimates() if path.startswith("estimate/") else all_methods()
        raise UnknownMethod(f"There is no method {path!r}.", hint=near_miss(path, known))
    return found


def _estimate(method: Method[..., Any]) -> Method[..., Any]:
    return Method(
        verb="estimate",
        name=method.path,
        title=f"Estimate: {method.title}",
        summary=f"What `POST /{method.path}` with this very body would cost: forwards, tokens, bytes and seconds.",
        params=method.params,
        result=Estimate,
        cost="no forward; where nothing has run on the model yet, a few to time it",
        example=method.example,
        version=method.version,
        estimates=method,
    )
