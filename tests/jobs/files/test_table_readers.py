"""Datasets as they come in: what is read as what, and what is refused at which line."""

import csv
import hashlib
import io
import json
import re
import sys
import types
from dataclasses import dataclass
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explaind.contract.errors import InvalidDataset, UnsupportedMedia
from explaind_jobs.files import csv_lines, dataset_codec, table_readers
from explaind_jobs.files.dataset_codec import EncodedDataset, TableForm, decode

CELLS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(
    st.dictionaries(st.text(min_size=1, max_size=5), CELLS | st.text(max_size=20), min_size=1, max_size=5), min_size=1
)


def encode(data: bytes, form: TableForm, out: BinaryIO | None = None) -> EncodedDataset:
    return dataset_codec.encode(io.BytesIO(data), form, out or io.BytesIO())


def read(data: bytes, form: TableForm = "jsonl") -> list[dict[str, Any]]:
    out = io.BytesIO()
    encoded = encode(data, form, out)
    assert (encoded.size, encoded.digest) == (len(out.getvalue()), hashlib.sha256(out.getvalue()).hexdigest())
    rows = decode(out.getvalue(), encoded.columns)
    assert len(rows) == encoded.rows
    return rows


def wide_object(names: int) -> bytes:
    return b"{" + b",".join(b'"n%d":0' % place for place in range(names)) + b"}"


@given(rows=ROWS)
def test_json_lines_come_back_as_they_went(rows: list[dict[str, Any]]) -> None:
    data = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    assert encode(data, "jsonl").columns == columns
    assert read(data) == [{name: row.get(name) for name in columns} for row in rows]


def test_json_lines_as_they_are_found_in_the_wild() -> None:
    data = '\ufeff{"a": 1}\r\n\r\n{"b": "x\u2028\u0085y"}\n  \n{"a": true, "b": null}'.encode()
    assert read(data) == [
        {"a": 1, "b": None},
        {"a": None, "b": "x\u2028\u0085y"},
        {"a": True, "b": None},
    ]


def test_csv_is_text() -> None:
    data = '\ufeffquestion,answer\r\n"3 + 4, or\n""seven""?",7\r\n\r\né,\r\n'.encode()
    assert read(data, "csv") == [
        {"question": '3 + 4, or\n"seven"?', "answer": "7"},
        {"question": "é", "answer": ""},
    ]


def test_a_cell_may_be_a_document() -> None:
    text = "word " * 100_000
    assert read(f'a\n"{text}"\n'.encode(), "csv") == [{"a": text}]


def test_a_preview_is_short() -> None:
    row = {f"c{place}": "x" * 1000 for place in range(50)}
    preview = encode("\n".join([json.dumps(row)] * 9).encode(), "jsonl").preview
    assert len(preview) == dataset_codec.PREVIEW_ROWS
    assert preview[0] == {f"c{place}": f"{'x' * 200}…" for place in range(32)}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"[1, 2]", "no JSON object"),
        (b'"a"', "no JSON object"),
        (b"{}", "empty"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": {"b": 1}}', "'a' holds an object"),
        (b'{"a": [1]}', "'a' holds an object or an array"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": 99999999999999999999999}', "64 bits"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": ' + b"[" * 100_000, "deeply"),
        (b"\xef\xbb\xbf{}", "not JSON"),
    ],
)
def test_a_line_that_is_no_row_is_named_and_not_repeated(line: bytes, said: str) -> None:
    with pytest.raises(InvalidDataset, match=r"^Line 3: ") as caught:
        encode(b'{"a": "b"}\n\n' + line + b"\n", "jsonl")
    assert said in caught.value.detail
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a,b\n1,2\n3\n", "Line 3: The header names 2 columns, and this row has 1."),
        (b"a,b\n1,2\n\n3,4,5\n", "Line 4: The header names 2 columns, and this row has 3."),
        (b"a,b,a\n1,2,3\n", "Line 1: Two columns are called 'a'."),
        (b"a,,b\n1,2,3\n", "Line 1: Column 2 has no name."),
        (b'a\n"x\n', "Line 2: This is not CSV"),
        (b'a\n"x"y\n', "Line 2: This is not CSV"),
        (b"a\nx\ny\n\xe9\n", "Line 4: This is not UTF-8."),
        ("a\nx\n".encode("utf-16"), "Line 1: This is not UTF-8."),
        (b"a,b\n", "There are no rows"),
        (b"", "There are no rows"),
        (b"\n\n", "There are no rows"),
        (b",".join(b"c%d" % place for place in range(257)) + b"\n", "257 columns"),
        (b"c" * 201 + b"\n1\n", "more than 200 characters"),
    ],
)
def test_a_csv_that_is_none(data: bytes, said: str) -> None:
    with pytest.raises(InvalidDataset) as caught:
        encode(data, "csv")
    assert said in caught.value.detail
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize(
    ("limit", "data", "said"),
    [
        ("MAX_ROWS", b'{"a": 1}\n' * 6, "more than 5 rows"),
        ("MAX_COLUMNS", b"".join(b'{"%d": 1}\n' % place for place in range(6)), "more than 5 columns by row 6"),
        ("MAX_CELLS", b'{"a": 1, "b": 1}\n' * 6, "more than 5 cells by row 3"),
        ("MAX_BLANK_LINES", b"\n" * 6 + b'{"a": 1}', "too many blank lines"),
    ],
)
def test_limits(monkeypatch: pytest.MonkeyPatch, limit: str, data: bytes, said: str) -> None:
    monkeypatch.setattr(table_readers, limit, 5)
    with pytest.raises(InvalidDataset, match=said):
        encode(data, "jsonl")


def test_what_is_stored_is_not_much_larger_than_what_came() -> None:
    """One row with long names and many with none must not become many with long names."""
    wide = json.dumps({f"{'n' * 190}{place}": 0 for place in range(200)})
    data = (wide + "\n" + '{"x": 0}\n' * 15_000).encode()
    encoded = encode(data, "jsonl")
    assert encoded.rows == 15_001
    assert encoded.size < len(data)


@dataclass
class Endless(io.RawIOBase):
    """A file that begins so and goes on for ever, and what was read of it."""

    head: bytes
    body: bytes
    taken: int = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def readinto(self, buffer: Any) -> int:
        data = self.head[self.taken :] or self.body * (len(buffer) // len(self.body))
        data = data[: len(buffer)]
        buffer[: len(data)] = data
        self.taken += len(data)
        return len(data)


@pytest.mark.parametrize(
    ("form", "head", "body", "said"),
    [
        ("jsonl", b'{"a": "', b"x", "Line 1: This line is longer than the 100000 bytes"),
        ("jsonl", b'{"a": 1}\n', b"[", "Line 2: This line is longer"),
        ("csv", b"a\n", b"x", "Line 2: This row is longer than the 100000 characters"),
        ("csv", b'a\n"', b"x\n", "This row is longer than the 100000 characters"),
        ("csv", b"", b",", "Line 1: This row is longer"),
        ("csv", b'a\n"', b'\n","', "This row has more than the 256 columns"),
    ],
)
def test_a_row_without_end_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, form: TableForm, head: bytes, body: bytes, said: str
) -> None:
    monkeypatch.setattr(table_readers, "MAX_ROW_BYTES", 100_000)
    source = Endless(head, body)
    with pytest.raises(InvalidDataset) as caught:
        dataset_codec.encode(io.BufferedReader(source), form, io.BytesIO())
    assert said in caught.value.detail
    assert source.taken < 200_000


@pytest.mark.parametrize(
    "line",
    [
        wide_object(300),
        wide_object(100_000),
        b'{"a": [' + b"0," * 100_000 + b"0]}",
        b'{"a": [' + b"{}," * 100_000 + b"{}]}",
        b'{"a": ["' + b'","' * 100_000 + b'"]}',
        b'{"a": ' + b"[" * 1000 + b"]" * 1000 + b"}",
        b'{"a": "' + b'\\"' * 1000 + b'", ' + wide_object(300)[1:],
    ],
    ids=lambda line: line[:20].decode(),
)
def test_a_line_that_would_be_more_than_a_row_is_not_parsed(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    monkeypatch.setattr(table_readers.json, "loads", lambda *_, **__: pytest.fail("It was parsed."))
    with pytest.raises(InvalidDataset, match=r"^Line 1: "):
        encode(line + b"\n", "jsonl")


def test_commas_colons_and_brackets_in_texts_are_text() -> None:
    text = '[{"a": 1, "b\\": [2, 3]}] ' * 500
    assert read(json.dumps({"a": text}).encode()) == [{"a": text}]
    quoted = text.replace('"', '""')
    assert read(f'a,b\n"{quoted}","{quoted}\n{quoted}"\n'.encode(), "csv") == [{"a": text, "b": f"{text}\n{text}"}]


@pytest.mark.parametrize(
    "row",
    [
        b"," * 5000,
        b'x"' + b"," * 5000,
        b'x"' + b',"' * 5000,
        b'"x""",' * 5000,
        b'"x\n",' * 5000,
        b'"x",\r\n"' + b"," * 5000,
    ],
    ids=lambda row: repr(row[:12]),
)
def test_a_csv_row_is_refused_before_it_has_many_more_cells_than_it_may(
    monkeypatch: pytest.MonkeyPatch, row: bytes
) -> None:
    """However quotes are set: what the csv module would call a cell is one."""
    handed: list[str] = []

    class Lines(csv_lines.CsvLines):
        def __next__(self) -> str:
            handed.append(super().__next__())
            return handed[-1]

    monkeypatch.setattr(table_readers, "CsvLines", Lines)
    with pytest.raises(InvalidDataset):
        encode(b"a,b\n" + row, "csv")
    assert max(map(len, csv.reader(handed))) <= 2 * table_readers.MAX_COLUMNS


@given(rows=st.lists(st.lists(st.text(alphabet='a",\n\r', max_size=4), min_size=1, max_size=6), min_size=1, max_size=5))
def test_cells_are_counted_as_the_csv_module_counts_them(rows: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
    lines = io.StringIO(out.getvalue(), newline="")
    for row in rows:
        counted, quoted = 0, False
        for part in range(1 + sum(len(re.findall(r"\r\n|\r|\n", cell)) for cell in row)):
            counted += csv_lines.cells_in(lines.readline(), quoted=quoted, most=99) - (part > 0)
            quoted = True
        assert counted == len(row)


class NoParquet(Exception):
    """What a stand-in for pyarrow raises."""


class Batch:
    """Some rows of a stand-in for a Parquet file."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def to_pylist(self) -> list[dict[str, Any]]:
        return self.rows


def stand_in(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], kind: str, nbytes: int = 10) -> None:
    """Puts a pyarrow in the place of the real one, whose every file holds these rows."""

    class File:
        def __init__(self, source: Any, **limits: int) -> None:
            assert set(limits) == {"thrift_string_size_limit", "thrift_container_size_limit"}
            if source.read(4) != b"PAR1":
                raise NoParquet
            group = types.SimpleNamespace(total_byte_size=nbytes)
            self.metadata = types.SimpleNamespace(num_rows=len(rows), num_row_groups=1, row_group=lambda number: group)
            field_type = types.SimpleNamespace(kind=kind)
            self.schema_arrow = [types.SimpleNamespace(name=name, type=field_type) for name in rows[0]]

        def iter_batches(self, batch_size: int) -> Any:
            assert batch_size <= 64
            yield Batch(rows)

    names = ("string", "large_string", "integer", "floating", "boolean", "null", "dictionary")
    pyarrow: Any = types.ModuleType("pyarrow")
    pyarrow.parquet = parquet = types.SimpleNamespace(ParquetFile=File)
    pyarrow.ArrowException = NoParquet
    pyarrow.types = types.SimpleNamespace(
        **{f"is_{name}": lambda field_type, name=name: field_type.kind == name for name in names}
    )
    monkeypatch.setitem(sys.modules, "pyarrow", pyarrow)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", parquet)
    monkeypatch.setattr("explaind_jobs.files.parquet.find_spec", lambda name: pyarrow)


def test_parquet_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, [{"a": "x"}, {"a": None}], "string")
    assert read(b"PAR1...", "parquet") == [{"a": "x"}, {"a": None}]
    with pytest.raises(InvalidDataset, match="no Parquet file"):
        encode(b"a,b\n", "parquet")
    stand_in(monkeypatch, [{"a": "x"}], "string", nbytes=1 << 29)
    with pytest.raises(InvalidDataset, match="unpacks to more"):
        encode(b"PAR1", "parquet")
    stand_in(monkeypatch, [{"a": "x" * 1000}] * 100, "string")
    monkeypatch.setattr(dataset_codec, "MOST_WRITTEN", 50_000)
    with pytest.raises(InvalidDataset, match="more than 50000 bytes of text by row 50"):
        encode(b"PAR1", "parquet")
    stand_in(monkeypatch, [{"a": float("nan")}], "floating")
    with pytest.raises(InvalidDataset, match="not finite"):
        encode(b"PAR1", "parquet")
    stand_in(monkeypatch, [{"a": [1]}], "list")
    with pytest.raises(InvalidDataset, match="no text, number or boolean"):
        encode(b"PAR1", "parquet")


def test_parquet_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explaind_jobs.files.parquet.find_spec", lambda name: None)
    with pytest.raises(UnsupportedMedia, match="pyarrow"):
        encode(b"PAR1", "parquet")
