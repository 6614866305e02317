"""Types of request fields as a caller in Python reads them: without constraints, validators and tags."""

from collections.abc import Iterable
from functools import reduce
from inspect import formatannotation
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic_core import PydanticUndefined
from typing_extensions import TypeAliasType

from explaind.contract.base import RequestModel


def readable(annotation: Any) -> Any:
    """The annotation without constraints; where its own text is long-winded, an alias of it named by a short text.

    A field that takes an object of the contract takes the same as a dict.
    """
    plain = _plain(annotation)
    text = spelled(plain)
    return plain if formatannotation(plain) == text else named(text, plain)


def named(text: str, annotation: Any) -> TypeAliasType:
    """An alias of the annotation, which a signature shows as `text`."""
    return TypeAliasType(text, annotation)  # type: ignore[misc] - its name is made, not written


def spelled(annotation: Any) -> str:
    """The annotation as it is written in source: `Literal['token', 'word'] | Segments | dict`."""
    if annotation is NoneType or annotation is None:
        return "None"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        return " | ".join(map(spelled, arguments))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is not None:
        inner = ", ".join("..." if argument is Ellipsis else spelled(argument) for argument in arguments)
        return f"{origin.__name__}[{inner}]"
    return getattr(annotation, "__name__", None) or str(annotation)


def taken(annotation: Any) -> Any:
    """What a field of that type takes: the type itself, or what its validator says that it takes before it."""
    origin = get_origin(annotation)
    if origin is not Annotated:
        return annotation
    said = (mark.json_schema_input_type for mark in annotation.__metadata__ if isinstance(mark, BeforeValidator))
    return next((kind for kind in said if kind is not PydanticUndefined), annotation.__origin__)


def _plain(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = taken(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        return _union(_plain(argument) for argument in arguments)
    if origin is Literal or not arguments:
        is_object = isinstance(annotation, type) and issubclass(annotation, RequestModel)
        return _union([annotation, dict]) if is_object else annotation
    return origin[tuple(argument if argument is Ellipsis else _plain(argument) for argument in arguments)]


def _union(parts: Iterable[Any]) -> Any:
    """The union of the parts, with `dict` and None at its end."""
    flat = [each for part in parts for each in (get_args(part) if get_origin(part) in {Union, UnionType} else (part,))]
    last = [end for end in (dict, NoneType) if end in flat]
    return reduce(or_, [*(part for part in flat if part not in last), *last])
