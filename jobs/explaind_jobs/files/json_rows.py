"""Rows of JSON: one object a line, or one array of objects; each is held to limits before it is parsed."""

import codecs
import json
import math
from collections.abc import Generator
from typing import Any, BinaryIO, NoReturn, cast

from explaind_jobs.files import table_readers
from explaind_jobs.files.json_array import array_elements, beginning, rows_inside
from explaind_jobs.files.table_readers import Row, is_text, refuse, shown
from explaind_jobs.json_structure import JsonStructure, structure_of

INTEGERS = range(-(2**63), 2**64)


def json_rows(source: BinaryIO) -> Generator[Row, None, None]:
    """The rows of JSON lines, where blank lines are passed over, or of one array of objects.

    Raises:
        InvalidDataset: a row is no flat object, or more than one may be; its place is named.
    """
    head = beginning(source)
    if head.startswith(b"["):
        for element in array_elements(source, table_readers.MAX_ROW_BYTES):
            yield _json_row(element.text, element.place, element.line, element.column)
        return
    _check_wrapped(head)
    blank = number = 0
    # No more of an endless line is read than tells that it is one.
    while raw := source.readline(table_readers.MAX_ROW_BYTES + 1):
        number += 1
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        if len(raw) > table_readers.MAX_ROW_BYTES:
            refuse(f"This line is longer than the {table_readers.MAX_ROW_BYTES} bytes that a row may have.", number)
        if line.isspace() or not line:
            blank += 1
            if blank > table_readers.MAX_BLANK_LINES:
                refuse("There are too many blank lines.", number)
            continue
        yield _json_row(line, number)


def _check_wrapped(head: bytes) -> None:
    """Refuses what is one object over the whole file, with what to do instead."""
    if (name := rows_inside(head)) is not None:
        refuse(
            f"This is an object that holds an array of objects as {shown(name)}, and rows are flat.",
            1,
            hint=f"If the rows are in {shown(name)}, upload that array alone: jq '.[{json.dumps(name[:60])}]' FILE.",
        )
    if head.partition(b"\n")[0].strip() == b"{":
        refuse(
            "One object over several lines is no table.",
            1,
            hint="Write each object into one line (jq -c . FILE), or all of them into one array: [{…}, {…}].",
        )


def _check_structure(line: bytes, place: int | str) -> None:
    """Refuses, before it is parsed, what would make more than a row: three million names are 800 MB."""
    # A row that is not flat is told which of its values is not, unless it has very many.
    columns = table_readers.MAX_COLUMNS
    most = JsonStructure(columns, 2 * columns, columns, columns)
    found = structure_of(line, most)
    if found.containers > most.containers or found.depth > most.depth:
        refuse("This is nested too deeply, or holds many arrays, and rows are flat.", place)
    if found.names > most.names or found.values > most.values:
        refuse(f"This object has more than {columns} names or values, the most that a row may have.", place)


def _json_row(line: bytes, place: int | str, first_line: int | None = None, first_column: int = 1) -> Row:
    _check_structure(line, place)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) != len(pairs):
            refuse("A name stands twice in this object.", place)
        return row

    def no_number(word: str) -> NoReturn:
        refuse(f"{word} is no JSON.", place)

    try:
        row = json.loads(line.decode(), object_pairs_hook=unique, parse_constant=no_number)
    except UnicodeDecodeError:
        refuse("This is not UTF-8.", place)
    except RecursionError:
        refuse("This is nested too deeply.", place)
    except json.JSONDecodeError as error:
        refuse(f"This is not JSON: {error.msg} at {_where(error, first_line, first_column)}.", place)
    except ValueError:
        refuse("A number has too many digits.", place)
    if not isinstance(row, dict):
        refuse("This is no JSON object.", place)
    if not row:
        refuse("This object is empty.", place)
    for name, value in row.items():
        _check_value(name, value, place)
    return cast("Row", row)


def _check_value(name: str, value: object, place: int | str) -> None:
    match value:
        case dict() | list():
            refuse(f"{shown(name)} holds an object or an array, and rows are flat.", place)
        case float() if not math.isfinite(value):
            refuse(f"{shown(name)} is too large a number.", place)
        case int() if value not in INTEGERS:
            refuse(f"{shown(name)} is an integer of more than 64 bits.", place)
        case str() if not is_text(value):
            refuse(f"{shown(name)} holds half of a surrogate pair, which is no text.", place)
        case _:
            return


def _where(error: json.JSONDecodeError, first_line: int | None, first_column: int) -> str:
    if first_line is None:
        return f"column {error.colno}"
    column = error.colno + (first_column - 1 if error.lineno == 1 else 0)
    return f"line {first_line + error.lineno - 1}, column {column}"
