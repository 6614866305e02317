"""Generator of the names of the package `explaind`: what a caller needs to write requests, read results, catch errors.

They are written twice: with their modules, from which the package loads each when it is first used, and as a stub for
type checkers.
"""

import sys
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from explaind.contract import catalogue, errors, estimate, files, job, webhook
from explaind.contract.base import ResponseModel
from explaind.contract.registry import all_methods
from tools.python_source import formatted
from tools.request_forms import DICTS_PATH, module_of, request_objects

HOMES_PATH = "clients/python/explaind/_exports.py"
STUB_PATH = "clients/python/explaind/__init__.pyi"

_CLIENTS = {
    "AsyncClient": "explaind._async.client",
    "AsyncJobHandle": "explaind._async.jobs",
    "Client": "explaind._sync.client",
    "JobEvent": "explaind.protocol.events",
    "JobHandle": "explaind._sync.jobs",
    "JobState": "explaind.contract.job",
    "UnitKind": "explaind.contract.blocks.units",
}
_SOURCE = "# Generated from explaind/contract by `make generate`."


def rendered_homes() -> str:
    """The module that says where each name is."""
    lines = [f'    "{name}": "{module}",' for name, module in homes().items()]
    head = [_SOURCE, '"""The names of the package and the modules that they are loaded from."""', ""]
    return formatted("\n".join([*head, "HOMES: dict[str, str] = {", *lines, "}"]), HOMES_PATH)


def rendered_stub() -> str:
    """The stub of the package."""
    imports = [f"from {module} import {name} as {name}" for name, module in homes().items()]
    return formatted("\n".join([_SOURCE, *imports, "__version__: str"]), STUB_PATH)


def homes() -> dict[str, str]:
    """The module of each name, in order of name.

    Raises:
        ValueError: two classes have the same name.
    """
    found = dict(_CLIENTS)
    for cls in _classes():
        if found.setdefault(cls.__name__, cls.__module__) != cls.__module__:
            raise ValueError(f"{cls.__name__} is in {found[cls.__name__]} and in {cls.__module__}.")
    found |= {f"{cls.__name__}Dict": module_of(DICTS_PATH) for cls in request_objects()}
    return dict(sorted(found.items()))


def _classes() -> Iterator[type]:
    """The errors, the requests and their objects, the results and cards and theirs."""
    methods = all_methods().values()
    yield from errors.classes_by_code().values()
    yield from (method.params_model for method in methods)
    yield from request_objects()
    answers: dict[type[ResponseModel], None] = {}
    for method in methods:
        _collect(method.result, answers)
    for module in (catalogue, errors, estimate, files, job, webhook):
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__ and "[" not in value.__name__:
                _collect(value, answers)
    yield from (cls for cls in answers if cls.__name__ in vars(sys.modules[cls.__module__]))


def _collect(annotation: Any, found: dict[type[ResponseModel], None]) -> None:
    if get_origin(annotation) in {Annotated, Union, UnionType, list, dict, tuple}:
        for argument in get_args(annotation):
            _collect(argument, found)
    elif isinstance(annotation, type) and issubclass(annotation, ResponseModel) and annotation not in found:
        found[annotation] = None
        for field in annotation.model_fields.values():
            _collect(field.annotation, found)
