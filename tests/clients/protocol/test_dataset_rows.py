"""Tables in memory as JSON lines: what becomes of each value, and what is refused with its row and column."""

import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import httpx
import numpy as np
import pandas as pd
import pytest

from explaind import InvalidDataset, WrongSource
from explaind.protocol.dataset_rows import json_lines, name_of
from explaind.protocol.file_operations import read_upload


def rows(table):
    return [json.loads(line, parse_constant=pytest.fail) for line in json_lines(table).splitlines()]


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("é", "é"),
        ("a\nb\u2028c", "a\nb\u2028c"),
        (True, True),
        (np.True_, True),
        (None, None),
        (float("nan"), None),
        (np.float32("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (np.datetime64("NaT"), None),
        (np.int64(3), 3),
        (np.uint8(255), 255),
        (np.float32(1.5), 1.5),
        (np.str_("x"), "x"),
        (np.array(7), 7),
        (Decimal("1.5"), 1.5),
        (Colour.RED, "red"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(1, 2), "01:02:00"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
        (pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
        (np.datetime64("2026-01-02T00:00:00.000000001"), "2026-01-02T00:00:00.000000001"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Path("a/b"), "a/b"),
    ],
    ids=repr,
)
def test_a_value_becomes_one_of_json(value, sent):
    assert rows([{"a": value}]) == [{"a": sent}]
    assert type(rows([{"a": value}])[0]["a"]) is type(sent)


@pytest.mark.parametrize(
    "value",
    [[1], (1,), {"b": 1}, {1}, np.array([1]), b"x", float("inf"), np.float64("-inf"), "\ud800", object(), 1j],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_is_none_of_json_is_refused_with_its_place(value):
    with pytest.raises(InvalidDataset, match=r"Row 2, column 'b'") as caught:
        json_lines([{"b": 1}, {"a": 2, "b": value}])
    assert len(str(caught.value)) < 400


def test_a_data_frame_is_its_rows_without_the_index():
    frame = pd.DataFrame(
        {
            "text": ["great", None],
            "n": [1, 2],
            "share": [0.5, np.nan],
            "day": pd.to_datetime(["2026-01-02", None]),
            "whole": pd.array([1, None], dtype="Int64"),
            "kind": pd.Categorical(["a", "b"]),
            3: [True, False],
        },
        index=["x", "y"],
    )
    assert rows(frame) == [
        {"text": "great", "n": 1, "share": 0.5, "day": "2026-01-02T00:00:00", "whole": 1, "kind": "a", "3": True},
        {"text": None, "n": 2, "share": None, "day": None, "whole": None, "kind": "b", "3": False},
    ]
    assert name_of(frame) == "dataframe.jsonl"
    with pytest.raises(InvalidDataset, match="Two columns are called 'n'"):
        json_lines(frame[["n", "n"]])


class Polars:
    """What is used of a polars DataFrame."""

    columns = ("a",)

    def iter_rows(self, *, named: bool):
        assert named
        yield {"a": 1}


class Arrow:
    """What is used of a pyarrow Table."""

    schema = column_names = ("a",)

    def to_batches(self, max_chunksize: int):
        assert max_chunksize
        return [SimpleNamespace(to_pylist=lambda: [{"a": 1}, {"a": 2}])]


class HubDataset:
    """What is used of a datasets.Dataset."""

    column_names = ("a",)
    info = SimpleNamespace(dataset_name="gsm8k", builder_name="parquet")
    split = "train"

    def __iter__(self):
        yield {"a": 1}


def test_other_tables_are_told_by_what_they_can_do():
    assert rows(Polars()) == [{"a": 1}]
    assert rows(Arrow()) == [{"a": 1}, {"a": 2}]
    assert rows(HubDataset()) == rows({"a": each} for each in [1]) == [{"a": 1}]
    assert [name_of(table) for table in (Polars(), Arrow(), HubDataset(), [{}], iter([]))] == [
        "polars.jsonl", "arrow.jsonl", "gsm8k-train.jsonl", "rows.jsonl", "rows.jsonl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (3, "type int, which has no rows"),
        (None, "NoneType"),
        ([1, 2], "Row 1 .* int"),
        (pd.Series(["a"]), "Row 1 .* str .*no dict"),
        ({"train": HubDataset()}, r"one dict \('train'\).*data\['train'\]"),
        ([{"a": 1}, ["a"]], "Row 2 .* list"),
    ],
    ids=["a number", "nothing", "numbers", "a series", "a dict of tables", "a list among dicts"],
)
def test_what_is_neither_a_file_nor_a_table_is_a_type_error(source, why):
    with pytest.raises(WrongSource, match=why) as caught:
        read_upload(source, None, None)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, InvalidDataset)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ([], "no rows"),
        ([{}], "Row 1 is empty"),
        ([{1: 2, "1": 3}], "same name"),
        ([{1.5: 2}], "named 1.5"),
        ([{"\ud800": 2}], "Row 1"),
    ],
    ids=["no row", "no column", "one name twice", "a number for a name", "no text for a name"],
)
def test_rows_that_cannot_be_sent_are_refused_before_they_are(table, why):
    with pytest.raises(InvalidDataset, match=why):
        json_lines(table)


def test_rows_are_read_once_and_not_kept():
    """Of a stream of rows, one is alive at a time."""
    alive, most = set(), []

    class Row(dict):
        def __del__(self):
            alive.discard(id(self))

    def stream():
        for number in range(50):
            row = Row(a=number)
            alive.add(id(row))
            most.append(len(alive))
            yield row
            del row

    assert len(rows(stream())) == 50
    assert max(most) <= 2


def test_files_are_taken_from_a_path_bytes_or_open(tmp_path):
    (tmp_path / "sums.csv").write_bytes(b"a\n1\n")
    with (tmp_path / "sums.csv").open("rb") as binary, (tmp_path / "sums.csv").open() as text:
        for source in (tmp_path / "sums.csv", str(tmp_path / "sums.csv"), binary, text):
            found = read_upload(source, None, None)
            assert (found.data, found.media, found.name) == (b"a\n1\n", "text/csv", "sums.csv")
    assert read_upload(io.BytesIO(b"x"), "a.parquet", None).media == "application/vnd.apache.parquet"
    assert read_upload(bytearray(b"{}"), None, None).media == "application/jsonl"
    assert read_upload(io.StringIO("é"), None, "text/csv").data == "é".encode()


async def test_both_clients_take_tables(client, async_client, script):
    card = {"id": "ds_" + "0" * 26, "name": "x", "bytes": 1, "created_at": "2026-11-20T18:00:00Z", "rows": 1}
    script.says(*(httpx.Response(201, json={**card, "columns": ["a"]}) for _ in range(2)))
    client.datasets.upload(pd.DataFrame({"a": [1]}))
    await async_client.datasets.upload([{"a": 1}], name="ones")
    assert [request.content for request in script.requests] == [b'{"a": 1}\n'] * 2
    assert [request.url.params["name"] for request in script.requests] == ["dataframe.jsonl", "ones"]
