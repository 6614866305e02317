"""Generator of `explaind._async.methods`: the methods as attributes of a client, from the registry."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from explaind.contract.method import Method
from explaind.contract.registry import all_methods
from tools.python_source import formatted
from tools.request_forms import keywords_name

PATH = "clients/python/explaind/_async/methods.py"

_HEAD = '''# Generated from explaind/contract/methods by `make generate`.
"""The methods as attributes of a client."""

from explaind._async.driver import AsyncFlowDriver
from explaind._async.jobs import AsyncMethodCall'''


def rendered_methods() -> str:
    """The module's source: a class per verb, and `AsyncMethods` over all verbs."""
    methods = all_methods().values()  # sorted by path
    by_verb = {verb: list(group) for verb, group in groupby(methods, key=lambda method: method.verb)}
    imports = [f"from {method.params_model.__module__} import METHOD as {_constant(method)}" for method in methods]
    imports.append("from explaind.protocol.method_group import MethodGroup")
    imports.append(
        f"from explaind.protocol.request_keywords import called_as, {', '.join(map(keywords_name, methods))}"
    )
    classes = [line for verb, group in by_verb.items() for line in _verb_class(verb, group)]
    return formatted("\n".join([_HEAD, *imports, *classes, *_root_class(list(by_verb))]), PATH)


def _constant(method: Method[..., Any]) -> str:
    return f"{method.verb}_{_attribute(method)}".upper()


def _attribute(method: Method[..., Any]) -> str:
    return method.name.replace("-", "_")


def _verb_class(verb: str, methods: list[Method[..., Any]]) -> Iterator[str]:
    yield f"class Async{verb.capitalize()}(MethodGroup):"
    yield f'    """The methods of /{verb}."""'
    yield "    def __init__(self, driver: AsyncFlowDriver) -> None:"
    for method in methods:
        typed = f"called_as({keywords_name(method)}, {_constant(method)})"
        yield f"        self.{_attribute(method)} = AsyncMethodCall(driver, {typed})"


def _root_class(verbs: list[str]) -> Iterator[str]:
    yield "class AsyncMethods:"
    yield '    """Every method under its verb."""'
    yield "    def __init__(self, driver: AsyncFlowDriver) -> None:"
    for verb in verbs:
        yield f"        self.{verb} = Async{verb.capitalize()}(driver)"
