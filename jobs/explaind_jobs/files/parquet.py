"""Parquet reader for datasets (needs pyarrow)."""

from collections.abc import Generator
from importlib.util import find_spec
from typing import Any, BinaryIO

from explaind.contract.errors import UnsupportedMedia
from explaind_jobs.files.table_readers import MAX_CELLS, MAX_COLUMNS, MAX_ROWS, Row, refuse

# Few rows at a time: a dictionary repeats one long text in every row; `dataset_codec` bounds the output.
BATCH_ROWS = 64
MOST_UNPACKED = 1 << 28
# Limits on strings and lists of the footer, which is parsed before anything about the file is known.
MOST_STRING_BYTES, MOST_LIST_ITEMS = 1 << 24, 1 << 18
PLAIN = ("is_string", "is_large_string", "is_string_view", "is_integer", "is_floating", "is_boolean")


def require_parquet() -> None:
    """Raises UnsupportedMedia where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise UnsupportedMedia(
            "This service reads no Parquet: pyarrow is not installed beside it.",
            hint="Send the dataset as JSON lines or CSV, or have pyarrow installed with the service.",
        )


def parquet_rows(source: BinaryIO) -> Generator[Row, None, None]:
    """The rows of a Parquet file whose columns are text, numbers and booleans.

    Raises:
        UnsupportedMedia: pyarrow is not installed.
        InvalidDataset: the file is not such a Parquet file.
    """
    require_parquet()
    import pyarrow  # noqa: PLC0415 # pyright: ignore[reportMissingImports] - optional, and slow to import
    import pyarrow.parquet  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

    try:
        file = pyarrow.parquet.ParquetFile(
            source, thrift_string_size_limit=MOST_STRING_BYTES, thrift_container_size_limit=MOST_LIST_ITEMS
        )
        _check_shape(file, pyarrow.types)
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # pyarrow's errors for broken files
        refuse(f"This is no Parquet file that pyarrow can read ({type(error).__name__}).")


def _check_shape(file: Any, types: Any) -> None:
    rows, fields = file.metadata.num_rows, list(file.schema_arrow)
    if rows > MAX_ROWS or len(fields) > MAX_COLUMNS or rows * len(fields) > MAX_CELLS:
        refuse(f"It has {rows} rows and {len(fields)} columns; a dataset may have {MAX_ROWS} and {MAX_COLUMNS}.")
    groups = range(file.metadata.num_row_groups)
    if sum(file.metadata.row_group(group).total_byte_size for group in groups) > MOST_UNPACKED:
        refuse(f"It unpacks to more than {MOST_UNPACKED} bytes.")
    names = [field.name for field in fields]
    if len(set(names)) != len(names):
        refuse("Two of its columns have the same name.")
    # Older versions of pyarrow lack some of these types.
    plain = [getattr(types, name) for name in PLAIN if hasattr(types, name)]
    for field in fields:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if not (types.is_null(kind) or any(is_plain(kind) for is_plain in plain)):
            refuse(f"The column {field.name[:60]!a} holds {str(kind)[:60]}, which is no text, number or boolean.")
