"""Errors in terms of the command line: a JSON pointer becomes its option, a field that is named its name."""

import re
from collections.abc import Mapping
from typing import Any

from explaind.cli.params.options import in_options, option_name
from explaind.contract.errors import ExplaindError, FieldError

_ONE_OF_TWO = re.compile(r"Give exactly one of '(\w+)' and '(\w+)'\.")
_MISSING = "Field required"


def by_options(error: ExplaindError, fields: Mapping[str, Any], sent: Mapping[str, Any]) -> ExplaindError:
    """The error with options in the place of pointers into the request.

    Args:
        error: changed here.
        fields: the fields of the method's params.
        sent: the request; what stands in it is quoted as it is.
    """
    said = set(_texts(sent))
    named = [field for field in fields if field not in said]
    only = error.errors[0] if len(error.errors) == 1 else None
    same = only is not None and error.detail in {only.detail, f"{only.pointer}: {only.detail}"}
    error.errors = [_by_option(each, fields, named, sent) for each in error.errors]
    if same:
        error.detail, error.errors = sentence(error.errors[0]), []
    else:
        error.detail = in_options(error.detail, named)
    if error.hint is not None:
        error.hint = in_options(error.hint, named)
    return error


def sentence(field: FieldError) -> str:
    """What is wrong with a field: `--labels, entry 2: ...` or `--model is missing`."""
    if field.detail == _MISSING:
        return f"{field.pointer} is missing."
    return f"{field.pointer}: {field.detail}" if field.pointer else field.detail


def place(pointer: str, fields: Mapping[str, Any]) -> str:
    """A JSON pointer as the option, and the way inside its value: `--messages, entry 1, role`."""
    first, *rest = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]] or [""]
    steps = [f"entry {int(step) + 1}" if step.isdigit() else step for step in rest]
    head = option_name(first) if first in fields else f"--params, {first}" if first else ""
    return ", ".join([head, *steps])


def _by_option(field: FieldError, fields: Mapping[str, Any], named: list[str], sent: Mapping[str, Any]) -> FieldError:
    two = _ONE_OF_TWO.fullmatch(field.detail)
    if two is not None and not any(name in sent for name in two.groups()):
        either = " or ".join(option_name(name) for name in two.groups())
        return FieldError(pointer=either, detail=_MISSING)
    return FieldError(pointer=place(field.pointer, fields), detail=in_options(field.detail, named))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for each in value.values() for text in _texts(each)]
    return [text for each in value for text in _texts(each)] if isinstance(value, list | tuple) else []
