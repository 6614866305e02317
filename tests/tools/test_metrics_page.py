"""The table of metrics in the docs."""

import pytest

from explaind_service.metrics.names import ALL
from tools.metrics_page import BEGIN, END, render_table, with_table


def test_every_metric_has_a_row() -> None:
    assert [line.split("`")[1] for line in render_table().splitlines()[2:]] == [metric.name for metric in ALL]


def test_only_the_table_changes() -> None:
    text = with_table(f"Before.\n{BEGIN}\n| a row of before |\n{END}\nAfter.\n")
    assert text.startswith("Before.\n")
    assert text.endswith("\nAfter.\n")
    assert "a row of before" not in text
    assert with_table(text) == text


def test_a_page_without_a_place() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_table("# A page\n")
