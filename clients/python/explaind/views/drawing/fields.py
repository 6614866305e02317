"""Maps the fields of any result to drawable blocks: numbers per unit to a strip, nested numbers to a grid, and so on.

Independent of the result's class: decided by the shape of a field and its siblings. Text is untrusted and not escaped
yet; both HTML and terminal draw these blocks.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from explaind.views.drawing.grids import Grid
from explaind.views.drawing.text import number, one_line

MOST_ROWS = 200  # rows of a table, and rows or columns of a grid
MOST_GRIDS = 12
MOST_LABELS = 2000  # of a strip
_DEEPEST = 3
_LONGEST = 2000  # characters of JSON, or of a text
_CELL_CHARS = 120
_LABEL_KEYS = ("name", "text", "label", "id")
_COUNTS = ("layers", "heads")  # counts that name an axis


@dataclass(frozen=True)
class Strip:
    """Numbers [label], each with its text."""

    title: str
    labels: Sequence[str]
    values: Sequence[float | None]


@dataclass(frozen=True)
class HeatGrid:
    """Numbers [row][column]."""

    title: str
    grid: Grid
    note: str = ""


@dataclass(frozen=True)
class Series:
    """An ordered series of numbers without labels."""

    title: str
    values: Sequence[float]


@dataclass(frozen=True)
class ObjectTable:
    """Objects as rows, their fields as columns; `left_out` rows are omitted."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left_out: int = 0


@dataclass(frozen=True)
class FactList:
    """Names and values."""

    title: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """JSON, for shapes without another block."""

    title: str
    text: str


Block = Strip | HeatGrid | Series | ObjectTable | FactList | Source


@dataclass(frozen=True)
class _Axis:
    """Labels for other fields of the same length."""

    name: str
    labels: Sequence[str]

    @property
    def kind(self) -> str:
        """What a label names: "layers" → "layer"."""
        return self.name.rpartition(" ")[2].removesuffix("s") or self.name


def blocks_of(result: object) -> list[Block]:
    """The blocks of a result: first its plain facts, then the other fields in their order; not its notes."""
    named = _fields(result)
    if named is not None and notes_of(result):
        named = {name: value for name, value in named.items() if name != "notes"}
    return list(_blocks("", {"result": result} if named is None else named, (), 0))


def notes_of(result: object) -> list[str]:
    """The notes of a method's result, also of one that is known as JSON only; nothing of what has none."""
    notes = result.get("notes") if isinstance(result, Mapping) else getattr(result, "notes", None)
    return [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []


def _fields(value: object) -> dict[str, Any] | None:
    """The fields of a model or a JSON object; None for anything else. The constant `kind` of a model is left out."""
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields if name != "kind"}
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else None


def _blocks(path: str, named: Mapping[str, Any], outer: Sequence[_Axis], depth: int) -> Iterator[Block]:
    known = {name: value for name, value in named.items() if value is not None and value not in ([], {}, ())}
    axes = [*_axes(known), *outer]
    plain = {_words(name): text for name, value in known.items() if (text := _fact(name, value, axes)) is not None}
    if plain:
        yield FactList(path or "Result", plain)
    for name, value in known.items():
        if _words(name) not in plain:
            yield from _drawn(f"{path} · {_words(name)}" if path else _words(name), name, value, axes, depth)


def _drawn(title: str, name: str, value: Any, axes: Sequence[_Axis], depth: int) -> Iterator[Block]:
    fields = _fields(value)
    if fields is not None and depth < _DEEPEST:
        yield from _blocks(title, fields, axes, depth + 1)
    elif _is_vector(value):
        axis = _axis_of(len(value), axes, without=_words(name))
        yield (
            Series(title, [float("nan") if v is None else v for v in value])
            if axis is None
            else Strip(title, axis.labels[:MOST_LABELS], value[:MOST_LABELS])
        )
    elif _is_matrix(value):
        yield _heat_grid(title, value, axes)
    elif _is_list(value) and all(map(_is_matrix, value)):
        axis = _axis_of(len(value), axes)
        for place, matrix in enumerate(value[:MOST_GRIDS]):
            which = f"{axis.kind} {axis.labels[place]}" if axis else str(place)
            yield _heat_grid(f"{title}, {which}", matrix, [other for other in axes if other is not axis])
    elif _is_list(value) and all(_fields(item) for item in value):
        yield _table(title, [_fields(item) or {} for item in value])
    else:
        yield Source(title, _json(value, _LONGEST))


def _axes(named: Mapping[str, Any]) -> list[_Axis]:
    """The fields whose items can label those of others: units and tokens first, bare counts last."""
    found = [_Axis(_words(name), labels) for name, value in named.items() if (labels := _labels(value)) is not None]
    found.sort(key=lambda axis: ("unit" not in axis.name, "token" not in axis.name))
    counts = [name for name in _COUNTS if isinstance(named.get(name), int)]
    return [*found, *(_Axis(name, [str(place) for place in range(min(named[name], MOST_ROWS))]) for name in counts)]


def _labels(value: Any) -> list[str] | None:
    """The texts of a list of texts, of named objects, or of ascending integers; None for anything else."""
    if not _is_list(value):
        return None
    if all(isinstance(item, str) for item in value):
        return list(value)
    if all(isinstance(item, int) and not isinstance(item, bool) for item in value):
        return [str(item) for item in value] if sorted(set(value)) == list(value) else None
    labels = [_label(item) for item in value]
    return None if None in labels else [label for label in labels if label is not None]


def _label(item: Any) -> str | None:
    fields = _fields(item) or {}
    return next((str(fields[key]) for key in _LABEL_KEYS if isinstance(fields.get(key), str)), None)


def _axis_of(length: int, axes: Sequence[_Axis], *, without: str | None = None) -> _Axis | None:
    return next((axis for axis in axes if len(axis.labels) == length and axis.name != without), None)


def _heat_grid(title: str, value: Sequence[Sequence[float | None]], axes: Sequence[_Axis]) -> HeatGrid:
    """The grid with names of rows and columns; short rows are padded with empty cells."""
    width = max(map(len, value))
    rows = _axis_of(len(value), axes)
    columns = _axis_of(width, [axis for axis in axes if axis is not rows]) or _axis_of(width, axes)
    cut = len(value) > MOST_ROWS or width > MOST_ROWS
    drawn = [[*row, *[None] * (width - len(row))][:MOST_ROWS] for row in value[:MOST_ROWS]]
    grid = Grid(
        drawn,
        (rows.labels if rows else [str(place) for place in range(len(value))])[:MOST_ROWS],
        (columns.labels if columns else [str(place) for place in range(width)])[:MOST_ROWS],
        row_kind=rows.kind if rows else "row",
        column_kind=columns.kind if columns else "column",
        diverging=any(entry is not None and entry < 0 for row in drawn for entry in row),
    )
    return HeatGrid(title, grid, f"the first {MOST_ROWS} of {len(value):,} × {width:,}" if cut else "")


def _table(title: str, items: Sequence[Mapping[str, Any]]) -> ObjectTable:
    columns = list(dict.fromkeys(name for item in items for name, value in item.items() if value is not None))
    rows = [[_cell(item.get(name)) for name in columns] for item in items[:MOST_ROWS]]
    return ObjectTable(title, [_words(name) for name in columns], rows, max(0, len(items) - MOST_ROWS))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    scalar = _scalar(value)
    return one_line(_json(value, _CELL_CHARS) if scalar is None else scalar, _CELL_CHARS)


def _fact(name: str, value: Any, axes: Sequence[_Axis]) -> str | None:
    """A field as text, if it is a scalar or a short list; None otherwise."""
    if not _is_list(value):
        return _scalar(value)
    whole = all(isinstance(item, int) and not isinstance(item, bool) for item in value)
    texts = all(isinstance(item, str) for item in value)
    alone = _is_vector(value) and len(value) == 1
    if texts or ((whole or alone) and _axis_of(len(value), axes, without=_words(name)) is None):
        return one_line((", " if texts else " ").join(_scalar(item) or "" for item in value), _LONGEST)
    return None


def _scalar(value: Any) -> str | None:
    """Text, numbers, booleans and values that JSON writes as strings; None for anything nested."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
    plain = None if _is_list(value) or _fields(value) is not None else to_jsonable_python(value, fallback=str)
    return plain if isinstance(plain, str) else None


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_vector(value: Any) -> bool:
    return _is_list(value) and any(map(_is_number, value)) and all(v is None or _is_number(v) for v in value)


def _is_matrix(value: Any) -> bool:
    return (
        _is_list(value)
        and all(isinstance(row, list | tuple) for row in value)
        and any(map(_is_vector, value))
        and (all(entry is None or _is_number(entry) for row in value for entry in row))
    )


def _json(value: Any, longest: int) -> str:
    text = json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _words(name: str) -> str:
    """A field's name as words."""
    return one_line(name.replace("_", " "), 80)
