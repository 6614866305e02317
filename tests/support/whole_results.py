"""Results of any class with every field filled in, and what of them a page shows: made from the schema alone.

Every list has two entries, so that all axes fit each other; indices are 0 and 1. A field is shown where changing it
changes the page.
"""

import copy
import datetime as dt
import itertools
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from explaind.contract.base import ResponseModel
from explaind.views.drawing.text import number, percent

Path = tuple[str | int, ...]
_AXES = frozenset({"layers", "heads", "layer_count", "count", "top"})  # numbers of what there are two of everywhere
# Whole numbers that count something and point at nothing: each has a value of its own.
COUNTED = frozenset(
    {"evaluations", "forwards", "tokens_evaluated", "random_orders", "checked", "steps", "splits", "right", "wrong"}
    | {"train_texts", "train_tokens", "trained_steps", "bytes", "texts", "seed", "token_id", "id"}
)


def whole_result(result: type[ResponseModel]) -> dict[str, Any]:
    """A result of the class as JSON, no optional field left out."""
    return _filled(result, "", itertools.count(1))


class Choice(str):
    """One of the values that a field may have, with another of them."""

    other: str


def _filled(kind: Any, name: str, counter: Iterator[int], place: int | None = None) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Annotated, Union, types.UnionType}:
        return _filled(next(one for one in arguments if one is not type(None)), name, counter, place)
    if origin is Literal:
        return _chosen(arguments, place)
    if origin in {list, tuple, dict}:
        return _several(origin, arguments, name, counter)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {key: _filled(field.annotation, key, counter, place) for key, field in kind.model_fields.items()}
    fresh = next(counter)
    plain = {
        bool: False,
        int: 1000 + fresh if name in COUNTED else (1 if place is None else place) + (name in _AXES and place is None),
        float: (100 + fresh) / (-1000 if name.startswith("logprob") else 1000),
        str: ("resid_mid", "resid_post")[place or 0] if name == "stream" else f"text{fresh}",
        dt.datetime: "2026-11-20T18:00:00Z",
        Any: f"any{fresh}",
    }
    return plain[kind]


def _chosen(values: tuple[Any, ...], place: int | None) -> Any:
    at = min(place or 0, len(values) - 1)
    if not isinstance(values[at], str):
        return values[at]
    chosen = Choice(values[at])
    chosen.other = values[at - 1]
    return chosen


def _several(origin: Any, arguments: tuple[Any, ...], name: str, counter: Iterator[int]) -> Any:
    """Two entries, or as many as a tuple has."""
    if origin is list:
        return [_filled(arguments[0], name, counter, at) for at in (0, 1)]
    if origin is tuple:
        return [_filled(one, name, counter, at) for at, one in enumerate(arguments)]
    keys = get_args(arguments[0])[:2] if get_origin(arguments[0]) is Literal else None
    named = keys or ([0, 1] if arguments[0] is int else [f"key{next(counter)}", f"key{next(counter)}"])
    return {key: _filled(arguments[1], name, counter, at) for at, key in enumerate(named)}


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every number, text and truth value with its way there."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from leaves(item, (*path, at))
    elif value is not None:
        yield path, value


def fields_of(whole: dict[str, Any]) -> dict[str, list[Path]]:
    """The leaves by the field they belong to: `grids.effects` has all numbers of all grids."""
    found: dict[str, list[Path]] = {}
    for path, _ in leaves(whole):
        name = ".".join(key for key in path if isinstance(key, str) and not key.startswith("key"))
        if name != "kind":
            found.setdefault(name, []).append(path)
    return found


def written(value: Any) -> set[str]:
    """The ways in which a value may be written for people; none for one that is no word of its own."""
    if isinstance(value, bool | Choice):
        return set()
    if isinstance(value, int):
        return {f"{value:,}", str(value)} if value > 1000 else set()
    if isinstance(value, float):
        return {number(value), number(value, sign=True), percent(value), f"{value:.3f}"}
    return {value}


def changes(whole: dict[str, Any], paths: list[Path]) -> Iterator[dict[str, Any]]:
    """The result with one field changed: all of its leaves, then the first, then the last alone."""
    for chosen in (paths, paths[:1], paths[-1:]):
        changed = copy.deepcopy(whole)
        for path in chosen:
            holder: Any = changed
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = _another(holder[path[-1]])
        yield changed


def _another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 1 - value if value < 2 else value + 1 if value < 1000 else 2 * value
    if isinstance(value, float):
        return value / 2 + 0.003
    return value.other if isinstance(value, Choice) else f"{value}zq"
