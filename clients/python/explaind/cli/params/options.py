"""One option per field of a method's params, derived from their JSON schema."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

JsonSchema = Mapping[str, Any]

_SCALARS = {"integer": click.INT, "number": click.FLOAT, "string": click.STRING}


class JsonValue(click.ParamType):
    """JSON; where the field also takes a bare string, what is no JSON object or array is that string."""

    name = "json"

    def __init__(self, *, bare_string: bool, choices: list[str]) -> None:
        self.bare_string = bare_string
        self.choices = choices

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows for the value."""
        if self.choices:
            return f"[{'|'.join(self.choices)}|JSON]"
        return "TEXT|JSON" if self.bare_string else "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value that the text stands for."""
        structured = isinstance(value, str) and value.lstrip()[:1] in {"{", "["}
        if not isinstance(value, str) or (self.bare_string and not structured):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            if self.bare_string and not self.choices:
                return value
            self.fail(f"{value!r} is not JSON: {error}.", param, ctx)


class FromFile(click.ParamType):
    """Text; "-" is stdin, "@file" a file, without the last line end; "@@…" is text that begins with @."""

    name = "text|@file|-"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text, wherever it is."""
        if not isinstance(value, str) or not value.startswith(("-", "@")) or (value[0] == "-" and value != "-"):
            return value
        if value.startswith("@@"):
            return value[1:]
        try:
            return read_text(value.removeprefix("@")).removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"{value} cannot be read: {error}. Text that begins with @ is written @@….", param, ctx)


class Pair(click.ParamType):
    """KEY=VALUE."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The two halves."""
        if not isinstance(value, str):
            return value
        key, equals, text = value.partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is no KEY=VALUE.", param, ctx)
        return key, text


def read_text(path: str) -> str:
    """The text of a file, or of stdin for "-"."""
    if path == "-":
        return sys.stdin.read()
    return Path(path).read_text(encoding="utf-8")


def field_options(schema: JsonSchema) -> list[click.Option]:
    """An option for every field of an object's schema."""
    return [_option(name, field, schema) for name, field in schema["properties"].items()]


def given_fields(schema: JsonSchema, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given on the command line, as JSON values."""
    given: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        value = values.get(name)
        if value is None or value == ():
            continue
        pairs = _is_text_map(field)
        given[name] = dict(value) if pairs else list(value) if isinstance(value, tuple) else value
    return given


def _option(name: str, field: JsonSchema, schema: JsonSchema) -> click.Option:
    shapes = _shapes(field, schema)
    flag = f"--{name.replace('_', '-')}"
    only = shapes[0] if len(shapes) == 1 else {}
    # Only what is given is sent: the default is shown, not set.
    settings: dict[str, Any] = {"help": f"{field.get('description', '')}{_remark(name, field, schema)}"}
    if only.get("type") == "boolean":
        return click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, **settings)
    if _is_text_map(field):
        return click.Option([flag, name], type=Pair(), multiple=True, **settings)
    if only.get("type") == "array" and only.get("items", {}).get("type") == "string":
        return click.Option([flag, name], multiple=True, **settings)
    return click.Option([flag, name], type=_type(name, shapes), **settings)


def _remark(name: str, field: JsonSchema, schema: JsonSchema) -> str:
    if name in schema.get("required", ()):
        return "  [required]"
    default = field.get("default")
    if default is None:
        return ""
    return f"  [default: {default if isinstance(default, str) else json.dumps(default)}]"


def _type(name: str, shapes: list[JsonSchema]) -> click.ParamType:
    strings = [shape for shape in shapes if shape.get("type") == "string"]
    choices = [choice for shape in strings for choice in shape.get("enum", [])]
    if len(shapes) == 1:
        if choices:
            return click.Choice(choices)
        if name == "prompt":
            return FromFile()
        if shapes[0].get("type") in _SCALARS:
            return _SCALARS[shapes[0]["type"]]
    return JsonValue(bare_string=bool(strings), choices=choices)


def _is_text_map(field: JsonSchema) -> bool:
    return field.get("type") == "object" and field.get("additionalProperties", {}).get("type") == "string"


def _shapes(field: JsonSchema, schema: JsonSchema) -> list[JsonSchema]:
    """The alternatives of a field, references followed, null left out."""
    if "$ref" in field:
        return _shapes(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    branches = field.get("anyOf") or field.get("oneOf")
    if branches:
        return [shape for branch in branches for shape in _shapes(branch, schema)]
    return [] if field.get("type") == "null" else [field]


def json_object(path: str) -> dict[str, Any]:
    """The JSON object in a file, or on stdin for "-".

    Raises:
        click.BadParameter: there is none.
    """
    try:
        value = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path}: {error}", param_hint="--params") from error
    if not isinstance(value, dict):
        raise click.BadParameter(f"{path} must hold a JSON object.", param_hint="--params")
    return value
