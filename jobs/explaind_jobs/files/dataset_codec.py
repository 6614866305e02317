"""A dataset as it is stored: zstd of one JSON array a row, in the order of its columns."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import zstandard

from explaind.contract.files import Cell
from explaind_jobs.files.parquet import parquet_rows
from explaind_jobs.files.table_readers import Row, checked, csv_rows, json_rows, refuse

TableForm = Literal["jsonl", "csv", "parquet"]

PREVIEW_ROWS = 5
PREVIEW_COLUMNS = 32
PREVIEW_CHARS = 200
LEVEL = 3
# Of what is written for a file, before it is packed: escapes make text longer, Parquet's dictionaries without end.
MOST_WRITTEN, MOST_GROWTH = 1 << 28, 8

READERS: dict[TableForm, Callable[[bytes], Iterator[Row]]] = {
    "jsonl": json_rows,
    "csv": csv_rows,
    "parquet": parquet_rows,
}


@dataclass(frozen=True, slots=True)
class EncodedDataset:
    """A dataset ready to be stored: its bytes, their SHA-256, and what its card says."""

    data: bytes
    digest: str
    rows: int
    columns: list[str]
    preview: list[Row]


def encode(data: bytes, form: TableForm) -> EncodedDataset:
    """Read a file and write it as it is stored; no more than one row at a time is ever held.

    Raises:
        InvalidDataset: it cannot be read, or is over a limit.
        UnsupportedMedia: it is Parquet, and pyarrow is not installed.
    """
    packer, out = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj(), io.BytesIO()
    columns: list[str] = []
    preview: list[Row] = []
    count, written, most = 0, 0, max(MOST_WRITTEN, MOST_GROWTH * len(data))
    for row, more in checked(READERS[form](data)):
        columns = more or columns
        if len(preview) < PREVIEW_ROWS:
            preview.append(row)
        line = _line(row, columns)
        written += len(line)
        if written > most:
            refuse(f"Its rows are more than {most} bytes of text by row {count + 1}.")
        out.write(packer.compress(line))
        count += 1
    out.write(packer.flush())
    stored = out.getvalue()
    shown = [{name: _cut(row.get(name)) for name in columns[:PREVIEW_COLUMNS]} for row in preview]
    return EncodedDataset(stored, hashlib.sha256(stored).hexdigest(), count, columns, shown)


def decode(stored: bytes, columns: Sequence[str]) -> list[Row]:
    """The rows of a stored dataset; each has every column, None where it was left out."""
    with zstandard.ZstdDecompressor().stream_reader(stored) as reader:
        lines = io.BufferedReader(reader)  # pyright: ignore[reportArgumentType] - it is a RawIOBase in all but name
        return [_row(json.loads(line), columns) for line in lines]


def _line(row: Row, columns: Sequence[str]) -> bytes:
    cells = [row.get(name) for name in columns]
    try:
        return json.dumps(cells, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    except ValueError:  # JSON and CSV were looked through on their way here; Parquet may hold NaN
        refuse("It holds a number that is not finite.")


def _row(cells: list[Cell], columns: Sequence[str]) -> Row:
    return dict(zip(columns, cells + [None] * (len(columns) - len(cells)), strict=True))


def _cut(cell: Cell) -> Cell:
    return f"{cell[:PREVIEW_CHARS]}…" if isinstance(cell, str) and len(cell) > PREVIEW_CHARS else cell
