"""Finds the methods: the module `explaind.contract.methods.VERB.NAME` holds the `METHOD` of `/VERB/NAME`."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from explaind.contract import methods
from explaind.contract.errors import UnknownMethod
from explaind.contract.estimate import Estimate
from explaind.contract.method import Method


@cache
def all_methods() -> Mapping[str, Method[..., Any]]:
    """Every method by its path, in order of path.

    Raises:
        TypeError: a module holds no method, or one of another path than its own.
    """
    found: dict[str, Method[..., Any]] = {}
    for module_info in pkgutil.walk_packages(methods.__path__, f"{methods.__name__}."):
        module = importlib.import_module(module_info.name)
        if module_info.ispkg:
            continue
        method = getattr(module, "METHOD", None)
        if not isinstance(method, Method):
            raise TypeError(f"{module.__name__} holds no METHOD.")
        if f"{methods.__name__}.{method.module}" != module.__name__:
            raise TypeError(f"{module.__name__} holds the method {method.path}, which belongs in {method.module}.")
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


def near_miss(word: str, known: Iterable[str], *, otherwise: Iterable[str] | None = None) -> str:
    """What to say to someone who asked for `word`: the nearest of `known`, or all of them, or those of `otherwise`."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(repr(n) for n in near)}?"
    return f"There are: {', '.join(names if otherwise is None else sorted(otherwise))}."


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
