"""Datasets and artifacts from both clients, against the scripted service."""

from typing import Any

import httpx
import pytest

from explaind.contract.errors import ArtifactNotFound, DatasetNotFound, FileLost, InvalidDataset

DATASET = {
    "id": "ds_" + "0" * 26,
    "name": "sums.jsonl",
    "bytes": 14,
    "created_at": "2026-11-20T18:00:00Z",
    "rows": 1,
    "columns": ["a"],
}
ARTIFACT = {
    "id": "art_" + "1" * 26,
    "name": "lens.safetensors",
    "bytes": 3,
    "created_at": "2026-11-20T18:00:00Z",
    "kind": "tuned-lens",
    "model": "demo",
    "job": "job_x",
}


def page(*cards: dict[str, Any], has_more: bool = False) -> httpx.Response:
    return httpx.Response(200, json={"data": list(cards), "has_more": has_more})


def test_a_file_is_uploaded_as_what_its_name_says(client, script, tmp_path):
    for name, media in (
        ("sums.jsonl", "application/jsonl"),
        ("sums.CSV", "text/csv"),
        ("sums.parquet", "application/vnd.apache.parquet"),
    ):
        (tmp_path / name).write_bytes(b"what it holds")
        script.says(httpx.Response(201, json=DATASET))
        assert client.datasets.upload(tmp_path / name).rows == 1
        sent = script.requests[-1]
        assert (sent.headers["content-type"], sent.content) == (media, b"what it holds")
        assert dict(sent.url.params) == {"name": name}


def test_bytes_are_json_lines_unless_told_otherwise(client, script):
    script.says(httpx.Response(200, json=DATASET), httpx.Response(200, json=DATASET))
    client.datasets.upload(b'{"a": 1}\n')
    client.datasets.upload(b"a\n1\n", name="ones", media="text/csv")
    first, second = script.requests
    assert (first.headers["content-type"], first.url.query) == ("application/jsonl", b"")
    assert (second.headers["content-type"], second.url.query) == ("text/csv", b"name=ones")


def test_a_name_that_says_nothing_is_refused_before_anything_is_sent(client, script, tmp_path):
    (tmp_path / "sums.txt").write_bytes(b"x")
    with pytest.raises(InvalidDataset, match=r"sums\.txt"):
        client.datasets.upload(tmp_path / "sums.txt")
    assert script.requests == []


def test_an_upload_is_repeated_when_the_service_is_busy(client, script):
    script.says(httpx.Response(503), httpx.ConnectError("down"), httpx.Response(201, json=DATASET))
    assert client.datasets.upload(b"{}").id == DATASET["id"]
    assert [request.content for request in script.requests] == [b"{}"] * 3


def test_lists_go_on_from_page_to_page(client, script):
    script.says(page(DATASET, has_more=True), page(DATASET))
    assert len(list(client.datasets.list(page_size=1))) == 2
    script.says(page(ARTIFACT))
    assert [card.kind for card in client.artifacts.list()] == ["tuned-lens"]
    assert script.asked == [
        "GET /datasets?limit=1",
        f"GET /datasets?limit=1&after={DATASET['id']}",
        "GET /artifacts?limit=100",
    ]


def test_a_dataset_is_looked_at_and_deleted(client, script):
    script.says(httpx.Response(200, json={**DATASET, "preview": [{"a": "1"}]}), httpx.Response(204))
    assert client.datasets.get("../x").preview == [{"a": "1"}]
    client.datasets.delete(DATASET["id"])
    assert script.asked == ["GET /datasets/..%2Fx", f"DELETE /datasets/{DATASET['id']}"]


def test_one_that_was_deleted_by_the_first_try_is_deleted(client, script):
    gone = httpx.Response(404, json=DatasetNotFound("Gone.").problem().model_dump(mode="json"))
    script.says(httpx.ReadError("lost"), gone)
    client.datasets.delete(DATASET["id"])
    script.says(gone)
    with pytest.raises(DatasetNotFound):
        client.datasets.delete(DATASET["id"])


def test_a_download_is_there_as_a_whole_or_not_at_all(client, script, tmp_path):
    place = tmp_path / "lens.safetensors"
    script.says(httpx.Response(200, content=b"\0\1\2"))
    assert client.artifacts.download(ARTIFACT["id"], place) == place
    assert place.read_bytes() == b"\0\1\2"
    script.says(httpx.Response(500, json=FileLost("Lost.").problem().model_dump(mode="json")))
    with pytest.raises(FileLost):
        client.artifacts.download(ARTIFACT["id"], place)
    assert [path.name for path in tmp_path.iterdir()] == ["lens.safetensors"]
    script.says(httpx.Response(200, content=b"\0"))
    with pytest.raises(FileNotFoundError):
        client.artifacts.download(ARTIFACT["id"], tmp_path / "no such folder" / "x")


async def test_the_async_client_does_the_same(async_client, script, tmp_path):
    (tmp_path / "sums.csv").write_bytes(b"a\n1\n")
    script.says(
        httpx.Response(201, json=DATASET),
        page(DATASET, has_more=True),
        page(DATASET),
        httpx.Response(200, json={**DATASET, "preview": []}),
        httpx.Response(204),
        page(ARTIFACT),
        httpx.Response(200, json=ARTIFACT),
        httpx.Response(200, content=b"\0\1\2"),
        httpx.Response(204),
        httpx.Response(404, json=ArtifactNotFound("Gone.").problem().model_dump(mode="json")),
    )
    datasets, artifacts = async_client.datasets, async_client.artifacts
    assert (await datasets.upload(tmp_path / "sums.csv")).id == DATASET["id"]
    assert len([card async for card in datasets.list(page_size=1)]) == 2
    assert (await datasets.get(DATASET["id"])).preview == []
    await datasets.delete(DATASET["id"])
    assert [card.job async for card in artifacts.list()] == ["job_x"]
    assert (await artifacts.get(ARTIFACT["id"])).model == "demo"
    assert (await artifacts.download(ARTIFACT["id"], tmp_path / "lens")).read_bytes() == b"\0\1\2"
    await artifacts.delete(ARTIFACT["id"])
    with pytest.raises(ArtifactNotFound):
        await artifacts.get(ARTIFACT["id"])
