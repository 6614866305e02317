"""Tables in memory as JSON lines: dicts, and the rows of pandas, polars, pyarrow and `datasets`, none of them imported.

A table is told by what it can do. Rows are read once, one after the other, and only their text is kept.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, time
from decimal import Decimal
from enum import Enum
from io import BytesIO
from os import PathLike
from typing import Any, Protocol
from uuid import UUID

from explaind.contract.errors import InvalidDataset, WrongSource
from explaind.contract.files import Cell

HINT = (
    "A dataset is a file, or rows of text, numbers, true, false and nothing: a list of dicts, a pandas or polars "
    "DataFrame, a pyarrow Table or a datasets.Dataset."
)
_MISSING = {"NAType", "NaTType"}  # pandas': of no type that can be compared with
_MOST_SHOWN = 40


class HasColumns(Protocol):
    """A pandas or polars DataFrame."""

    @property
    def columns(self) -> Any: ...


class HasColumnNames(Protocol):
    """A pyarrow Table or a datasets.Dataset."""

    @property
    def column_names(self) -> Any: ...


Table = HasColumns | HasColumnNames | Iterable[Mapping[str, Any]]


def json_lines(table: object) -> bytes:
    """The rows of a table, one JSON object a line; NaN and other missing values are null.

    Raises:
        WrongSource: it is no table.
        InvalidDataset: a value is neither text, a number, a date, true, false nor missing; row and column are named.
    """
    lines, number = BytesIO(), 0
    for number, row in enumerate(_rows(table), 1):
        if not isinstance(row, Mapping):
            kind = type(row).__name__
            raise WrongSource(f"Row {number} of this is of the type {kind} ({_shown(row)}), and no dict.", hint=HINT)
        if not row:
            raise InvalidDataset(f"Row {number} is empty.", hint=HINT)
        cells = {_column(name, number): _cell(value, number, name) for name, value in row.items()}
        if len(cells) < len(row):
            raise InvalidDataset(f"Row {number} has two columns of the same name once they are text.", hint=HINT)
        lines.write(json.dumps(cells, ensure_ascii=False, allow_nan=False).encode())
        lines.write(b"\n")
    if not number:
        raise InvalidDataset("There are no rows in it.", hint=HINT)
    return lines.getvalue()


def name_of(table: object) -> str:
    """A file name for a table: that of a datasets.Dataset and its split, else what kind of table it is."""
    info = getattr(table, "info", None)
    known = [getattr(info, "dataset_name", None) or getattr(info, "builder_name", None), getattr(table, "split", None)]
    words = [str(word).replace("/", "_") for word in known if word]
    is_table = hasattr(table, "columns") or hasattr(table, "column_names")
    return f"{('-'.join(words) or type(table).__name__.lower()) if is_table else 'rows'}.jsonl"


def _rows(table: Any) -> Iterator[Any]:
    if isinstance(table, str | bytes | bytearray | PathLike):
        raise WrongSource(f"This is a {type(table).__name__}, and no table.", hint=HINT)
    if isinstance(table, Mapping):
        inside = ", ".join(repr(str(key)) for key in list(table)[:3])
        raise WrongSource(
            f"This is one {type(table).__name__} ({inside}{', …' if len(table) > 3 else ''}), and no list of rows.",
            hint="Give one of its tables, such as data['train'], or a list of dicts.",
        )
    if callable(getattr(table, "iter_rows", None)) and hasattr(table, "columns"):  # polars
        return table.iter_rows(named=True)
    if callable(getattr(table, "itertuples", None)) and hasattr(table, "columns"):  # pandas
        return _of_frame(table)
    if callable(getattr(table, "to_batches", None)) and hasattr(table, "schema"):  # pyarrow
        return _of_batches(table)
    if callable(getattr(table, "to_pylist", None)) and hasattr(table, "schema"):  # one batch of pyarrow
        return iter(table.to_pylist())
    if callable(getattr(table, "collect_schema", None)):  # polars, not computed yet
        raise WrongSource("This is a LazyFrame, whose rows are not computed yet.", hint="Give frame.collect().")
    if not isinstance(table, Iterable):
        raise WrongSource(f"This is of the type {type(table).__name__}, which has no rows.", hint=HINT)
    return iter(table)


def _of_frame(table: Any) -> Iterator[Mapping[Any, Any]]:
    names = list(table.columns)
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise InvalidDataset(f"Two columns are called {str(twice)!r}.", hint="Rename one of them.")
    return (dict(zip(names, values, strict=True)) for values in table.itertuples(index=False, name=None))


def _of_batches(table: Any) -> Iterator[Any]:
    # 1,000 rows at a time: a batch may be the whole table.
    for batch in table.to_batches(max_chunksize=1000):
        yield from batch.to_pylist()


def _column(name: object, row: int) -> str:
    if isinstance(name, str):
        return _text(name, row, name.encode("ascii", "replace").decode())
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    raise InvalidDataset(f"Row {row} has a column named {_shown(name)}: a name is text.", hint="Rename it.")


def _cell(value: Any, row: int, column: object) -> Cell:
    """The value as JSON has it."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or type(value).__name__ in _MISSING:
        return None
    if isinstance(value, str):
        return _text(value, row, column)
    if isinstance(value, bool | int):
        return value if isinstance(value, bool) else int(value)
    if isinstance(value, float | Decimal):
        return _finite(float(value), row, column)
    return _of_other(value, row, column)


def _of_other(value: Any, row: int, column: object) -> Cell:
    if isinstance(value, date | time):  # a datetime and pandas' Timestamp are dates
        return value.isoformat()
    if isinstance(value, UUID | PathLike):
        return str(value)
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):  # numpy, torch
        return _of_scalar(value, row, column)
    raise _refused(value, row, column)


def _text(value: str, row: int, column: object) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidDataset(
            f"Row {row}, column {str(column)!r} holds half of a surrogate pair, which is no text.", hint=HINT
        ) from None
    return str(value)


def _of_scalar(value: Any, row: int, column: object) -> Cell:
    plain = value.item()
    if type(value).__name__ == "datetime64":  # counted in nanoseconds, its `item` is an integer
        return None if str(value) == "NaT" else str(value)
    if type(plain) is type(value):
        raise _refused(value, row, column)
    return _cell(plain, row, column)


def _finite(value: float, row: int, column: object) -> float | None:
    if math.isinf(value):
        raise InvalidDataset(f"Row {row}, column {str(column)!r}: infinity is no number of JSON.", hint=HINT)
    return None if math.isnan(value) else value


def _refused(value: Any, row: int, column: object) -> InvalidDataset:
    is_array = bool(getattr(value, "shape", None))
    nested = is_array or (isinstance(value, Mapping | Sequence | Set) and not isinstance(value, bytes | bytearray))
    why = "rows are flat" if nested else "a value is text, a number, a date, true, false or nothing"
    return InvalidDataset(
        f"Row {row}, column {str(column)!r} holds a {type(value).__name__} ({_shown(value)}), and {why}.",
        hint="Make it a column of text, such as with json.dumps, or leave the column out.",
    )


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"
