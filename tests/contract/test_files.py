"""The files that a request names are found without a look at every plain value of it."""

import pytest
from pydantic import Field

from explaind.contract import files
from explaind.contract.base import RequestModel
from explaind.contract.files import DatasetId, files_named

DATASET = "ds_" + "0" * 26


class Row(RequestModel):
    """A row with a plain value and, perhaps, a file."""

    text: str
    dataset: DatasetId | None = None


class Params(RequestModel):
    """Plain values by the thousand, and a file among them."""

    texts: list[str]
    numbers: list[int]
    rows: list[Row]
    named: list[DatasetId] = Field(default_factory=list)


def test_plain_values_cost_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    visits, visit = [], files._named

    def counted(pointer, value):
        visits.append(pointer)
        return visit(pointer, value)

    monkeypatch.setattr(files, "_named", counted)
    rows = [Row(text="a"), Row(text="b", dataset=DATASET)]
    request = Params(texts=["x"] * 5000, numbers=[1] * 5000, rows=rows, named=[DATASET])
    found = dict(files_named(request))
    assert found == {"/rows/1/dataset": DATASET, "/named/0": DATASET}
    assert len(visits) == len(["", "/texts", "/numbers", "/rows", "/rows/0", "/rows/1", "/named", *found])
