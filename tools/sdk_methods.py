"""Writes `explaind._sync.methods`, the methods as attributes of a client, from the registry.

python -m tools.sdk_methods --write    write the module
python -m tools.sdk_methods --check    exit with 1 when the module is not what the registry says
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from explaind.contract.method import Method
from explaind.contract.registry import all_methods

NAMESPACES = Path(__file__).parents[1] / "clients/python/explaind/_sync/methods.py"

_HEAD = '"""The methods as attributes of a client. Written by `python -m tools.sdk_methods --write`."""'
_FLAVOURS = (("", "FlowDriver", "MethodCall"), ("Async", "AsyncDriver", "AsyncMethodCall"))


def rendered_namespaces() -> str:
    """The source of `explaind._sync.methods`; the same for writing and for checking."""
    by_verb = {
        verb: list(group)
        for verb, group in groupby(all_methods().values(), key=lambda method: method.verb)  # sorted by path
    }
    modules = sorted((method.params_model.__module__, _constant(method)) for method in all_methods().values())
    lines = [
        _HEAD,
        "",
        "from explaind._async.jobs import AsyncDriver, AsyncMethodCall",
        "from explaind._sync.jobs import FlowDriver, MethodCall",
        *(f"from {module} import METHOD as {constant}" for module, constant in modules),
    ]
    for flavour in _FLAVOURS:
        for verb, methods in by_verb.items():
            lines += ["", "", *_verb_class(verb, methods, flavour)]
        lines += ["", "", *_root_class(list(by_verb), flavour)]
    return "\n".join(lines) + "\n"


def _constant(method: Method[..., Any]) -> str:
    """`EXPLAIN_SHAP`: two verbs may have a method of one name."""
    return method.module.replace(".", "_").upper()


def _verb_class(verb: str, methods: list[Method[..., Any]], flavour: tuple[str, str, str]) -> Iterator[str]:
    prefix, driver, call = flavour
    yield f"class {prefix}{verb.capitalize()}:"
    yield f'    """The methods of /{verb}."""'
    yield ""
    yield f"    def __init__(self, driver: {driver}) -> None:"
    for method in methods:
        constant = _constant(method)
        yield f"        self.{method.name.replace('-', '_')} = {call}(driver, {constant})"


def _root_class(verbs: list[str], flavour: tuple[str, str, str]) -> Iterator[str]:
    prefix, driver, _ = flavour
    yield f"class {prefix}Namespaces:"
    yield '    """Every method under its verb."""'
    yield ""
    yield f"    def __init__(self, driver: {driver}) -> None:"
    for verb in verbs:
        yield f"        self.{verb} = {prefix}{verb.capitalize()}(driver)"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the module. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.sdk_methods", description="Write or check namespaces.py.")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--write", action="store_true", help="write the module")
    choice.add_argument("--check", action="store_true", help="exit with 1 when the module is out of date")
    source = rendered_namespaces()
    if parser.parse_args(arguments).write:
        NAMESPACES.write_text(source, encoding="utf-8")
        return 0
    if NAMESPACES.exists() and NAMESPACES.read_text(encoding="utf-8") == source:
        return 0
    sys.stderr.write(f"{NAMESPACES.name} is out of date: run `python -m tools.sdk_methods --write`.\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
