"""Schemas of the contract's classes as `allOf` of their base and the added fields, so that each field occurs once."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from explaind.contract.base import RequestModel, ResponseModel
from explaind_service.openapi_document.names import SCHEMAS, pascal_case

Schema = dict[str, Any]

ROOTS = (RequestModel, ResponseModel)
CLOSED = "additionalProperties"
# Keywords that do not affect validation.
ANNOTATIONS = {"title", "description", "default", "examples", "deprecated"}


def with_inheritance(document: dict[str, Any]) -> dict[str, Any]:
    """The document with derived classes as `allOf` of a base schema and their additions, and with those base schemas.

    `additionalProperties: false` covers only the properties beside it, and would forbid those of the base: a composed
    schema is closed by `unevaluatedProperties: false` instead, and a base alone is open.
    """
    schemas: dict[str, Schema] = document["components"]["schemas"]
    flat, added = dict(schemas), dict[str, Schema]()
    waiting = [(model, flat[model.__name__]) for model in _models() if model.__name__ in flat]
    while waiting:
        model, schema = waiting.pop()
        base = next((base for base in _bases(model) if _fits(_schema_of(base, flat), schema, base, flat)), None)
        if base is None:
            continue
        base_schema = _schema_of(base, flat)
        added[model.__name__] = _composed(schema, base.__name__, base_schema)
        if base.__name__ not in flat and base.__name__ not in added:
            added[base.__name__] = base_schema
            waiting.append((base, base_schema))
    document["components"]["schemas"] = dict(sorted(_with_named_maps({**schemas, **added}).items()))
    return document


def _with_named_maps(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """The schemas, with each map-valued field of a base as a separate schema: `ModelRequestMetadata`.

    Client generators make a class of a map, and would repeat it for each inheriting class.
    """
    bases = {
        part["$ref"].removeprefix(SCHEMAS)
        for schema in schemas.values()
        for part in schema.get("allOf", ())
        if "$ref" in part
    }
    named = dict(schemas)
    for base in bases:
        fields = _own_part(schemas[base]).get("properties", {})
        for field, schema in fields.items():
            if schema.get("type") == "object":
                name = f"{base}{pascal_case(field)}"
                named[name] = {key: value for key, value in schema.items() if key != "title"}
                fields[field] = {"$ref": f"{SCHEMAS}{name}"}
    return named


def _own_part(schema: Schema) -> Schema:
    return schema["allOf"][-1] if "allOf" in schema else schema


def _models() -> list[type[BaseModel]]:
    """Every subclass of RequestModel and ResponseModel in the contract, with parametrized generics; unique by name."""
    found = {model.__name__: model for root in ROOTS for model in _below(root)}
    return [model for _, model in sorted(found.items())]


def _below(root: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in root.__subclasses__():
        # A parametrized generic claims the module that first mentions it.
        origin = model.__pydantic_generic_metadata__["origin"] or model
        if origin.__module__.startswith("explaind.contract."):
            yield model
        yield from _below(model)


def _bases(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The base classes from which it inherits fields, nearest first."""
    for base in model.__mro__[1:]:
        if issubclass(base, ROOTS) and base not in ROOTS and base.model_fields and base.__name__ != model.__name__:
            yield base


def _schema_of(base: type[BaseModel], flat: dict[str, Schema]) -> Schema:
    if base.__name__ in flat:
        return flat[base.__name__]
    schema = base.model_json_schema(ref_template=f"{SCHEMAS}{{model}}", mode=_mode(base))
    return _without_null_defaults({key: value for key, value in schema.items() if key not in {"$defs", CLOSED}})


def _without_null_defaults(node: Any) -> Any:
    """Removes null defaults, as FastAPI does in schemas."""
    if isinstance(node, dict):
        return {k: _without_null_defaults(v) for k, v in node.items() if not (k == "default" and v is None)}
    return [_without_null_defaults(each) for each in node] if isinstance(node, list) else node


def _mode(model: type[BaseModel]) -> Any:
    return "serialization" if issubclass(model, ResponseModel) else "validation"


def _fits(base_schema: Schema, schema: Schema, base: type[BaseModel], flat: dict[str, Schema]) -> bool:
    """Whether the base's schema holds for the class: a field may be narrowed only where the base leaves it open."""
    if base_schema.get(CLOSED) is False and base.__name__ in flat:
        return False  # also sent by itself, and closed then
    own = schema["properties"]
    narrowed = (name for name, field in base_schema["properties"].items() if not _is_open(field))
    same = all(name in own and _demand(own[name]) == _demand(base_schema["properties"][name]) for name in narrowed)
    return same and set(base_schema.get("required", ())) <= set(schema.get("required", ()))


def _demand(field: Schema) -> Schema:
    return {key: value for key, value in field.items() if key not in ANNOTATIONS}


def _is_open(field: Schema) -> bool:
    return not _demand(field) or {} in field.get("anyOf", ())


def _composed(schema: Schema, base: str, base_schema: Schema) -> Schema:
    inherited = base_schema["properties"]
    own = {name: field for name, field in schema["properties"].items() if inherited.get(name) != field}
    required = [name for name in schema.get("required", ()) if name not in base_schema.get("required", ())]
    described = {"description": schema["description"]} if "description" in schema else {}
    added = {"type": "object", "properties": own, "required": required}
    # Always two parts: client generators treat an allOf of one reference as that class itself.
    parts = [{"$ref": f"{SCHEMAS}{base}"}, {key: value for key, value in added.items() if value}]
    closed = {"unevaluatedProperties": False} if schema.get(CLOSED) is False else {}
    return {**described, "type": "object", "allOf": parts, **closed}
