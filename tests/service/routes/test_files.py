"""Datasets and artifacts over HTTP: taken, told of, listed, fetched, deleted, each by whom it belongs to."""

import asyncio
import errno
import os
import threading
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from explaind_jobs.files import file_store
from explaind_jobs.files.file_store import FileStore
from explaind_jobs.results import directory_blobs
from explaind_jobs.store.job_store import JobStore
from explaind_service.submission import upload_space
from tests.support.apps import create_app

JSONL = {"Content-Type": "application/jsonl"}
CSV = {"Content-Type": "text/csv; charset=utf-8"}
ROWS = b'{"question": "3 + 4 = ?", "answer": "7"}\n{"question": "2 * 5 = ?", "answer": "10"}\n'


@pytest.fixture
def store(valkey, settings) -> JobStore:
    return JobStore(valkey, settings)


async def upload(client: httpx.AsyncClient, data: Any = ROWS, headers: dict[str, str] = JSONL, **query: str) -> Any:
    response = await client.post("/datasets", content=data, headers=headers, params=query)
    assert response.status_code == 201, response.text
    return response.json()


async def test_a_dataset_from_its_upload_to_its_end(client, expect_problem) -> None:
    response = await client.post("/datasets", content=ROWS, headers=JSONL, params={"name": "sums"})
    card = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/datasets/{card['id']}"
    assert (card["name"], card["rows"], card["columns"], card["bytes"]) == (
        "sums",
        2,
        ["question", "answer"],
        len(ROWS),
    )
    again = await client.post("/datasets", content=ROWS, headers=JSONL, params={"name": "other"})
    assert (again.status_code, again.json()) == (200, card), "the same file is the same dataset"
    seen = (await client.get(response.headers["location"])).json()
    assert seen == {
        **card,
        "preview": [{"question": "3 + 4 = ?", "answer": "7"}, {"question": "2 * 5 = ?", "answer": "10"}],
    }
    assert (await client.delete(response.headers["location"])).status_code == 204
    expect_problem(await client.get(response.headers["location"]), 404, "dataset_not_found")
    expect_problem(await client.delete(response.headers["location"]), 404, "dataset_not_found")
    assert (await client.get("/datasets")).json() == {"data": [], "has_more": False}
    assert (await upload(client))["id"] == card["id"], "and may come again"


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota is used up")])
async def test_a_full_disk_leaves_nothing_and_is_to_be_tried_again(
    client, data_dir, expect_problem, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(directory_blobs.os, "fsync", full)
        problem = expect_problem(await client.post("/datasets", content=ROWS, headers=JSONL), 503, "store_unavailable")
    assert said in problem["detail"]
    assert "EXPLAIND_DATA_DIR" in problem["hint"]
    assert problem["retryable"]
    assert [path for path in data_dir.rglob("*") if path.is_file() and "files" in path.parts] == []
    assert (await client.get("/datasets")).json()["data"] == []
    await upload(client)


async def test_pages_go_on_after_what_was_deleted_meanwhile(client, expect_problem) -> None:
    ids = [(await upload(client, b"a\n%d\n" % number, CSV))["id"] for number in range(5)]
    first = (await client.get("/datasets", params={"limit": 2})).json()
    assert [card["id"] for card in first["data"]] == [ids[4], ids[3]]
    assert first["has_more"]
    await client.delete(f"/datasets/{ids[3]}")
    rest = (await client.get("/datasets", params={"limit": 3, "after": ids[3]})).json()
    assert [card["id"] for card in rest["data"]] == [ids[2], ids[1], ids[0]]
    assert not rest["has_more"]
    expect_problem(
        await client.get("/datasets", params={"after": "ds_nowhere"}), 422, "invalid_request", "/query/after"
    )
    expect_problem(await client.get("/datasets", params={"before": ids[0]}), 422, "invalid_request", "/query/before")


async def test_the_same_text_in_another_form_is_another_dataset(client) -> None:
    one = await upload(client, b'{"a":1}\n', JSONL)
    assert (await upload(client, b'{"a":1}\n2\n', CSV))["columns"] == ['{"a":1}']
    assert (await client.get("/datasets")).json()["data"][1]["id"] == one["id"]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "no Content-Type"),
        ({"Content-Type": "application/xml"}, "application/xml"),
        ({"Content-Type": "multipart/mixed; boundary=x"}, "multipart/mixed"),
        ({"Content-Type": "text/csv; charset=latin-1"}, "another encoding"),
        ({**JSONL, "Content-Encoding": "gzip"}, "packed"),
        ({"Content-Type": "application/vnd.apache.parquet"}, "pyarrow"),
    ],
)
async def test_what_is_not_read_here(client, expect_problem, monkeypatch, headers, said) -> None:
    monkeypatch.setattr("explaind_jobs.files.parquet.find_spec", lambda name: None)
    problem = expect_problem(await client.post("/datasets", content=ROWS, headers=headers), 415, "unsupported_media")
    assert said in problem["detail"]
    assert problem["hint"]


async def test_a_broken_line_is_named(client, expect_problem) -> None:
    problem = expect_problem(
        await client.post("/datasets", content=ROWS + b'{"question": {}}\n', headers=JSONL), 422, "invalid_dataset"
    )
    assert problem["detail"].startswith("Line 3: 'question' holds an object")
    assert (await client.get("/datasets")).json()["data"] == []


async def test_a_dataset_may_be_larger_than_a_request_and_no_larger_than_it_may(
    settings, client_of, expect_problem
) -> None:
    app = create_app(settings.model_copy(update={"max_body_bytes": 1024, "dataset_bytes": 4096}))
    rows = b"a\n" + b"x\n" * 1500

    async def in_parts(data: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(data), 512):
            yield data[start : start + 512]

    async with client_of(app) as client:
        assert (await upload(client, rows, CSV))["rows"] == 1500
        again = await client.post("/datasets", content=in_parts(rows), headers=CSV)
        assert again.status_code == 200, again.text
        for body in (rows * 2, in_parts(rows * 2)):
            problem = expect_problem(await client.post("/datasets", content=body, headers=CSV), 413, "body_too_large")
            assert "4096" in problem["detail"]
            assert "EXPLAIND_DATASET_BYTES" in problem["hint"]
        small = await client.post("/infer/score", content=b" " * 2000, headers={"Content-Type": "application/json"})
        assert "EXPLAIND_MAX_BODY_BYTES" in expect_problem(small, 413, "body_too_large")["hint"]


async def test_uploads_that_drip_take_nobodys_turn(client, until) -> None:
    begun, rest = [], asyncio.Event()

    async def dripping(number: int) -> AsyncIterator[bytes]:
        yield b"a\n"
        begun.append(number)
        await rest.wait()
        yield b"%d\n" % number

    slow = [asyncio.create_task(client.post("/datasets", content=dripping(n), headers=CSV)) for n in range(12)]
    await until(lambda: len(begun) == 12)
    async with asyncio.timeout(20):
        assert (await upload(client, b"a\nquick\n", CSV))["rows"] == 1
    rest.set()
    assert [answer.status_code for answer in await asyncio.gather(*slow)] == [201] * 12


async def test_while_uploads_are_read_bodies_come_in_and_others_are_answered(client, until, monkeypatch) -> None:
    reading, go_on, arrived = [], threading.Event(), []
    encode = file_store.encode_upload

    def slow(*args: Any) -> Any:
        reading.append(args)
        assert go_on.wait(30)
        return encode(*args)

    async def body(number: int) -> AsyncIterator[bytes]:
        yield b"a\n%d\n" % number
        arrived.append(number)

    monkeypatch.setattr(file_store, "encode_upload", slow)
    uploads = [asyncio.create_task(client.post("/datasets", content=body(n), headers=CSV)) for n in range(6)]
    await until(lambda: len(arrived) == 6 and len(reading) == 2)
    for path in ("/healthz", "/datasets", "/jobs"):
        assert (await client.get(path)).status_code == 200
    assert len(reading) == 2, "two at a time"
    go_on.set()
    assert [answer.status_code for answer in await asyncio.gather(*uploads)] == [201] * 6


async def test_a_body_is_never_in_memory_as_a_whole(client, monkeypatch) -> None:
    """Nor what is made of it: from the connection to a file, from there to another by a process, and to the store."""
    megabytes, encode = 24, file_store.encode_upload
    line = b"x" * 1023 + b"\n"
    peaks: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        yield b"a\n"
        tracemalloc.start()
        for _ in range(megabytes * 16):
            yield line * 64

    def watched(*args: Any) -> Any:
        try:
            return encode(*args)
        finally:
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

    monkeypatch.setattr(file_store, "encode_upload", watched)
    assert (await upload(client, body(), CSV))["rows"] == megabytes * 1024
    assert peaks[0] < megabytes * 2**20 / 4


async def test_uploads_that_would_fill_the_disk_are_told_to_come_again(app, client, expect_problem) -> None:
    space = app.state.resources.filing._space
    space.take("", upload_space.ONE_KEYS * app.state.settings.dataset_bytes - 3)
    problem = expect_problem(await client.post("/datasets", content=b"a\n1\n", headers=CSV), 503, "capacity")
    assert problem["retryable"] is True
    space.give_back("", 1)
    assert (await client.post("/datasets", content=b"a\n1\n", headers=CSV)).status_code == 201
    assert (await client.post("/datasets", content=b"a\n2\n", headers=CSV)).status_code == 201, "given back"


async def test_a_caller_who_leaves_leaves_nothing(app, client, expect_problem) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    answered: list[Any] = []

    async def send(message: Any) -> None:
        answered.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/datasets",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"text/csv")],
    }
    await app(scope, receive, send)
    assert answered[0]["status"] == 400, "and no error of the service's own in its log"
    assert app.state.resources.filing._space._taken.total() == 0


async def test_no_more_than_a_key_may_keep(settings, client_of, expect_problem) -> None:
    app = create_app(settings.model_copy(update={"max_files": 2}))
    async with client_of(app) as client:
        card = await upload(client, b"a\n1\n", CSV)
        await upload(client, b"a\n2\n", CSV)
        refused = await client.post("/datasets", content=b"a\n3\n", headers=CSV)
        problem = expect_problem(refused, 409, "too_many_files")
        assert "DELETE /datasets" in problem["hint"]
        assert (await client.post("/datasets", content=b"a\n1\n", headers=CSV)).status_code == 200
        await client.delete(f"/datasets/{card['id']}")
        await upload(client, b"a\n3\n", CSV)
    assert len(list((settings.data_dir / "files").rglob("*.bin"))) == 2


async def test_an_artifact_is_listed_fetched_and_deleted(client, store, expect_problem) -> None:
    files = FileStore(store.run, store.settings).of("", job="job_" + "0" * 26)
    card = await asyncio.to_thread(
        files.put_artifact, "tuned-lens", 'le"ns é.safetensors', b"\0\1\2" * 99, model="demo"
    )
    path = f"/artifacts/{card.id}"
    seen = (await client.get(path)).json()
    assert (seen["kind"], seen["model"], seen["bytes"], seen["job"]) == ("tuned-lens", "demo", 297, "job_" + "0" * 26)
    assert (await client.get("/artifacts")).json() == {"data": [seen], "has_more": False}
    response = await client.get(f"{path}/content")
    assert response.content == b"\0\1\2" * 99
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == "attachment; filename*=utf-8''le%22ns%20%C3%A9.safetensors"
    tag = {"If-None-Match": response.headers["etag"]}
    assert (await client.get(f"{path}/content", headers=tag)).status_code == 304
    head = await client.head(f"{path}/content")
    assert (head.content, head.headers["content-length"]) == (b"", "297")
    assert (await client.delete(path)).status_code == 204
    for gone in (path, f"{path}/content"):
        expect_problem(await client.get(gone), 404, "artifact_not_found")
    assert not list((store.settings.data_dir / "files").rglob("*.bin"))


async def test_a_file_whose_bytes_are_gone_or_others_is_lost(client, store, expect_problem) -> None:
    files = FileStore(store.run, store.settings).of("")
    card = await asyncio.to_thread(files.put_artifact, "tuned-lens", "a", b"abc", model="demo")
    blob = next((store.settings.data_dir / "files").rglob("*.bin"))
    blob.write_bytes(b"abd")
    expect_problem(await client.get(f"/artifacts/{card.id}/content"), 500, "file_lost")
    blob.unlink()
    expect_problem(await client.get(f"/artifacts/{card.id}/content"), 500, "file_lost")


async def test_ids_that_are_none(client, expect_problem) -> None:
    for name in ("ds_", "art_" + "0" * 26, "x" * 3000, "%00", "ds_%0a", "..%2f..%2fetc"):
        expect_problem(
            await client.get(f"/datasets/{name}"), 404, "dataset_not_found" if "2f" not in name else "not_found"
        )
    card = await upload(client)
    expect_problem(await client.get(f"/artifacts/{card['id']}"), 404, "artifact_not_found")
    expect_problem(await client.delete(f"/artifacts/{card['id']}"), 404, "artifact_not_found")
    expect_problem(await client.get(f"/artifacts/{card['id']}/content"), 404, "artifact_not_found")


async def test_what_is_kept_is_counted_once(client) -> None:
    await upload(client)
    assert (await client.post("/datasets", content=ROWS, headers=JSONL)).status_code == 200
    assert 'explaind_files_kept_total{kind="dataset"} 1.0' in (await client.get("/metrics")).text


JSON = {"Content-Type": "application/json"}


def form(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> dict[str, Any]:
    """A form of parts, each its headers (after `Content-Disposition: form-data; `) and its bytes."""
    heads = [b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" for head, _ in parts]
    body = b"".join(head + data + b"\r\n" for head, (_, data) in zip(heads, parts, strict=True))
    return {"content": body + end, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}


async def test_an_array_and_a_table_with_tabs_are_datasets(client, expect_problem) -> None:
    rows = [{"a": 1, "b": "x\ty"}, {"a": None, "b": "é"}]
    card = (await client.post("/datasets", json=rows)).json()
    assert (card["rows"], card["columns"], card["name"]) == (2, ["a", "b"], "dataset.jsonl")
    assert (await client.get(f"/datasets/{card['id']}")).json()["preview"] == rows
    lines = await client.post("/datasets", content=ROWS, headers=JSON)
    assert lines.json()["rows"] == 2, "JSON lines under that type are read as well"
    tabs = await upload(client, b"a\tb\n1\t2\n", {"Content-Type": "text/tab-separated-values"})
    assert (tabs["columns"], tabs["name"]) == (["a", "b"], "dataset.tsv")
    trailing = await client.post("/datasets", content=b'[{"a": 1},]', headers=JSON)
    assert "line 1, column 11" in expect_problem(trailing, 422, "invalid_dataset")["detail"]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ('name="file"; filename="sums.jsonl"', "sums.jsonl"),
        ('name="file"; filename="C:\\tables\\sums.JSON"\r\nContent-Type: application/octet-stream', "sums.JSON"),
        ("name=file; filename=données.json\r\nContent-Type: text/plain", "données.json"),
        ('name="file"\r\nContent-Type: application/x-ndjson; charset=utf-8', "dataset.jsonl"),
        ('name="file"; filename="a/b/sums.csv"\r\nContent-Type: application/jsonl', "sums.csv"),
    ],
)
async def test_a_file_in_a_form(client, head: str, name: str) -> None:
    made = await client.post("/datasets", **form((head, ROWS)))
    assert (made.status_code, made.json()["name"], made.json()["rows"]) == (201, name, 2)
    assert (await client.post("/datasets", content=ROWS, headers=JSONL)).json() == made.json(), "the very same file"
    await client.delete(made.headers["location"])
    assert (await client.post("/datasets", params={"name": "mine"}, **form((head, ROWS)))).json()["name"] == "mine"


FILE = ('name="file"; filename="a.csv"', b"a\n1\n")
REFUSED = [
    (form(FILE, FILE), 422, "invalid_request", ["/body/file"], "more than one file"),
    (form(('name="note"', b"x"), FILE), 422, "invalid_request", ["/body/note"], "field 'note'"),
    (form(FILE, ('name="note"', b"x")), 422, "invalid_request", ["/body/note"], "field 'note'"),
    (form(("", b"x")), 422, "invalid_request", ["/body/"], "field ''"),
    (form(('name="file"', b"a\n1\n")), 415, "unsupported_media", [], "no Content-Type"),
    (form(('name="file"; filename="a.xlsx"', b"x")), 415, "unsupported_media", [], "no Content-Type"),
    (form((FILE[0] + "\r\nContent-Type: text/csv; charset=latin-1", b"x")), 415, "unsupported_media", [], "UTF-8"),
    (form((FILE[0] + "\r\nContent-Transfer-Encoding: base64", b"x")), 415, "unsupported_media", [], "Encoding"),
    (form(('name="file"; filename="a\x7fb.csv"', b"x")), 422, "invalid_request", ["/body/file"], "one line"),
    (form((f'name="file"; filename="{"a" * 250}.csv"', b"x")), 422, "invalid_request", ["/body/file"], "200"),
    (form(FILE, end=b""), 400, "bad_request", [], "breaks off"),
    ({**form(FILE), "content": b"a\n1\n"}, 400, "bad_request", [], "no form"),
    ({**form(FILE), "content": b""}, 400, "bad_request", [], "breaks off"),
    ({**form(FILE), "headers": {"Content-Type": "multipart/form-data"}}, 400, "bad_request", [], "boundary"),
    (form((FILE[0] + "".join(f"\r\nX-{i}: 1" for i in range(99)), b"x")), 400, "bad_request", [], "no form"),
    (form((FILE[0] + "\r\nX-Y: " + "z" * 9000, b"x")), 400, "bad_request", [], "no form"),
    ({**form(FILE), "content": b"\r\n" * 30_000}, 400, "bad_request", [], "beside the file"),
]


async def test_a_form_that_is_not_one_file(client, expect_problem) -> None:
    for sent, status, code, pointers, said in REFUSED:
        problem = expect_problem(await client.post("/datasets", **sent), status, code, *pointers)
        assert said in problem["detail"] + (problem["hint"] or "")
    assert (await client.get("/datasets")).json()["data"] == []


async def test_a_file_in_a_form_is_held_to_the_limits_of_any_upload(app, client, expect_problem, monkeypatch) -> None:
    """Of size and of space; and what waits of it in memory is never much."""
    filing = app.state.resources.filing
    most, space = app.state.settings.dataset_bytes, filing._space
    space.take("", upload_space.ONE_KEYS * most - 3)
    expect_problem(await client.post("/datasets", **form(FILE)), 503, "capacity")
    space.give_back("", 1)
    assert (await client.post("/datasets", **form(FILE))).status_code == 201
    space.give_back("", upload_space.ONE_KEYS * most - 4)
    sizes: list[int] = []
    take = space.take
    monkeypatch.setattr(space, "take", lambda owner, size: (sizes.append(size), take(owner, size)))
    head = form((FILE[0], b"a\n"), end=b"")

    async def body() -> AsyncIterator[bytes]:
        yield head["content"].removesuffix(b"\r\n")
        for _ in range(40):
            yield b"x" * 1023 + b"\n"
        yield b"\r\n--b--"

    monkeypatch.setattr(filing._store.settings, "dataset_bytes", 41_000)
    assert (await client.post("/datasets", **{**head, "content": body()})).json()["rows"] == 40
    assert len(sizes) > 40
    assert max(sizes) <= 1024
    monkeypatch.setattr(filing._store.settings, "dataset_bytes", 40_000)
    expect_problem(await client.post("/datasets", **{**head, "content": body()}), 413, "body_too_large")
    assert space._taken.total() == 0
