"""The code map: every package has its line, and one that says nothing is an error."""

import pytest

from tools import code_map


def test_every_package_of_the_four_parts_is_there() -> None:
    page = code_map.rendered_page()
    for folder in ("clients/python/explaind/contract", "jobs/explaind_jobs/store", "worker/explaind_worker/engine"):
        assert f"| `{folder}` |" in page


def test_a_package_that_says_nothing_is_an_error(tmp_path, monkeypatch) -> None:
    package = tmp_path / "worker" / "dull"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Holds | bars.\n\nAnd more."""\n')
    (package / "one.py").touch()
    monkeypatch.setattr(code_map, "ROOT", tmp_path)
    assert "| `worker/dull` | 1 | Holds \\| bars. |" in code_map.rendered_page()
    (package / "__init__.py").write_text("")
    with pytest.raises(ValueError, match="`worker/dull` has no docstring"):
        code_map.rendered_page()
