"""Storage format of a dataset: zstd of one JSON array per row, in column order."""

import hashlib
import io
import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO, Literal

import zstandard

from explaind.contract.files import Cell
from explaind_jobs.files.json_rows import json_rows
from explaind_jobs.files.parquet import parquet_rows
from explaind_jobs.files.table_readers import Row, checked, csv_rows, refuse, tsv_rows

TableForm = Literal["jsonl", "csv", "tsv", "parquet"]

PREVIEW_ROWS = 5
PREVIEW_COLUMNS = 32
PREVIEW_CHARS = 200
LEVEL = 3
# Limits on the uncompressed output: escapes make text longer, Parquet dictionaries without bound.
MOST_WRITTEN, MOST_GROWTH = 1 << 28, 8

READERS: dict[TableForm, Callable[[BinaryIO], Generator[Row, None, None]]] = {
    "jsonl": json_rows,
    "csv": csv_rows,
    "tsv": tsv_rows,
    "parquet": parquet_rows,
}


@dataclass(frozen=True, slots=True)
class EncodedDataset:
    """A dataset ready to be stored: SHA-256 and size of its bytes, and the fields of its card."""

    digest: str
    size: int
    rows: int
    columns: list[str]
    preview: list[Row]


def encode(source: BinaryIO, form: TableForm, out: BinaryIO) -> EncodedDataset:
    """Read a file and write it to `out` in the storage format; only a few rows are in memory at a time.

    Raises:
        InvalidDataset: it cannot be read, or is over a limit.
        UnsupportedMedia: it is Parquet, and pyarrow is not installed.
    """
    packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
    digest, size = hashlib.sha256(), 0
    columns: list[str] = []
    preview: list[Row] = []
    count, written, most = 0, 0, max(MOST_WRITTEN, MOST_GROWTH * source.seek(0, io.SEEK_END))
    source.seek(0)

    def store(packed: bytes) -> None:
        nonlocal size
        size += len(packed)
        digest.update(packed)
        out.write(packed)

    with closing(READERS[form](source)) as rows:
        for row, more in checked(rows):
            columns = more or columns
            if len(preview) < PREVIEW_ROWS:
                preview.append(_shown(row, columns))
            line = _line(row, columns)
            written += len(line)
            if written > most:
                refuse(f"Its rows are more than {most} bytes of text by row {count + 1}.")
            store(packer.compress(line))
            count += 1
    store(packer.flush())
    # Columns that first appear in later rows are empty in the preview.
    first = [{name: row.get(name) for name in columns[:PREVIEW_COLUMNS]} for row in preview]
    return EncodedDataset(digest.hexdigest(), size, count, columns, first)


def decode(stored: bytes, columns: Sequence[str]) -> list[Row]:
    """The rows of a stored dataset; each has every column, None for missing values."""
    with zstandard.ZstdDecompressor().stream_reader(stored) as reader:
        lines = io.BufferedReader(reader)  # pyright: ignore[reportArgumentType] - it is a RawIOBase in all but name
        return [_row(json.loads(line), columns) for line in lines]


def _line(row: Row, columns: Sequence[str]) -> bytes:
    cells = [row.get(name) for name in columns]
    try:
        return json.dumps(cells, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    except ValueError:  # JSON and CSV were checked on reading; Parquet may hold NaN
        refuse("It holds a number that is not finite.")


def _row(cells: list[Cell], columns: Sequence[str]) -> Row:
    return dict(zip(columns, cells + [None] * (len(columns) - len(cells)), strict=True))


def _shown(row: Row, columns: Sequence[str]) -> Row:
    return {name: _cut(row[name]) for name in columns[:PREVIEW_COLUMNS] if name in row}


def _cut(cell: Cell) -> Cell:
    return f"{cell[:PREVIEW_CHARS]}…" if isinstance(cell, str) and len(cell) > PREVIEW_CHARS else cell
