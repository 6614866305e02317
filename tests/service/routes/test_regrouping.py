"""GET /jobs/{id}/result?units=…: a stored attribution by larger units, in every form that results are sent in."""

import gzip
import math
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import zstandard

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.job import ResultPage
from explaind_jobs.results.blob_store import name_of
from explaind_jobs.results.codec import encode
from explaind_service.settings import ServiceSettings

NUMBERS = random.Random(11)


def by_tokens(base: dict[str, Any], count: int) -> dict[str, Any]:
    """An attribution of so many tokens: two to a word, six to a sentence."""
    prompt = "ab " * count
    units = [{**base["units"][0], "text": "ab", "start": 3 * i, "end": 3 * i + 2} for i in range(count)]
    rows = [[NUMBERS.uniform(-1, 1), NUMBERS.uniform(-1, 1)] for _ in units]
    groups = {
        kind: [list(range(i, min(i + size, count))) for i in range(0, count, size)]
        for kind, size in (("word", 2), ("sentence", 6))
    }
    scores = {"values": [math.fsum(row) for row in rows], "values_by_target": rows}
    return {**base, "prompt": prompt, "units": units, **scores, "unit_kind": "token", "groups": groups}


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


@pytest.fixture(params=[12, 2000], ids=["small", "large"])
def stored(request: pytest.FixtureRequest, attribution: dict[str, Any]) -> dict[str, Any]:
    return by_tokens(attribution, request.param)


@pytest.fixture
async def result(plain, worker, shap, stored) -> str:
    """Where the result of a job is, by tokens."""
    job_id = (await plain.post("/explain/shap", json=shap)).json()["id"]
    worker.end(worker.claim(), orjson.dumps(stored))
    return f"/jobs/{job_id}/result"


async def test_larger_units_are_sums_of_what_was_stored(plain, result, stored, tmp_path: Path) -> None:
    blob = tmp_path / "results" / name_of(encode(orjson.dumps(stored)).digest)
    assert blob.exists() is (len(stored["units"]) > 1000), "the large one is in the store of results"
    for kind, size in (("word", 2), ("sentence", 6)):
        response = await plain.get(result, params={"units": kind})
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
        shown = Attribution.model_validate_json(response.content)
        assert shown == Attribution.model_validate(stored).regrouped(kind)
        assert len(shown.units) == math.ceil(len(stored["units"]) / size)
        assert (shown.unit_kind, shown.summed_from) == (kind, "token")
    assert (await plain.get(result)).json() == stored, "the result itself stays as it is"


async def test_its_own_units_are_the_result_as_it_was_stored(plain, result, stored) -> None:
    own, whole = await plain.get(result, params={"units": "token"}), await plain.get(result)
    assert own.content == whole.content == orjson.dumps(stored)
    assert own.headers["etag"] == whole.headers["etag"]


async def test_every_representation_has_a_tag_of_its_own(plain, result) -> None:
    tags = []
    for params in ({}, {"units": "word"}, {"units": "sentence"}):
        for accepted in ("", "gzip", "zstd"):
            headers = {"Accept-Encoding": accepted}
            response = await plain.get(result, params=params, headers=headers)
            tags.append(response.headers["etag"])
            again = await plain.get(result, params=params, headers={**headers, "If-None-Match": tags[-1]})
            assert (again.status_code, again.content) == (304, b"")
    assert len(set(tags)) == 9
    other = await plain.get(result, params={"units": "word"}, headers={"If-None-Match": tags[0]})
    assert other.status_code == 200


async def test_encodings_ranges_and_head(plain, result) -> None:
    whole = await plain.get(result, params={"units": "word"})
    for accepted, unpack in (("zstd", zstandard.ZstdDecompressor().decompress), ("gzip", gzip.decompress)):
        headers = {"Accept-Encoding": accepted}
        async with plain.stream("GET", result, params={"units": "word"}, headers=headers) as response:
            body = b"".join([part async for part in response.aiter_raw()])
        assert response.headers["content-encoding"] == accepted
        assert unpack(body) == whole.content
    part = await plain.get(result, params={"units": "word"}, headers={"Range": "bytes=10-99"})
    assert (part.status_code, part.content) == (206, whole.content[10:100])
    assert part.headers["content-range"] == f"bytes 10-99/{len(whole.content)}"
    head = await plain.head(result, params={"units": "word"})
    assert (head.content, head.headers["content-length"]) == (b"", str(len(whole.content)))
    assert head.headers["etag"] == whole.headers["etag"] == part.headers["etag"]


async def test_pages_of_larger_units(plain, result, stored) -> None:
    shown = Attribution.model_validate(stored).regrouped("word")
    params = {"units": "word", "path": "/values", "offset": 2, "limit": 3}
    page = ResultPage.model_validate_json((await plain.get(result, params=params)).content)
    assert (page.data, page.total) == (shown.values[2:5], len(shown.values))
    finer = ResultPage.model_validate_json((await plain.get(result, params={"path": "/values"})).content)
    assert finer.total == len(stored["units"])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"unit_kind": "word", "groups": {}}, "does not hold"),
        ({"unit_kind": "segments", "groups": {}}, "segments"),
        ({"unit_kind": None, "groups": {}}, "does not say"),
        ({"groups": {"sentence": [[0]]}}, "does not hold"),
        ({"values": "odd"}, "cannot regroup"),
    ],
)
async def test_units_that_are_not_held(plain, worker, shap, attribution, expect_problem, fields, words) -> None:
    job_id = (await plain.post("/explain/shap", json=shap)).json()["id"]
    worker.end(worker.claim(), orjson.dumps({**by_tokens(attribution, 12), **fields}))
    response = await plain.get(f"/jobs/{job_id}/result", params={"units": "sentence"})
    problem = expect_problem(response, 422, "invalid_units", "/query/units")
    assert words in problem["detail"]
    assert problem["hint"]


async def test_what_is_no_attribution_has_no_units(plain, worker, expect_problem) -> None:
    body = {"model": "demo", "prompt": "3 + 4 ="}
    job_id = (await plain.post("/infer/tokenize", json=body)).json()["id"]
    worker.end(worker.claim(), b'{"kind": "tokenization", "prompt": "", "tokens": [], "units": [], "count": 0}')
    response = await plain.get(f"/jobs/{job_id}/result", params={"units": "word"})
    expect_problem(response, 422, "invalid_units", "/query/units")


@pytest.mark.parametrize("params", [{"units": "letter"}, {"units": ""}, {"units": "segments"}])
async def test_units_that_there_are_not(plain, result, expect_problem, params) -> None:
    expect_problem(await plain.get(result, params=params), 422, "invalid_request", "/query/units")


async def test_an_unfinished_job_says_so_first(plain, shap, expect_problem) -> None:
    job_id = (await plain.post("/explain/shap", json=shap)).json()["id"]
    expect_problem(await plain.get(f"/jobs/{job_id}/result?units=word"), 409, "job_not_finished")


@pytest.mark.parametrize("stored", [2000], indirect=True, ids=["large"])
async def test_a_lost_blob_says_so(plain, result, stored, tmp_path: Path, expect_problem) -> None:
    (tmp_path / "results" / name_of(encode(orjson.dumps(stored)).digest)).unlink()
    expect_problem(await plain.get(result, params={"units": "word"}), 500, "result_lost")
