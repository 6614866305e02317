"""Tables as they come in: CSV and TSV read row by row, and the limits that rows of every form are held to."""

import codecs
import csv
import io
from collections.abc import Generator, Iterable, Iterator
from typing import BinaryIO, NoReturn

from explaind.contract.errors import InvalidDataset
from explaind.contract.files import MAX_NAME_CHARS, Cell
from explaind_jobs.files.csv_lines import CsvLines

MAX_ROWS = 250_000
MAX_COLUMNS = 256
# Rows × columns: the parsed rows may be far larger than the file.
MAX_CELLS = 4_000_000
MAX_ROW_BYTES = 1 << 24
MAX_BLANK_LINES = 250_000
READ_AT_ONCE = 1 << 20
SHOWN_NAME = 60
HINT = (
    "Each row is one flat JSON object (JSON lines, or an array of objects), or one line under a header (CSV, TSV); "
    "text is UTF-8."
)

Row = dict[str, Cell]


def csv_rows(source: BinaryIO, separator: str = ",") -> Generator[Row, None, None]:
    """The rows of a CSV with a header (RFC 4180: commas, or another separator, quotes doubled); every value is text.

    Raises:
        InvalidDataset: quotes are not closed, or a row has other cells than the header, or more than one may have; its
            line is named.
    """
    csv.field_size_limit(2**31 - 1)  # the default, 128 KiB, is shorter than a document
    text = io.TextIOWrapper(source, encoding="utf-8-sig", newline="")
    lines = CsvLines(text, MAX_COLUMNS, MAX_ROW_BYTES, refuse, separator)
    try:
        yield from _csv_rows(lines, separator)
    except UnicodeDecodeError:
        refuse("This is not UTF-8.", _line_out_of_utf8(source))
    except csv.Error as error:
        refuse(f"This is not CSV: {error}.", lines.number)
    finally:
        text.detach()  # or it would close `source`, which belongs to the caller


def tsv_rows(source: BinaryIO) -> Generator[Row, None, None]:
    """The rows of a table whose cells are separated by tabs, otherwise as `csv_rows`."""
    yield from csv_rows(source, "\t")


def _csv_rows(lines: CsvLines, separator: str) -> Iterator[Row]:
    header: list[str] | None = None
    blank = 0
    for cells in csv.reader(lines, strict=True, delimiter=separator):
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
    """Each row, with the columns seen so far in order of appearance.

    Raises:
        InvalidDataset: too many rows, columns or cells, an invalid column name, or no rows.
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


def refuse(why: str, place: int | str | None = None, *, hint: str = HINT) -> NoReturn:
    """Raises InvalidDataset, with the place where there is one: the number of a line, or words."""
    where = f"Line {place}" if isinstance(place, int) else place
    raise InvalidDataset(why if where is None else f"{where}: {why}", hint=hint)


def _header(cells: list[str]) -> list[str]:
    if len(cells) > MAX_COLUMNS:
        refuse(f"It has {len(cells)} columns; a dataset may have {MAX_COLUMNS}.", 1)
    for place, name in enumerate(cells, 1):
        if not name:
            refuse(f"Column {place} has no name.", 1)
    twice = [name for name in dict.fromkeys(cells) if cells.count(name) > 1]
    if twice:
        refuse(f"Two columns are called {shown(twice[0])}.", 1)
    return cells


def _check_name(name: str, row: int) -> None:
    if not name:
        refuse(f"A column of row {row} has an empty name.")
    if len(name) > MAX_NAME_CHARS:
        refuse(f"The column {shown(name)} of row {row} has a name of more than {MAX_NAME_CHARS} characters.")
    if not is_text(name):
        refuse(f"A column of row {row} has a name with half of a surrogate pair in it.")


def shown(name: str) -> str:
    return ascii(name if len(name) <= SHOWN_NAME else f"{name[:SHOWN_NAME]}...")


def is_text(text: str) -> bool:
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
