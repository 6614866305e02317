"""Names in the OpenAPI document: schemas are named after their classes, redundant titles are removed."""

import json
import re
from typing import Any

SCHEMAS = "#/components/schemas/"


def with_class_names(document: dict[str, Any]) -> dict[str, Any]:
    """The document with each schema under its title, the class's name: `AttributionJob`, not `Job_Attribution_`."""
    schemas = document["components"]["schemas"]
    new = {name: schema["title"] for name, schema in schemas.items() if _is_generic(name) and "title" in schema}
    text = json.dumps(document)
    for name, title in new.items():
        text = text.replace(json.dumps(f"{SCHEMAS}{name}"), json.dumps(f"{SCHEMAS}{title}"))
    renamed = json.loads(text)
    schemas = {new.get(name, name): schema for name, schema in renamed["components"]["schemas"].items()}
    renamed["components"]["schemas"] = dict(sorted(schemas.items()))
    return renamed


def without_derived_titles(document: dict[str, Any]) -> dict[str, Any]:
    """The document without titles derived from a name: `Max New Tokens` of `max_new_tokens`."""
    for name, schema in document["components"]["schemas"].items():
        _drop_title(schema, name)
    _visit(document)
    return document


def pascal_case(name: str) -> str:
    """`IdempotencyKey` of `Idempotency-Key` or `idempotency_key`."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[-_]", name))


def _is_generic(name: str) -> bool:
    return name.endswith("_")


def _visit(node: Any) -> None:
    if isinstance(node, list):
        for each in node:
            _visit(each)
    elif isinstance(node, dict):
        properties = node.get("properties")
        for name, schema in properties.items() if isinstance(properties, dict) else ():
            _drop_title(schema, name)
        if "in" in node and isinstance(node.get("schema"), dict):
            _tidy_parameter(node)
        for key, each in node.items():
            if key not in {"example", "examples", "default", "enum", "const"}:
                _visit(each)


def _tidy_parameter(parameter: dict[str, Any]) -> None:
    schema = parameter["schema"]
    _drop_title(schema, parameter["name"])
    if schema.get("description") == parameter.get("description"):
        schema.pop("description", None)


def _drop_title(schema: Any, name: str) -> None:
    if isinstance(schema, dict) and _letters(str(schema.get("title"))) == _letters(name):
        del schema["title"]


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
