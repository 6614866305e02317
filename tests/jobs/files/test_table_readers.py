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
from hypothesis import given, settings
from hypothesis import strategies as st

from explaind.contract.errors import InvalidDataset, UnsupportedMedia
from explaind_jobs.files import csv_lines, dataset_codec, json_array, json_rows, table_readers
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


@settings(max_examples=15)
@given(rows=ROWS, indent=st.none() | st.integers(0, 2), size=st.integers(1, 9))
def test_an_array_comes_back_as_it_went_however_it_is_cut(rows: list[dict[str, Any]], indent, size: int) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    data = json.dumps(rows, ensure_ascii=False, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "READ_AT_ONCE", size)
        assert read(b" \r\n" + data + b"\n") == [{name: row.get(name) for name in columns} for row in rows]
    assert read(b"\xef\xbb\xbf" + data) == read(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[]", "There are no rows in it."),
        (b'[{"a": 1},\n {"a": 2},\n]\n', "A comma has nothing behind it at line 3, column 1"),
        (b'[,{"a": 1}]', "A comma has nothing before it at line 1, column 2"),
        (b'[{"a": 1} {"a": 2}]', "After row 1 a comma or the end of the array is due"),
        (b'[{"a": 1}]\n{"a": 2}', "Something follows the end of the array at line 2, column 1."),
        (b'[{"a": 1}]]', "Something follows the end of the array at line 1, column 11."),
        ('[{"a": "é"}]x'.encode(), "Something follows the end of the array at line 1, column 13."),
        (b'[{"a": 1},\n', "The array is not closed: the file ends at line 2, column 1."),
        (b'[{"a": 1}', "After row 1 a comma or the end of the array is due, and the file ends"),
        (b'[{"a": 1},\n{"a": "]}', "The array is not closed: the file ends within row 2 (line 2)."),
        (b'[{"a": 1}, }]', "A brace is closed at line 1, column 12 that was not opened."),
        (b'[{"a": 1},\n\n 7]', "Row 2 (line 3): This is no JSON object."),
        (b'[{"a": 1}, ["]", "a"]]', "Row 2 (line 1): This is no JSON object."),
        (b'[{"a": 1},\n{\n "b" 1}]', "Row 2 (line 2): This is not JSON: Expecting ':' delimiter at line 3, column 6."),
        (b'[{"a": 1}, {"b" 1}]', "Row 2 (line 1): This is not JSON: Expecting ':' delimiter at line 1, column 17."),
        (b'[{"a": 1},\n{"a": {"b": [1]}}]', "Row 2 (line 2): 'a' holds an object or an array, and rows are flat."),
        (b'[{"a": 1}, {"a": 1, "a": 2}]', "Row 2 (line 1): A name stands twice"),
        (b'[{"a": "\xff"}]', "Row 1 (line 1): This is not UTF-8."),
        (b'[{"a": ' + b"[" * 100_000, "The array is not closed"),
    ],
)
def test_an_array_that_is_none_is_refused_with_the_place(data: bytes, said: str) -> None:
    with pytest.raises(InvalidDataset) as caught:
        encode(data, "jsonl")
    assert caught.value.detail.startswith(said)


@pytest.mark.parametrize(
    "data",
    [
        b'{"count": 2, "d": [{"a": 1}, {"a": 2}]}',
        b'{\n  "count": 2,\n  "d": [\n    {"a": 1}\n  ]\n}\n',
        b'{"d": [' + b'{"a": [1]},' * 1000 + b"{}]}",
    ],
)
def test_an_object_around_the_rows_is_told_what_to_do(data: bytes) -> None:
    with pytest.raises(InvalidDataset, match="array of objects as 'd'") as caught:
        encode(data, "jsonl")
    assert """jq '.["d"]' FILE""" in (caught.value.hint or "")


def test_an_object_over_several_lines_is_told_what_to_do() -> None:
    with pytest.raises(InvalidDataset, match=r"^Line 1: One object over several lines") as caught:
        encode(b'{\n "a": 1\n}\n{\n "a": 2\n}\n', "jsonl")
    assert "jq -c" in (caught.value.hint or "")


def test_an_array_is_read_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    source = io.BytesIO(b"[" + b",\n".join([b'{"a": "' + b"x" * 1000 + b'"}'] * 3000) + b"]")
    held: list[int] = []
    read = json_array._Window._read

    def watched(window: Any) -> bool:
        more = read(window)
        held.append(len(window._held))
        return more

    monkeypatch.setattr(json_array._Window, "_read", watched)
    assert dataset_codec.encode(source, "jsonl", io.BytesIO()).rows == 3000
    assert len(held) > 10
    assert max(held) < 2 * json_array.READ_AT_ONCE
    monkeypatch.setattr(table_readers, "MAX_ROW_BYTES", 500)
    with pytest.raises(InvalidDataset, match=r"Row 1 \(line 1\) is longer than the 500 bytes"):
        dataset_codec.encode(source, "jsonl", io.BytesIO())


def test_tabs_separate_cells() -> None:
    data = '\ufeffquestion\tanswer\r\n3, 4\t7\r\n"a\tb"\t"c ""d"""\r\n'.encode()
    assert read(data, "tsv") == [{"question": "3, 4", "answer": "7"}, {"question": "a\tb", "answer": 'c "d"'}]
    with pytest.raises(InvalidDataset, match=r"^Line 2: The header names 2 columns, and this row has 3"):
        encode(b"a\tb\n1\t2\t3\n", "tsv")
    with pytest.raises(InvalidDataset, match="more than the 256 columns"):
        encode(b"a\tb\n" + b"1\t" * 1000 + b"\n", "tsv")


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
    at: int = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset if whence == 0 else 0
        return self.at

    def readinto(self, buffer: Any) -> int:
        data = self.head[self.at :] or self.body * (len(buffer) // len(self.body))
        data = data[: len(buffer)]
        buffer[: len(data)] = data
        self.taken += len(data)
        self.at += len(data)
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
    monkeypatch.setattr(json_rows.json, "loads", lambda *_, **__: pytest.fail("It was parsed."))
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
