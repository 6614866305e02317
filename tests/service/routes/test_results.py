"""GET /jobs/{id}/result: inside the job or linked, encoded, in part, unchanged, in pages; blobs behind it."""

import errno
import gzip
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import zstandard

from explaind.contract.job import Job, ResultPage
from explaind_jobs.results import directory_blobs
from explaind_jobs.results.blob_store import name_of
from explaind_jobs.results.codec import encode
from explaind_service.results.responses import MOST_IN_JOB
from explaind_service.settings import ServiceSettings
from tests.support import DOCUMENT

NUMBERS = random.Random(7)
LARGE = {"kind": "grid", "rows": [[NUMBERS.random() for _ in range(20)] for _ in range(400)], "name": "grid"}
RAW = orjson.dumps(LARGE)
ENCODED = encode(RAW)
TAG = f'"{ENCODED.digest}"'


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(redis_url=redis_url, data_dir=tmp_path, inline_result_bytes=20_000)


@pytest.fixture
async def plain(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client that accepts no encoding unless it says so."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", headers={"Accept-Encoding": ""}) as client,
    ):
        yield client


async def raw_bytes(client: httpx.AsyncClient, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """The response and its body as it was sent, not decoded."""
    async with client.stream("GET", path, headers=headers) as response:
        return response, b"".join([part async for part in response.aiter_raw()])


@pytest.fixture
async def job(plain, worker, shap) -> str:
    """A job with a large result."""
    job_id = (await plain.post("/explain/shap", json=shap)).json()["id"]
    worker.end(worker.claim(), RAW)
    return f"/jobs/{job_id}"


async def test_a_large_result_is_a_link_in_its_job(plain, job: str, tmp_path: Path) -> None:
    assert (tmp_path / "results" / name_of(ENCODED.digest)).exists()
    found = Job[Any].model_validate_json((await plain.get(job)).content)
    assert (found.state, found.result, found.links.result) == ("succeeded", None, f"{job}/result")
    response = await plain.get(found.links.result)
    assert response.content == RAW
    assert response.headers["content-length"] == str(len(RAW))
    assert response.headers["content-type"] == "application/json"


async def test_a_result_that_unpacks_to_much_is_a_link_too(plain, worker, shap) -> None:
    for size, inside in ((MOST_IN_JOB, True), (MOST_IN_JOB + 1, False)):
        job_id = (await plain.post("/explain/shap", json=shap)).json()["id"]
        raw = orjson.dumps({"x": "x" * (size - 8)})
        assert (len(raw), len(encode(raw).data) < 20_000) == (size, True)
        worker.end(worker.claim(), raw)
        assert ((await plain.get(f"/jobs/{job_id}")).json()["result"] is not None) is inside
        assert (await plain.get(f"/jobs/{job_id}/result")).content == raw


async def test_a_waited_for_job_has_a_large_result_as_a_link(plain, worker, shap) -> None:
    first = (await plain.post("/explain/shap", json=shap, headers={"Idempotency-Key": "k"})).json()
    worker.end(worker.claim(), RAW)
    again = await plain.post("/explain/shap", json=shap, headers={"Idempotency-Key": "k", "Prefer": "wait=5"})
    assert (again.status_code, again.json()["state"], again.json()["result"]) == (200, "succeeded", None)
    assert again.json()["links"] == first["links"]


async def test_zstd_is_sent_as_it_is_stored(plain, job: str, tmp_path: Path) -> None:
    response, body = await raw_bytes(plain, f"{job}/result", **{"Accept-Encoding": "gzip, zstd"})
    assert body == (tmp_path / "results" / name_of(ENCODED.digest)).read_bytes()
    assert response.headers["content-encoding"] == "zstd"
    assert response.headers["content-length"] == str(len(body))
    assert response.headers["etag"] == f'"{ENCODED.digest}-zstd"'
    assert response.headers["vary"] == "Accept-Encoding"
    assert zstandard.ZstdDecompressor().decompress(body) == RAW


async def test_gzip(plain, job: str) -> None:
    answers = [await raw_bytes(plain, f"{job}/result", **{"Accept-Encoding": "gzip"}) for _ in range(2)]
    response, body = answers[0]
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["etag"] == f'"{ENCODED.digest}-gzip"'
    assert gzip.decompress(body) == RAW
    assert answers[1][1] == body


async def test_httpx_reads_what_it_asks_for(client, worker, shap) -> None:
    job_id = (await client.post("/explain/shap", json=shap)).json()["id"]
    worker.end(worker.claim(), RAW)
    response = await client.get(f"/jobs/{job_id}/result")
    assert response.headers["content-encoding"] == "zstd"
    assert response.json() == LARGE


@pytest.mark.parametrize(("accepted", "suffix"), [("", ""), ("zstd", "-zstd"), ("gzip", "-gzip")])
async def test_what_the_caller_has_is_not_sent_again(plain, job: str, accepted: str, suffix: str, settings) -> None:
    (settings.data_dir / "results" / name_of(ENCODED.digest)).unlink()  # not even read
    tag = f'"{ENCODED.digest}{suffix}"'
    headers = {"Accept-Encoding": accepted, "If-None-Match": f'"other", W/{tag}'}
    response = await plain.get(f"{job}/result", headers=headers)
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == tag
    assert response.headers["vary"] == "Accept-Encoding"
    assert "content-type" not in response.headers


async def test_what_the_caller_has_in_another_encoding_is_sent(plain, job: str) -> None:
    response = await plain.get(f"{job}/result", headers={"Accept-Encoding": "zstd", "If-None-Match": TAG})
    assert (response.status_code, response.content) == (200, RAW)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-99", 0, 99), ("bytes=100-", 100, len(RAW) - 1), ("bytes=-7", len(RAW) - 7, len(RAW) - 1)],
)
async def test_a_range_is_of_the_plain_bytes(plain, job: str, asked: str, first: int, last: int) -> None:
    headers = {"Range": asked, "Accept-Encoding": "zstd, gzip", "If-Range": TAG}
    response = await plain.get(f"{job}/result", headers=headers)
    assert (response.status_code, response.content) == (206, RAW[first : last + 1])
    assert response.headers["content-range"] == f"bytes {first}-{last}/{len(RAW)}"
    assert response.headers["content-length"] == str(last + 1 - first)
    assert response.headers["etag"] == TAG
    assert "content-encoding" not in response.headers


async def test_ranges_add_up(plain, job: str) -> None:
    step, parts = 50_000, []
    while sum(map(len, parts)) < len(RAW):
        start = sum(map(len, parts))
        parts.append((await plain.get(f"{job}/result", headers={"Range": f"bytes={start}-{start + step - 1}"})).content)
    assert b"".join(parts) == RAW
    assert len(parts) > 2


async def test_a_range_beyond_the_end(plain, job: str, expect_problem) -> None:
    response = await plain.get(f"{job}/result", headers={"Range": f"bytes={len(RAW)}-"})
    expect_problem(response, 416, "range_not_satisfiable")
    assert response.headers["content-range"] == f"bytes */{len(RAW)}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1,5-6"},
        {"Range": "bytes=0-9", "If-Range": '"other"'},
        {"Range": "lines=0-9"},
        {"Range": f"bytes={len(RAW)}-", "If-Range": '"other"'},
        {"Range": "bytes=0-9", "Accept-Encoding": "gzip, identity;q=0"},
    ],
)
async def test_other_ranges_are_answered_with_everything(plain, job: str, headers: dict[str, str]) -> None:
    response = await plain.get(f"{job}/result", headers=headers)
    assert (response.status_code, response.content) == (200, RAW)
    assert response.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(("accepted", "length"), [("", len(RAW)), ("zstd", len(ENCODED.data)), ("gzip", None)])
async def test_head(plain, job: str, accepted: str, length: int | None) -> None:
    headers = {"Accept-Encoding": accepted, "Range": "bytes=0-9"}
    head = await plain.head(f"{job}/result", headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers.get("content-length") == (length and str(length))
    got = await plain.get(f"{job}/result", headers={"Accept-Encoding": accepted})
    for name in ("etag", "vary", "accept-ranges", "content-type"):
        assert head.headers[name] == got.headers[name]
    assert head.headers.get("content-encoding") == got.headers.get("content-encoding")
    known = await plain.head(f"{job}/result", headers={**headers, "If-None-Match": got.headers["etag"]})
    assert known.status_code == 304


async def test_head_of_what_is_not_there(plain, shap) -> None:
    job_id = (await plain.post("/explain/shap", json=shap)).json()["id"]
    assert (await plain.head(f"/jobs/{job_id}/result")).status_code == 409
    assert (await plain.head(f"/jobs/job_{'0' * 26}/result")).status_code == 404
    allowed = (await plain.put(f"/jobs/{job_id}/result")).headers["allow"]
    assert allowed == "GET, HEAD"


async def test_results_are_nothing_for_caches_on_the_way(plain, job: str) -> None:
    response = await plain.get(f"{job}/result")
    assert response.headers["cache-control"] == "no-store"


async def test_pages(plain, job: str) -> None:
    rows: list[Any] = []
    while True:
        params = {"path": "/rows", "offset": len(rows), "limit": 150}
        response = await plain.get(f"{job}/result", params=params)
        page = ResultPage.model_validate_json(response.content)
        assert (page.path, page.offset, page.limit, page.total) == ("/rows", len(rows), 150, 400)
        rows += page.data
        if not page.has_more:
            break
    assert rows == LARGE["rows"]
    row = (await plain.get(f"{job}/result", params={"path": "/rows/399"})).json()
    assert (row["data"], row["limit"], row["has_more"]) == (LARGE["rows"][399], 100, False)
    beyond = (await plain.get(f"{job}/result", params={"path": "/rows", "offset": 400})).json()
    assert (beyond["data"], beyond["has_more"]) == ([], False)


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"path": "/columns"}, "/query/path"),
        ({"path": "rows"}, "/query/path"),
        ({"path": ""}, "/query/path"),
        ({"path": "/name"}, "/query/path"),
        ({"path": "/rows/400"}, "/query/path"),
        ({"path": "/" + "x" * 1000}, "/query/path"),
        ({"offset": "5"}, "/query/path"),
        ({"limit": "5"}, "/query/path"),
        ({"path": "/rows", "limit": "10001"}, "/query/limit"),
        ({"path": "/rows", "limit": "0"}, "/query/limit"),
        ({"path": "/rows", "offset": "-1"}, "/query/offset"),
        ({"path": "/rows", "offset": "9" * 30}, "/query/offset"),
        ({"page": "2"}, "/query/page"),
    ],
)
async def test_pages_of_nothing(plain, job: str, expect_problem, params, pointer: str) -> None:
    expect_problem(await plain.get(f"{job}/result", params=params), 422, "invalid_request", pointer)


async def test_the_report_of_a_large_result(plain, worker, shap, attribution) -> None:
    job_id = (await plain.post("/explain/shap", json=shap)).json()["id"]
    words = ["".join(NUMBERS.choices("abcdefghij", k=20)) for _ in range(4000)]
    units = [{**attribution["units"][0], "text": word, "start": 0, "end": 3} for word in words]
    scores = {"values": [1.0] * len(words), "values_by_target": [[1.0]] * len(words)}
    worker.end(worker.claim(), orjson.dumps({**attribution, "units": units, **scores}))
    assert (await plain.get(f"/jobs/{job_id}")).json()["result"] is None
    response = await plain.get(f"/jobs/{job_id}/report")
    assert response.status_code == 200
    assert words[7] in response.text
    head = await plain.head(f"/jobs/{job_id}/report")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == response.headers["content-length"]


@pytest.mark.parametrize("accepted", ["", "zstd", "gzip"])
@pytest.mark.parametrize("damage", ["gone", "cut"])
async def test_a_lost_blob_says_so(plain, job, tmp_path: Path, expect_problem, accepted: str, damage: str) -> None:
    blob = tmp_path / "results" / name_of(ENCODED.digest)
    if damage == "gone":
        blob.unlink()
    else:
        blob.write_bytes(ENCODED.data[:-5])
    headers = {"Accept-Encoding": accepted}
    problem = expect_problem(await plain.get(f"{job}/result", headers=headers), 500, "result_lost")
    assert "again" in problem["hint"]
    assert str(tmp_path) not in str(problem)
    for part in ("/result?path=/rows", "/report"):
        expect_problem(await plain.get(f"{job}{part}", headers=headers), 500, "result_lost")
    assert (await plain.get(job)).status_code == 200


async def test_a_store_that_cannot_be_read_may_come_back(plain, job, monkeypatch, expect_problem) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(directory_blobs.os, "open", fail)
        response = await plain.get(f"{job}/result")
    expect_problem(response, 503, "store_unavailable")
    assert response.headers["retry-after"] == "2"
    assert (await plain.get(f"{job}/result")).content == RAW


async def test_deleting_a_job_deletes_its_result(plain, job: str, valkey, expect_problem) -> None:
    assert (await plain.delete(job)).status_code == 204
    expect_problem(await plain.get(f"{job}/result"), 404, "job_not_found")
    assert valkey.zrange("explaind:blobs_dead", 0, -1) == [ENCODED.digest.encode()]


async def test_an_empty_result(plain, worker, shap, expect_problem) -> None:
    job_id = (await plain.post("/explain/shap", json=shap)).json()["id"]
    worker.end(worker.claim(), b"null")
    assert (await plain.get(f"/jobs/{job_id}/result")).content == b"null"
    expect_problem(
        await plain.get(f"/jobs/{job_id}/result", params={"path": "/x"}), 422, "invalid_request", "/query/path"
    )


def test_the_document_tells_of_pages() -> None:
    operation = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]["/jobs/{job_id}/result"]
    assert set(operation) == {"get"}
    job_id, *others = operation["get"]["parameters"]
    assert job_id == {"$ref": "#/components/parameters/JobId"}
    assert {each["name"] for each in others} == {"path", "offset", "limit", "units"}
    assert {"200", "206", "304", "416", "422"} <= set(operation["get"]["responses"])
    assert "ResultPage" in str(operation["get"]["responses"]["200"])
