"""Files that are no datasets: each is refused with a problem, within seconds, and nothing of it is kept."""

import gzip
import json
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.apps import create_app
from tests.support.problem_checks import check_answer, check_problem

MIB = 1024 * 1024
TYPES = {
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}

REFUSED = {
    ("jsonl", "nothing"): b"",
    ("jsonl", "line ends"): b"\n" * (4 * MIB),
    ("jsonl", "spaces"): b" " * (4 * MIB),
    ("jsonl", "deep arrays"): b'{"a": ' + b"[" * MIB,
    ("jsonl", "deep objects"): b'{"a":' * 300_000,
    ("jsonl", "a huge integer"): b'{"a": ' + b"9" * MIB + b"}",
    ("jsonl", "one long name"): b'{"' + b"Q" * MIB + b'": 1}',
    ("jsonl", "a long name that holds an object"): b'{"' + b"Q" * MIB + b'": {}}',
    ("jsonl", "many columns"): json.dumps({f"c{place}": 0 for place in range(50_000)}).encode(),
    ("jsonl", "a column a row"): b"".join(b'{"c%d": 0}\n' % place for place in range(1000)),
    ("jsonl", "many cells"): json.dumps({f"c{place}": 0 for place in range(256)}).encode()
    + b"\n"
    + b'{"x":0}\n' * 20_000,
    ("jsonl", "a lone surrogate"): b'{"a": "\\udc00"}',
    ("jsonl", "UTF-16"): '{"a": 1}'.encode("utf-16"),
    ("jsonl", "gzip"): gzip.compress(b'{"a": 1}\n' * 10_000),
    ("csv", "one cell without end"): b'a\n"' + b"Q" * (4 * MIB),
    ("csv", "many columns"): b"," * MIB,
    ("csv", "a name for each of many columns"): ",".join(f"c{place}" for place in range(100_000)).encode() + b"\n",
    ("csv", "one long name"): b"Q" * MIB + b"\n1\n",
    ("csv", "two long names that are one"): b"Q" * MIB + b"," + b"Q" * MIB + b"\n1,2\n",
    ("csv", "Latin-1"): "é\né\n".encode("latin-1"),
    ("csv", "gzip"): gzip.compress(b"a\n1\n"),
    ("parquet", "not even Parquet"): b"PAR1" + b"\0" * MIB + b"PAR1",
}


@pytest.mark.timeout(60)
async def test_no_datasets(client, tmp_path) -> None:
    for (form, name), body in REFUSED.items():
        began = time.monotonic()
        response = await client.post("/datasets", content=body, headers={"Content-Type": TYPES[form]})
        assert response.status_code in {415, 422}, (name, response.text[:300])
        check_problem(response)
        assert time.monotonic() - began < 10, name
    assert (await client.get("/datasets")).json()["data"] == []
    assert not [path for path in (tmp_path / "data").rglob("*") if path.suffix == ".bin"]


async def test_a_dataset_without_end_is_cut_off(settings, client_of) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * MIB:
            sent += 65536
            yield b"a\n" * 32768

    async with client_of(create_app(settings.model_copy(update={"dataset_bytes": MIB}))) as client:
        response = await client.post("/datasets", content=endless(), headers={"Content-Type": "text/csv"})
        assert response.status_code == 413
        check_problem(response)
        assert sent < 3 * MIB
        announced = {"Content-Type": "text/csv", "Content-Length": "99999999999"}
        refused = await client.post("/datasets", content=b"a\n1\n", headers=announced)
        assert refused.status_code == 413
        check_problem(refused)


async def test_larger_bodies_are_for_datasets_alone(client) -> None:
    body = b"a\n" + b"x\n" * MIB
    for path in ("/infer/score", "/datasets/", "/artifacts", "/datasets/x", "/Datasets"):
        response = await client.post(path, content=body, headers={"Content-Type": "text/csv"})
        assert response.status_code == 413, path
        check_problem(response)


@pytest.mark.parametrize("name", ["../../etc/passwd", '"; filename="b', "é", "%0d%0aSet-Cookie: x=y", "Q" * 200])
async def test_names_are_names_and_nothing_else(client, name: str) -> None:
    response = await client.post(
        "/datasets", content=b"a\n1\n", headers={"Content-Type": "text/csv"}, params={"name": name}
    )
    check_answer(response)
    assert response.status_code == 201
    assert "set-cookie" not in response.headers
    assert response.json()["name"] == name


@pytest.mark.parametrize("name", ["a\r\nSet-Cookie: x=y", "é\u202e", "\x00", "a\x1b[31m"])
async def test_names_with_control_characters_are_refused(client, name: str) -> None:
    response = await client.post(
        "/datasets", content=b"a\n1\n", headers={"Content-Type": "text/csv"}, params={"name": name}
    )
    check_problem(response)
    assert response.status_code == 422
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "value", ["text/csv, application/jsonl", "text/csv;" * 500, "TEXT/CSV\t", "application/jsonl; charset=utf-7"]
)
async def test_types_that_are_odd(client, value: str) -> None:
    response = await client.post("/datasets", content=b"a\n1\n", headers={"Content-Type": value})
    assert response.status_code in {201, 415}
    check_answer(response)
