"""Names that mean something to somebody below: a path, a key in Redis, a line of a log, a counter's label."""

import json
from itertools import product

import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter, ValidationError

from explaind.contract.errors import ResultLost
from explaind.contract.request import ModelName
from explaind_jobs.catalogue import Catalogue, CatalogueError
from explaind_jobs.keys.cli import keys
from explaind_jobs.results.directory_blobs import DirectoryBlobs
from explaind_service.settings import ServiceSettings
from tests.support.apps import create_app
from tests.support.problem_checks import check_answer, check_problem
from tests.support.store_invariants import inconsistencies

PATH = "/infer/score"
NAMES = {
    "line feed at the end": "demo\n",
    "carriage return": "demo\r",
    "NUL": "demo\0",
    "NUL within": "de\0mo",
    "parent": "..",
    "parents": "../../etc/passwd",
    "parents, encoded": "%2e%2e%2fetc",
    "parents, encoded twice": "%252e%252e%252f",
    "backslashes": "..\\..\\windows",
    "absolute": "/etc/passwd",
    "drive": "C:\\demo",
    "file URL": "file:///etc/passwd",
    "lookalike": "dеmo",  # a Cyrillic letter
    "full width": "ｄｅｍｏ",
    "combining": "demo\u0301",
    "right to left": "\u202eomed",
    "zero width": "de\u200bmo",
    "space": "demo demo",
    "space at the end": "demo ",
    "tab": "demo\t",
    "bar": "demo|x",
    "colon": "demo:x",
    "star": "*",
    "braces": "{demo}",
    "quote": 'demo"',
    "apostrophe": "demo'",
    "markup": "<script>alert(1)</script>",
    "dollar": "${jndi:ldap://a.example/}",
    "percent": "%s%s%n",
    "dash first": "-demo",
    "dot first": ".demo",
    "empty": "",
    "long": "Q" * 100_000,
    "emoji": "👩‍👩‍👧‍👦",
    "JSON": '{"a": 1}',
    "Lua": "'); redis.call('FLUSHALL') --",
    "RESP": "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
}
each_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


@each_name
def test_no_name_of_a_model(name: str) -> None:
    # What the store writes between bars and spaces (`count`, `pace`) can hold neither.
    with pytest.raises(ValidationError):
        TypeAdapter(ModelName).validate_python(name)


@each_name
def test_no_name_in_the_catalogue(name: str, tmp_path) -> None:
    table = json.dumps(name, ensure_ascii=True)  # a basic string of TOML is written so, too
    (tmp_path / "models.toml").write_text(f'[models.{table}]\nsource = "a/b"\nrevision = "{"0" * 40}"\n', "utf-8")
    with pytest.raises(CatalogueError):
        Catalogue.load(tmp_path / "models.toml")


@pytest.mark.parametrize("queue", ["a|b", "a b", "a\n", "a:b", "../a", "ａ", ""])
def test_no_name_of_a_queue(queue: str, tmp_path) -> None:
    written = f'[models.x]\nsource = "a/b"\nrevision = "{"0" * 40}"\nqueue = {json.dumps(queue)}\n'
    (tmp_path / "models.toml").write_text(written, "utf-8")
    with pytest.raises(CatalogueError):
        Catalogue.load(tmp_path / "models.toml")


async def test_models_that_are_none(client, request_of) -> None:
    for name in NAMES.values():
        response = await client.post(PATH, json=request_of(model=name))
        assert response.status_code == 422, name
        assert [error.pointer for error in check_problem(response).errors] == ["/model"]


async def test_filters_that_name_nothing(client, request_of) -> None:
    await client.post(PATH, json=request_of())
    for name, parameter in product(NAMES.values(), ("model", "method", "after", "state")):
        response = await client.get("/jobs", params={parameter: name[:5000]})
        check_answer(response)
        if name or parameter in {"after", "state"}:
            assert response.status_code == 422 or response.json()["data"] == []


CONTROL = {
    name: NAMES[name]
    for name in ("line feed at the end", "carriage return", "NUL", "NUL within", "right to left", "tab")
}
CONTROL |= {
    "escape": "\x1b[2J",
    "delete": "a\x7f",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "isolate": "\u2066a",
}


@pytest.mark.parametrize("name", CONTROL.values(), ids=CONTROL)
async def test_names_that_callers_give_are_one_line(client, request_of, name: str) -> None:
    """Of datasets, questions and segments: lists, logs and terminals show them as they are."""
    rows = b'{"question": "1 + 1?", "answer": "2"}\n'
    jsonl = {"Content-Type": "application/x-ndjson"}
    response = await client.post("/datasets", params={"name": name}, content=rows, headers=jsonl)
    (error,) = check_problem(response).errors
    assert (response.status_code, error.pointer) == (422, "/query/name")
    assert "one line" in error.detail
    question = {"question": "1 + 1?", "answer": "2", "name": name}
    segments = request_of(units={"segments": [[0, 1, name]]})
    for path, body in (
        ("/evaluate/questions", {"model": "demo", "questions": {"questions": [question]}}),
        ("/explain/shap", {**segments, "target": " x"}),
    ):
        response = await client.post(path, json=body)
        assert response.status_code == 422, path
        assert any("one line" in error.detail for error in check_problem(response).errors), response.text
    assert (await client.get("/datasets")).json()["data"] == []


@pytest.mark.parametrize("name", ["данные.csv", "데이터", "a b|c:d", "👩\u200d👩.jsonl", "نام\u200cها", "x" * 200])
async def test_names_in_any_language_are_taken(client, name: str) -> None:
    rows, jsonl = b'{"question": "1 + 1?", "answer": "2"}\n', {"Content-Type": "application/x-ndjson"}
    response = await client.post("/datasets", params={"name": name}, content=rows, headers=jsonl)
    assert (response.status_code, response.json()["name"]) == (201, name)


async def test_metadata_is_the_callers_own(client, valkey, request_of) -> None:
    for name in NAMES.values():
        response = await client.post(PATH, json=request_of(metadata={name: name}))
        check_answer(response)
        assert (response.status_code == 202) is (0 < len(name) <= 64)
        if response.status_code == 202:
            job = (await client.get(response.headers["location"])).json()
            assert job["metadata"] == {name: name}
    assert (await client.get("/metrics")).status_code == 200
    assert valkey.exists("explaind:stats") == 1  # nobody flushed anything
    assert inconsistencies(valkey) == []


async def test_idempotency_keys(client, valkey, request_of) -> None:
    for key in NAMES.values():
        if not key.isascii() or set(key) & set("\r\n\0"):
            continue  # no header can hold it, see test_headers
        answers = [await client.post(PATH, json=request_of(), headers={"Idempotency-Key": key}) for _ in range(2)]
        for answer in answers:
            check_answer(answer)
        if answers[0].status_code == 202:
            assert answers[0].json()["id"] == answers[1].json()["id"]
        # A digest of it is all that gets to Redis.
        assert not [name for name in valkey.scan_iter() if key.encode() in name and len(key) > 4]
    assert inconsistencies(valkey) == []


@each_name
def test_names_of_api_keys(redis_url: str, valkey, name: str, tmp_path) -> None:
    arguments = ["create", "--name", name, "--redis-url", redis_url, "--data-dir", str(tmp_path)]
    made = CliRunner().invoke(keys, arguments)
    assert made.exit_code in {0, 1, 2}
    assert "Traceback" not in made.output
    assert made.exception is None or isinstance(made.exception, SystemExit)
    if made.exit_code == 0:
        listed = CliRunner().invoke(keys, ["list", "--redis-url", redis_url, "--data-dir", str(tmp_path)])
        assert listed.exit_code == 0
        # One key is one line, under the line of headings.
        lines = [line for line in listed.output.splitlines() if line.strip()]
        assert len([line for line in lines if made.stdout.split("_")[1] in line]) == 1
        assert "\x1b" not in listed.output


@each_name
def test_no_name_of_a_blob(name: str, tmp_path) -> None:
    (tmp_path / "demo").write_text("outside")
    blobs = DirectoryBlobs(tmp_path / "results")
    with pytest.raises(ResultLost):
        blobs.read(name)
    with pytest.raises(ResultLost):
        blobs.write(name, b"x")
    with pytest.raises(ResultLost):
        blobs.remove(name)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.mark.parametrize(
    "name", ["a b", "a\nb", "-x", "%2e%2e", "ü", "\u202ex", "a'b\"c", "$(id)", "a;b", "*", "x" * 200]
)
async def test_data_directories_of_any_name(redis_url: str, client_of, request_of, name: str, tmp_path) -> None:
    app = create_app(ServiceSettings(redis_url=redis_url, data_dir=tmp_path / name))
    async with client_of(app) as client:
        assert (await client.post(PATH, json=request_of())).status_code == 202
    assert [path.name for path in tmp_path.iterdir()] in ([name], [])
