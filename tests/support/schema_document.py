"""The service's OpenAPI document as test cases are made from it: whole, or with each field of a request once."""

import json
from copy import deepcopy
from functools import cache
from typing import Any

import schemathesis

from explaind.contract.registry import all_methods
from tests.support import DOCUMENT, LONG

SAYINGS = {"title", "description", "default", "examples"}


@cache
def documented(*, keys: bool) -> list[Any]:
    """The operations of the service's document, of a service that asks for keys or of one that does not.

    Requests made from it ask for the model that there is.
    """
    return _operations(_document(keys=keys))


@cache
def documented_once() -> list[Any]:
    """As `documented(keys=False)`, but of the fields that many methods share each is in one method's request only.

    A field is left out of a request where an earlier operation has one of the same name and schema, unless the
    method's example has it.
    """
    if LONG:
        return documented(keys=False)
    document = _document(keys=False)
    seen: set[str] = set()
    for path in sorted(document["paths"]):
        if method := all_methods().get(path.strip("/")):
            _leave_out(_own_body(document, path), seen, keep=set(method.example))
    return _operations(document)


@cache
def boolean_fields() -> frozenset[str]:
    """Names of the requests' fields that are true or false."""
    params = (
        schema for name, schema in _document(keys=True)["components"]["schemas"].items() if name.endswith("Params")
    )
    return frozenset(
        name for schema in params for name, found in schema["properties"].items() if found.get("type") == "boolean"
    )


def submissions(operations: list[Any]) -> list[Any]:
    """Those that make a job of a method."""
    return [operation for operation in operations if operation.path.strip("/") in all_methods()]


def _document(*, keys: bool) -> dict[str, Any]:
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    schemas = document["components"]["schemas"]
    for name in list(schemas):
        if name.endswith("Params"):
            schemas[name] = _flat(schemas[name], schemas)
            schemas[name]["properties"]["model"]["enum"] = ["demo"]
    # Each body is made up for its method's own route; for the estimates two stand for all.
    estimate = document["paths"]["/estimate/{verb}/{method}"]["post"]["requestBody"]["content"]["application/json"]
    estimate["schema"]["anyOf"] = [{"$ref": f"#/components/schemas/{name}Params"} for name in ("Shap", "Tokenize")]
    if not keys:
        for operation in (operation for path in document["paths"].values() for operation in path.values()):
            operation.pop("security", None)
    return document


def _operations(document: dict[str, Any]) -> list[Any]:
    return [each.ok() for each in schemathesis.openapi.from_dict(document).get_all_operations()]


def _flat(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """A copy that has the properties of what it is made of by `allOf` itself."""
    schema = deepcopy(schema)
    if schema.pop("unevaluatedProperties", True) is False:
        schema["additionalProperties"] = False
    for part in schema.pop("allOf", ()):
        base = _flat(schemas[part["$ref"].rpartition("/")[2]], schemas) if "$ref" in part else part
        schema["properties"] = {**base.get("properties", {}), **schema.get("properties", {})}
        schema["required"] = [*base.get("required", ()), *schema.get("required", ())]
    return schema


def _own_body(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema of an operation's body, of which the operation gets a copy of its own."""
    holder = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    name = holder["$ref"].rpartition("/")[2]
    schema = document["components"]["schemas"][f"{name}Once"] = deepcopy(document["components"]["schemas"][name])
    holder["$ref"] = f"#/components/schemas/{name}Once"
    return schema


def _bare(schema: Any) -> Any:
    """What a schema allows, without what it says about it."""
    if isinstance(schema, list):
        return [_bare(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {word: _bare(found) for word, found in schema.items() if word not in SAYINGS}


def _leave_out(schema: dict[str, Any], seen: set[str], *, keep: set[str]) -> None:
    for name, found in list(schema["properties"].items()):
        text = json.dumps([name, _bare(found)], sort_keys=True)
        if text in seen and name not in keep:
            del schema["properties"][name]
        seen.add(text)
