"""One option per field of a method's params, derived from their JSON schema, and the groups that its help shows."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from explaind.cli.params.values import (
    FieldValue,
    FromFile,
    JsonSchema,
    ListValue,
    Pair,
    merged,
    read_text,
)
from explaind.cli.session import in_commands
from explaind.contract.blocks.questions import QuestionsRequest
from explaind.contract.blocks.subject import Subject
from explaind.contract.request import ModelRequest

SUBJECT, METHOD, OUTPUT, JOB = "Subject", "Method", "Output", "Job"
_LONG_TEXT = 100_000  # characters; a field that takes so many is also read from a file
# What is explained, wherever a method declares it.
_OTHER_SUBJECT_FIELDS = {"units", "labels", "text", "corrupted", "corrupted_messages"}
_SUBJECT_FIELDS = {*Subject.model_fields, *QuestionsRequest.model_fields, *_OTHER_SUBJECT_FIELDS}
_NAMED = re.compile(r"[`'](\w+)[`']")


def option_name(field: str) -> str:
    """The option of a field: `--max-new-tokens`."""
    return f"--{field.replace('_', '-')}"


def in_options(text: str, fields: Iterable[str]) -> str:
    """The text with the fields that it names, `quoted`, as options, and paths of the API as commands."""
    known = frozenset(fields)
    named = _NAMED.sub(lambda found: option_name(found[1]) if found[1] in known else found[0], text)
    return in_commands(named)


def field_options(schema: JsonSchema) -> list[click.Option]:
    """An option for every field of an object's schema."""
    return [_option(name, field, schema) for name, field in schema["properties"].items()]


def field_groups(schema: JsonSchema) -> dict[str, list[str]]:
    """The fields of a method by the group that the help shows them in."""
    groups: dict[str, list[str]] = {SUBJECT: [], METHOD: [], OUTPUT: [], JOB: []}
    for name in schema["properties"]:
        group = JOB if name in ModelRequest.job_fields else SUBJECT if name in _SUBJECT_FIELDS else METHOD
        groups[group].append(name)
    return groups


def given_fields(schema: JsonSchema, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given on the command line, as JSON values; rows named in short as `DatasetSource`.

    Raises:
        click.BadParameter: an option was repeated with values that do not go together.
    """
    given: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        value = values.get(name)
        if value is None or value == ():
            continue
        try:
            given[name] = dict(value) if _is_text_map(field) else merged(value) if isinstance(value, tuple) else value
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint=option_name(name)) from error
    return given


def example_words(command: Sequence[str], schema: JsonSchema, example: Mapping[str, Any]) -> list[str]:
    """The command line of an example request: `command`, and an option for each of its fields."""
    words = list(command)
    for name, value in example.items():
        field = schema["properties"][name]
        many = _items_of(_shapes(field, schema), schema) is not None and isinstance(value, list)
        for each in value if many else [value]:
            words += _written(option_name(name), each)
    return words


def json_object(path: str) -> dict[str, Any]:
    """The JSON object in a file, or on stdin for "-".

    Raises:
        click.BadParameter: it holds no JSON object.
    """
    try:
        value = json.loads(read_text(path))
    except OSError as error:
        raise click.BadParameter(f"{path!r} cannot be read: {error.strerror}.", param_hint="--params") from error
    except ValueError as error:
        raise click.BadParameter(f"{path!r} is not JSON: {error}.", param_hint="--params") from error
    if not isinstance(value, dict):
        raise click.BadParameter(f"{path} must hold a JSON object.", param_hint="--params")
    return value


def _written(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option if value else f"--no-{option[2:]}"]
    return [option, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]


def _option(name: str, field: JsonSchema, schema: JsonSchema) -> click.Option:
    shapes = _shapes(field, schema)
    flag = option_name(name)
    items = _items_of(shapes, schema)
    about = in_options(field.get("description", ""), schema["properties"])
    repeat = " Repeat the option, or give a JSON array." if items is not None else ""
    # Only given fields are sent: a default is shown in the help, not set.
    settings: dict[str, Any] = {"help": f"{about}{repeat}{_remark(name, field, schema)}"}
    if [shape.get("type") for shape in shapes] == ["boolean"]:
        return click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, **settings)
    if _is_text_map(field):
        return click.Option([flag, name], type=Pair(), multiple=True, **settings)
    if items is not None:
        return click.Option([flag, name], type=ListValue(shapes, items), multiple=True, **settings)
    if len(shapes) == 1 and shapes[0].get("maxLength", 0) >= _LONG_TEXT:
        return click.Option([flag, name], type=FromFile(), **settings)
    if "boolean" in {shape.get("type") for shape in shapes}:  # `--faithfulness` alone is true
        settings |= {"is_flag": False, "flag_value": "true"}
    return click.Option([flag, name], type=FieldValue(shapes), **settings)


def _remark(name: str, field: JsonSchema, schema: JsonSchema) -> str:
    if name == "model":
        return "  [default: the only model of the service]"
    if name in schema.get("required", ()):
        return "  [required]"
    default = field.get("default")
    if default is None:
        return ""
    return f"  [default: {default if isinstance(default, str) else json.dumps(default)}]"


def _is_text_map(field: JsonSchema) -> bool:
    return field.get("type") == "object" and field.get("additionalProperties", {}).get("type") == "string"


def _items_of(shapes: Sequence[JsonSchema], schema: JsonSchema) -> list[JsonSchema] | None:
    """The shapes of a list's entries; None where the field takes no list."""
    lists = [shape["items"] for shape in shapes if shape.get("type") == "array" and "items" in shape]
    return [shape for items in lists for shape in _shapes(items, schema)] if lists else None


def _shapes(field: JsonSchema, schema: JsonSchema) -> list[JsonSchema]:
    """The alternatives of a field, references followed, null left out."""
    if "$ref" in field:
        return _shapes(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    branches = field.get("anyOf") or field.get("oneOf")
    if branches:
        return [shape for branch in branches for shape in _shapes(branch, schema)]
    return [] if field.get("type") == "null" else [field]
