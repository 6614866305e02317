"""Output that is not UTF-8: nothing fails, signs keep their meaning, JSON stays JSON."""

import io
import json
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from explaind.cli.encoding import PLAIN, fit, is_unicode, json_for
from explaind.cli.terminal import Terminal
from explaind.cli.views.grids import show_grid
from explaind.contract.errors import InvalidRequest
from explaind.views.drawing.grids import Grid

PROBLEM = "application/problem+json"
ANSWER = "“né” → ▁▅█ │ −4.5 × 你😀 ⏎"


def written(text: str, encoding: str, errors: str = "strict") -> str:
    """What a stream of that encoding holds of a text, decoded again."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    fit(stream)
    stream.write(text)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", r'"n\xe9" -> _=# | -4.5 x \u4f60\U0001f600 \n'),
        ("cp1252", r"“né” -> _=# | -4.5 × \u4f60\U0001f600 \n"),
        ("latin-1", r'"né" -> _=# | -4.5 × \u4f60\U0001f600 \n'),
        ("cp437", r'"né" -> _=█ │ -4.5 x \u4f60\U0001f600 \n'),
        ("utf-8", ANSWER),
        ("utf-16", ANSWER),
    ],
)
def test_signs_are_written_as_on_a_typewriter_and_the_rest_escaped(encoding: str, expected: str) -> None:
    assert written(ANSWER, encoding) == expected


def test_what_no_encoding_has_is_escaped_in_utf8_too() -> None:
    assert written("file \udce9.html", "utf-8") == r"file \udce9.html"


def test_how_somebody_else_treats_errors_stays() -> None:
    assert written("→", "cp1252", errors="ignore") == ""
    assert written("→", "ascii", errors="replace") == "?"


@pytest.mark.parametrize("sign", PLAIN)
def test_every_substitute_is_ascii(sign: str) -> None:
    assert PLAIN[sign].isascii()
    assert len(sign) == 1


def test_levels_and_bars_stay_apart() -> None:
    assert len({PLAIN[level] for level in "▁▂▃▄▅▆▇█"} | {PLAIN["│"], PLAIN["·"], " "}) == 10


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_json_is_escaped_and_stays_what_it_was(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    text = json.dumps({"text": ANSWER}, ensure_ascii=False)
    assert json_for(text, stream).isascii()
    assert json.loads(json_for(text, stream)) == {"text": ANSWER}
    assert json_for(text, io.StringIO()) == text


def test_streams_that_cannot_be_set_are_left_alone() -> None:
    fit(None)
    fit(io.StringIO())
    assert is_unicode(io.StringIO())
    assert is_unicode(None)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_columns_are_measured_as_they_are_written(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    fit(stream)
    table = Table(box=None)
    table.add_column("… →")
    table.add_column("│")
    for text in ("a", "你", "→→→"):
        table.add_row(Text.assemble((text, "bold"), ("…", "dim")), "│")
    Terminal(file=stream, width=60).print(table)
    stream.flush()
    lines = stream.buffer.getvalue().decode(encoding).splitlines()
    assert len({line.index("|") for line in lines}) == 1


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_cells_of_a_grid_stand_under_their_names(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    fit(stream)
    names = ["<s>", "é", "你", "a", "q", "c"]
    grid = Grid(rows=["你", "a"], columns=names, values=[[0.0] * 4 + [1.0, 0.0]] * 2)
    show_grid(Terminal(file=stream, width=60), grid)
    stream.flush()
    head, first, second, *_ = stream.buffer.getvalue().decode(encoding).splitlines()
    assert cell_len(head.partition("q")[0]) == cell_len(first.partition("@")[0]) == cell_len(second.partition("@")[0])


@pytest.fixture
def answered(attribution_json: dict[str, Any]) -> dict[str, Any]:
    """A result whose texts are beyond any one encoding of a byte."""
    return {**attribution_json, "target": {**attribution_json["target"], "text": ANSWER}}


@pytest.mark.parametrize(("charset", "quoted"), [("ascii", r'"n\xe9" ->'), ("cp1252", "“né” ->"), ("utf-8", "“né” →")])
def test_commands_about_a_job_write_on_such_an_output(
    run, script, says_job, answered, charset, quoted, tmp_path
) -> None:
    script.says(*(says_job(result=answered) for _ in range(5)))
    assert quoted in run("jobs", "show", "job_x", charset=charset).stdout
    assert quoted in run("jobs", "wait", "job_x", charset=charset).stdout
    for command in (["jobs", "show", "job_x", "--json"], ["jobs", "result", "job_x"]):
        said = json.loads(run(*command, charset=charset).stdout)
        assert said.get("result", said)["target"]["text"] == ANSWER
    shown = run("jobs", "show", "job_x", "--out", str(tmp_path / "é→.html"), charset=charset)
    assert shown.exit_code == 0
    assert ANSWER.split(maxsplit=1)[0] in (tmp_path / "é→.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("charset", "said"), [("ascii", r"->\u4f60"), ("cp1252", r"->\u4f60"), ("utf-8", "→你")])
def test_errors_are_told_on_such_an_output(run, script, charset, said) -> None:
    problem = InvalidRequest.at("/prompt", "It is →你.", hint="Write “…”.").problem()
    script.says(httpx.Response(422, json=problem.model_dump(mode="json"), headers={"content-type": PROBLEM}))
    ran = run("jobs", "show", "job_x", charset=charset)
    assert ran.exit_code == 2
    assert f"It is {said}." in ran.stderr


@pytest.mark.parametrize(
    ("charset", "said"), [("ascii", r"'n\xf6p...->'"), ("cp1252", "'nöp…->'"), ("utf-8", "'nöp…→'")]
)
def test_what_click_says_is_written_on_such_an_output(run, charset, said) -> None:
    assert said in run("nöp…→", charset=charset).stderr
    for command in (["--help"], ["explain", "shap", "--help"], ["jobs", "follow", "--help"], ["up", "--help"]):
        assert run(*command, charset=charset).exit_code == 0


@pytest.mark.parametrize("charset", ["ascii", "cp1252"])
def test_lists_and_names_are_written_on_such_an_output(run, script, charset) -> None:
    card = {"id": "ds_1", "name": ANSWER, "rows": 1, "bytes": 2, "columns": [], "sha256": "0" * 64}
    card |= {"created_at": "2026-11-20T18:00:00Z", "expires_at": None}
    script.says(httpx.Response(200, json={"data": [card], "has_more": False}))
    assert r"\u4f60\U0001f600" in run("datasets", "list", charset=charset).stdout


@pytest.mark.integration
@pytest.mark.parametrize(("encoding", "bar"), [("ascii", "#"), ("cp1252", "#"), ("utf-8", "█")])
def test_a_process_of_that_encoding_explains_and_reports(demo_stack, tmp_path, encoding, bar) -> None:
    command = ["explain", "shap", "--model", "demo", "--prompt", "3 + 4 = “→😀”", "--target", " 7", "--out", "r.html"]
    ran = subprocess.run(
        [sys.executable, "-m", "explaind.cli", *command, "--url", demo_stack.url],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert bar in ran.stdout.decode(encoding)
    assert "Written to r.html" in ran.stderr.decode(encoding)
    assert "→😀" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("charset", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("columns", [40, 80])
def test_help_fits_any_screen(run, charset, columns, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    ran = run("explain", "activation-patching", "--help", charset=charset)
    assert ran.exit_code == 0
    lines, _, example = ran.stdout.partition("\nExample:\n")
    assert {cell_len(line) for line in lines.splitlines() if line.strip()} <= set(range(columns + 1))
    assert "--corrupted-messages" in lines
    assert "explaind explain activation-patching" in example
    assert ("╭─ Subject" if charset == "utf-8" else "+- Subject") in lines
