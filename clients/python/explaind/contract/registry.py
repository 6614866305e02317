"""Registry of methods: the module `explaind.contract.methods.VERB.NAME` has the `METHOD` of `/VERB/NAME`."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from explaind.contract import methods
from explaind.contract.errors import UnknownMethod
from explaind.contract.estimate import ESTIMATE
from explaind.contract.method import Method
from explaind.contract.near_miss import near_miss


@cache
def all_methods() -> Mapping[str, Method[..., Any]]:
    """Every method by its path, in order of path.

    Raises:
        TypeError: a module has no method, or one with another path than its own.
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


def known_method(path: str) -> Method[..., Any] | None:
    """The method of that path (`explain/shap`), or its estimate (`estimate/explain/shap`); None if unknown."""
    verb, _, estimated = path.partition("/")
    if verb == ESTIMATE:
        method = all_methods().get(estimated)
        return None if method is None else method.estimate()
    return all_methods().get(path)


def find_method(path: str) -> Method[..., Any]:
    """The method of that path, or its estimate.

    Raises:
        UnknownMethod: the path is unknown; the hint names the nearest.
    """
    found = known_method(path)
    if found is None:
        raise UnknownMethod(
            f"There is no method {path!r}.", hint=near_miss(path, _paths(estimates=path.startswith(ESTIMATE)))
        )
    return found


def _paths(*, estimates: bool) -> list[str]:
    return [f"{ESTIMATE}/{path}" if estimates else path for path in all_methods()]
