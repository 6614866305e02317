"""Generator of docs/reference/methods.md: every method with its fields, result and example, from the contract."""

import json
from collections.abc import Iterator
from typing import Any

from explaind.contract.method import Method
from explaind.contract.registry import all_methods

HEAD = """# Methods

Written from the contract by `make generate`. Every method is `POST /{verb}/{method}`, `client.{verb}.{method}(…)` and
`explaind {verb} {method} …`; the same fields everywhere. `GET /methods` lists the methods,
`GET /methods/{verb}/{method}` has one with its JSON schemas.
"""


def rendered_page() -> str:
    """The page, in Markdown."""
    return "\n".join([HEAD, *(line for method in all_methods().values() for line in _section(method))])


def _section(method: Method[..., Any]) -> Iterator[str]:
    yield f"## {method.path}"
    yield ""
    yield method.summary
    yield ""
    if method.cost:
        yield f"Cost: {method.cost}."
    if method.citation:
        yield f"Source: {method.citation}."
    yield ""
    yield "| field | type | default | |"
    yield "| --- | --- | --- | --- |"
    schema = method.params_model.model_json_schema()
    for name, field in schema["properties"].items():
        required = name in schema.get("required", ())
        default = "required" if required else f"`{json.dumps(field.get('default'), ensure_ascii=False)}`"
        if not required and "default" not in field:
            default = ""
        yield f"| `{name}` | {_type(field, schema)} | {default} | {_cell(field.get('description', ''))} |"
    yield ""
    yield f"Result: `{method.result.__name__}`. {_first_paragraph(method.result.__doc__ or '')}"
    yield ""
    yield "```json"
    yield json.dumps(method.example, indent=2, ensure_ascii=False)
    yield "```"
    yield ""


def _type(field: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2]
    if "enum" in field:
        return " \\| ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    branches = field.get("anyOf") or field.get("oneOf")
    if branches:
        return " \\| ".join(dict.fromkeys(_type(branch, schema) for branch in branches))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}), schema)}"
    return str(field.get("type", "any"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _first_paragraph(text: str) -> str:
    return " ".join(text.strip().split("\n\n")[0].split())
