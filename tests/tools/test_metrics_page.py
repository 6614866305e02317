"""The table of metrics in the docs."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from explaind_service.metrics import names
from tools.metrics_page import BEGIN, END, main, render_table, with_table

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"


def test_the_committed_table_is_fresh() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_table(text), "run python -m tools.metrics_page --write docs/observability.md"


def test_every_metric_has_a_row() -> None:
    assert [line.split("`")[1] for line in render_table().splitlines()[2:]] == [metric.name for metric in names.ALL]


def test_write_and_check(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{BEGIN}\n| a row of before |\n{END}\nAfter.\n")
    stale = CliRunner().invoke(main, ["--check", str(page)])
    assert stale.exit_code == 1
    assert "is stale" in stale.output
    assert CliRunner().invoke(main, ["--write", str(page)]).exit_code == 0
    assert CliRunner().invoke(main, ["--check", str(page)]).exit_code == 0
    text = page.read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("\nAfter.\n")
    assert "a row of before" not in text


def test_a_page_without_a_place() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_table("# A page\n")
