"""Commands about datasets and artifacts."""

import json

import httpx
import pytest

from explaind.contract.errors import InvalidDataset

DATASET = {
    "id": "ds_" + "0" * 26,
    "name": "sums\x1b[31m.jsonl",
    "bytes": 14_000,
    "created_at": "2026-11-20T18:00:00Z",
    "rows": 1234,
    "columns": ["question", "answer"],
}
ARTIFACT = {
    "id": "art_" + "1" * 26,
    "name": "../lens.safetensors",
    "bytes": 3,
    "created_at": "2026-11-20T18:00:00Z",
    "kind": "tuned-lens",
    "model": "demo",
    "job": "job_x",
}


def test_upload_writes_the_id_alone(run, script, tmp_path):
    (tmp_path / "sums.jsonl").write_bytes(b"{}")
    script.says(httpx.Response(201, json=DATASET))
    ran = run("datasets", "upload", str(tmp_path / "sums.jsonl"), "--name", "sums")
    assert ran.stdout == f"{DATASET['id']}\n"
    assert "1,234 rows: question, answer" in ran.stderr
    assert script.asked == ["POST /datasets?name=sums"]


def test_upload_says_which_line_is_wrong(run, script, tmp_path):
    (tmp_path / "sums.csv").write_bytes(b"x")
    refusal = InvalidDataset("Line 3: This is not UTF-8.").problem()
    script.says(httpx.Response(422, json=refusal.model_dump(mode="json")))
    ran = run("datasets", "upload", str(tmp_path / "sums.csv"))
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "Line 3" in ran.stderr


def test_lists(run, script):
    script.says(httpx.Response(200, json={"data": [DATASET], "has_more": False}))
    shown = run("datasets", "list").stdout
    assert DATASET["id"] in shown
    assert "1,234" in shown
    assert "\x1b[31m" not in shown
    script.says(httpx.Response(200, json={"data": [ARTIFACT, ARTIFACT], "has_more": False}))
    page = json.loads(run("artifacts", "list", "--limit", "1", "--json").stdout)
    assert (len(page["data"]), page["has_more"]) == (1, True)
    script.says(httpx.Response(200, json={"data": [], "has_more": False}))
    assert "No artifacts." in run("artifacts", "list").stdout


def test_show(run, script):
    preview = [{"question": "3 + 4 = ?\n" + "x" * 300, "answer": None}]
    script.says(httpx.Response(200, json={**DATASET, "preview": preview}))
    shown = run("datasets", "show", DATASET["id"]).stdout
    assert "3 + 4 = ?" in shown
    assert "x" * 100 not in shown
    script.says(httpx.Response(200, json=ARTIFACT))
    assert "tuned-lens of demo" in run("artifacts", "show", ARTIFACT["id"]).stdout


def test_download_stays_in_this_folder(run, script, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    script.says(httpx.Response(200, json=ARTIFACT), httpx.Response(200, content=b"abc"))
    assert run("artifacts", "download", ARTIFACT["id"]).stdout == "lens.safetensors\n"
    assert (tmp_path / "here" / "lens.safetensors").read_bytes() == b"abc"
    script.says(httpx.Response(200, json=ARTIFACT))
    ran = run("artifacts", "download", ARTIFACT["id"])
    assert ran.exit_code == 2
    assert "exists" in ran.stderr
    script.says(httpx.Response(200, content=b"abd"))
    assert run("artifacts", "download", ARTIFACT["id"], "--out", "lens.safetensors").exit_code == 0
    assert (tmp_path / "here" / "lens.safetensors").read_bytes() == b"abd"


def test_delete(run, script):
    script.says(httpx.Response(204), httpx.Response(204))
    assert run("datasets", "delete", DATASET["id"]).stdout == f"{DATASET['id']} deleted\n"
    assert run("artifacts", "delete", ARTIFACT["id"]).stdout == f"{ARTIFACT['id']} deleted\n"
    assert script.asked == [f"DELETE /datasets/{DATASET['id']}", f"DELETE /artifacts/{ARTIFACT['id']}"]


@pytest.mark.parametrize(
    ("command", "named", "said"),
    [
        (("datasets", "show"), "q.csv", "`explaind datasets upload FILE`"),
        (("datasets", "delete"), "x/q", "`explaind datasets list`"),
        (("artifacts", "show"), "lens.safetensors", "`explaind artifacts list`"),
        (("artifacts", "download"), "./lens", "`explaind artifacts list`"),
    ],
)
def test_a_file_is_told_from_an_id(run, script, command, named, said):
    ran = run(*command, named)
    assert ran.exit_code == 2
    assert f"{named!r} is the name of a file" in ran.stderr
    assert said in ran.stderr
    assert script.requests == []
