"""The generated files: each is fresh, and staleness is found and cured."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tools import generate


@pytest.mark.parametrize("path", generate.FILES)
def test_a_generated_file_is_fresh(path: str) -> None:
    assert generate.stale([path]) == {}, "run `make generate`"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root of its own, with two generated files."""
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "FILES", {"docs/a.md": lambda: "a\n", "docs/b.md": lambda: "b\n"})
    return tmp_path / "docs"


def test_stale_files_are_found_and_written(elsewhere: Path) -> None:
    (elsewhere / "a.md").write_text("a\n")
    missing = CliRunner().invoke(generate.main, ["--check"])
    assert (missing.exit_code, missing.output) == (1, "docs/b.md is stale: run `make generate`.\n")
    assert CliRunner().invoke(generate.main, ["--write"]).output == "docs/b.md is written.\n"
    assert CliRunner().invoke(generate.main, ["--check"]).output == ""
    (elsewhere / "a.md").write_text("a \n")
    stale = CliRunner().invoke(generate.main, ["--check"])
    assert (stale.exit_code, stale.output) == (1, "docs/a.md is stale: run `make generate`.\n")


def test_one_of_both_options_is_required() -> None:
    assert CliRunner().invoke(generate.main, []).exit_code == 2


def test_a_single_file_can_be_named() -> None:
    assert CliRunner().invoke(generate.main, ["--check", "docs/operate/settings.md"]).exit_code == 0
    assert CliRunner().invoke(generate.main, ["--check", "docs/nothing.md"]).exit_code == 2
