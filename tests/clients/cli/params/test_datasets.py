"""Rows named in short on a command line: uploads, and columns that go by their names."""

import json
from pathlib import Path

import httpx
import pytest

DATASET = {"id": "ds_" + "0" * 26, "name": "q.csv", "bytes": 9, "created_at": "2026-11-20T18:00:00Z"}
ASK = ("evaluate", "questions", "--model", "demo", "--no-wait", "--questions")
TRAIN = ("train", "tuned-lens", "--model", "demo", "--no-wait", "--text")
ID = DATASET["id"]


@pytest.mark.parametrize(
    ("command", "rows", "columns", "expected"),
    [
        (ASK, 2, ["question", "answer"], {}),
        (ASK, 2, ["question", "answer", "kind", "foil", "other"], {"foil": "foil", "kind": "kind"}),
        (ASK, 500, ["question", "answer"], {"limit": 500}),
        (ASK, 20_000, ["question", "answer"], {"limit": 10_000}),
        (TRAIN, 20_000, ["text", "other"], {}),
        (TRAIN, 3, ["sentence"], {"column": "sentence"}),
    ],
)
@pytest.mark.parametrize("as_file", [True, False])
def test_all_rows_and_the_columns_of_the_usual_names(
    run, script, says_job, tmp_path: Path, command, rows, columns, expected, as_file
) -> None:
    file = tmp_path / "q.csv"
    file.write_text("question,answer\n1,2\n")
    card = {**DATASET, "rows": rows, "columns": columns, "preview": []}
    script.says(httpx.Response(201 if as_file else 200, json=card), says_job("queued", status=202))
    ran = run(*command, str(file) if as_file else ID)
    assert ran.exit_code == 0, ran.output
    assert script.asked[0] == ("POST /datasets?name=q.csv" if as_file else f"GET /datasets/{ID}")
    sent = json.loads(script.requests[1].content)
    assert sent["questions" if command is ASK else "text"] == {"dataset": ID, **expected}
    assert (f"as {ID}: {rows:,} rows" in ran.stderr) is as_file


def test_nothing_is_uploaded_for_a_request_that_is_wrong(run, script, tmp_path: Path) -> None:
    file = tmp_path / "q.csv"
    file.write_text("question,answer\n1,2\n")
    ran = run(*ASK, str(file), "--confidence", "2")
    assert ran.exit_code == 2
    assert "--confidence: Input should be less than 1" in ran.stderr
    assert script.requests == []


def test_a_dataset_that_is_not_there_names_the_option(run, script) -> None:
    problem = {"title": "Dataset not found", "status": 404, "code": "dataset_not_found", "type": "x", "detail": "Gone."}
    script.says(httpx.Response(404, json=problem))
    assert "--questions: Gone." in run(*ASK, ID).stderr
