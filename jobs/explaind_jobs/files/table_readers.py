"""Datasets as they come in: JSON lines, CSV or Parquet, read row by row, each held to limits before it is parsed."""

import codecs
import csv
import io
import json
import math
from collections.abc import Generator, Iterable, Iterator
from typing import Any, BinaryIO, NoReturn, cast

from explaind.contract.errors import InvalidDataset
from explaind.contract.files import MAX_NAME_CHARS, Cell
from explaind_jobs.files.csv_lines import CsvLines
from explaind_jobs.json_structure import JsonStructure, structure_of

MAX_ROWS = 250_000
MAX_COLUMNS = 256
# Rows × columns: what a reader makes of a file may be far larger than the file.
MAX_CELLS = 4_000_000
MAX_ROW_BYTES = 1 << 24
MAX_BLANK_LINES = 250_000
READ_AT_ONCE = 1 << 20
INTEGERS = range(-(2**63), 2**64)
SHOWN_NAME = 60
HINT = "Each row is one flat JSON object (JSON lines), or one line under a header (CSV); text is UTF-8."

Row = dict[str, Cell]


def json_rows(source: BinaryIO) -> Generator[Row, None, None]:
    """The rows of JSON lines; blank lines are passed over.

    Raises:
        InvalidDataset: a line is no flat object, or more than one may be; it is named.
    """
    blank = number = 0
    # No more of an endless line is read than tells that it is one.
    while raw := source.readline(MAX_ROW_BYTES + 1):
        number += 1
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        if len(raw) > MAX_ROW_BYTES:
            refuse(f"This line is longer than the {MAX_ROW_BYTES} bytes that a row may have.", number)
        if line.isspace() or not line:
            blank += 1
            if blank > MAX_BLANK_LINES:
                refuse("There are too many blank lines.", number)
            continue
        yield _json_row(line, number)


def csv_rows(source: BinaryIO) -> Generator[Row, None, None]:
    """The rows of a CSV with a header (RFC 4180: commas, quotes doubled); every value is text.

    Raises:
        InvalidDataset: quotes are not closed, or a row has other cells than the header, or more than one may have; its
            line is named.
    """
    csv.field_size_limit(2**31 - 1)  # the module's own, 128 KiB, is less than a document
    text = io.TextIOWrapper(source, encoding="utf-8-sig", newline="")
    lines = CsvLines(text, MAX_COLUMNS, MAX_ROW_BYTES, refuse)
    try:
        yield from _csv_rows(lines)
    except UnicodeDecodeError:
        refuse("This is not UTF-8.", _line_out_of_utf8(source))
    except csv.Error as error:
        refuse(f"This is not CSV: {error}.", lines.number)
    finally:
        text.detach()  # or it would close what is not its own


def _csv_rows(lines: CsvLines) -> Iterator[Row]:
    header: list[str] | None = None
    blank = 0
    for cells in csv.reader(lines, strict=True):
        lines.begin_row()
        if not cells:
            blank += 1
            if blank > MAX_BLANK_LINES:
                refuse("There are too many blank lines.", lines.number)
        elif header is None:
            header = _header(cells)
        elif len(cells) != len(header):
            refuse(f"The header names {len(header)} columns, and this row has {len(cells)}.", lines.number)
        else:
            yield dict(zip(header, cells, strict=True))


def checked(rows: Iterable[Row]) -> Iterator[tuple[Row, list[str]]]:
    """Each row, with the columns that were seen by then, in order of appearance.

    Raises:
        InvalidDataset: there are too many rows, columns or cells, a name that is none, or no row at all.
    """
    columns: dict[str, None] = {}
    count = 0
    for count, row in enumerate(rows, 1):
        new = [name for name in row if name not in columns]
        for name in new:
            _check_name(name, count)
        columns.update(dict.fromkeys(new))
        if count > MAX_ROWS:
            refuse(f"It has more than {MAX_ROWS} rows, the most that a dataset may have.")
        if len(columns) > MAX_COLUMNS:
            refuse(f"It has more than {MAX_COLUMNS} columns by row {count}, the most that a dataset may have.")
        if count * len(columns) > MAX_CELLS:
            refuse(f"It has more than {MAX_CELLS} cells by row {count}: rows times columns.")
        yield row, list(columns) if new else []
    if not count:
        refuse("There are no rows in it.")


def refuse(why: str, line: int | None = None) -> NoReturn:
    """Raises InvalidDataset, with the line where there is one."""
    raise InvalidDataset(why if line is None else f"Line {line}: {why}", hint=HINT)


def _check_structure(line: bytes, number: int) -> None:
    """Refuses, before it is parsed, what would make more than a row: three million names are 800 MB."""
    # A row that is not flat is told which of its values is not, unless it has very many.
    most = JsonStructure(MAX_COLUMNS, 2 * MAX_COLUMNS, MAX_COLUMNS, MAX_COLUMNS)
    found = structure_of(line, most)
    if found.containers > most.containers or found.depth > most.depth:
        refuse("This is nested too deeply, or holds many arrays, and rows are flat.", number)
    if found.names > most.names or found.values > most.values:
        refuse(f"This object has more than {MAX_COLUMNS} names or values, the most that a row may have.", number)


def _json_row(line: bytes, number: int) -> Row:
    _check_structure(line, number)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) != len(pairs):
            refuse("A name stands twice in this object.", number)
        return row

    def no_number(word: str) -> NoReturn:
        refuse(f"{word} is no JSON.", number)

    try:
        row = json.loads(line.decode(), object_pairs_hook=unique, parse_constant=no_number)
    except UnicodeDecodeError:
        refuse("This is not UTF-8.", number)
    except RecursionError:
        refuse("This is nested too deeply.", number)
    except json.JSONDecodeError as error:
        refuse(f"This is not JSON: {error.msg} at column {error.colno}.", number)
    except ValueError:
        refuse("A number has too many digits.", number)
    if not isinstance(row, dict):
        refuse("This is no JSON object.", number)
    if not row:
        refuse("This object is empty.", number)
    for name, value in row.items():
        _check_value(name, value, number)
    return cast("Row", row)


def _check_value(name: str, value: object, line: int) -> None:
    match value:
        case dict() | list():
            refuse(f"{_shown(name)} holds an object or an array, and rows are flat.", line)
        case float() if not math.isfinite(value):
            refuse(f"{_shown(name)} is too large a number.", line)
        case int() if value not in INTEGERS:
            refuse(f"{_shown(name)} is an integer of more than 64 bits.", line)
        case str() if not _is_text(value):
            refuse(f"{_shown(name)} holds half of a surrogate pair, which is no text.", line)
        case _:
            return


def _header(cells: list[str]) -> list[str]:
    if len(cells) > MAX_COLUMNS:
        refuse(f"It has {len(cells)} columns; a dataset may have {MAX_COLUMNS}.", 1)
    for place, name in enumerate(cells, 1):
        if not name:
            refuse(f"Column {place} has no name.", 1)
    twice = [name for name in dict.fromkeys(cells) if cells.count(name) > 1]
    if twice:
        refuse(f"Two columns are called {_shown(twice[0])}.", 1)
    return cells


def _check_name(name: str, row: int) -> None:
    if not name:
        refuse(f"A column of row {row} has an empty name.")
    if len(name) > MAX_NAME_CHARS:
        refuse(f"The column {_shown(name)} of row {row} has a name of more than {MAX_NAME_CHARS} characters.")
    if not _is_text(name):
        refuse(f"A column of row {row} has a name with half of a surrogate pair in it.")


def _shown(name: str) -> str:
    return ascii(name if len(name) <= SHOWN_NAME else f"{name[:SHOWN_NAME]}...")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _line_out_of_utf8(source: BinaryIO) -> int:
    source.seek(0)
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    while True:
        chunk = source.read(READ_AT_ONCE)
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            return line + error.object[: error.start].count(b"\n")
        if not chunk:
            return line
        line += chunk.count(b"\n")
