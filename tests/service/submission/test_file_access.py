"""At the door: a request that names what its key does not have goes no further."""

import asyncio
from typing import Any

import pytest
from pydantic import Field

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.errors import UnknownArtifact, UnknownDataset
from explaind.contract.files import ArtifactId, DatasetColumns, DatasetId
from explaind.contract.method import Method
from explaind.contract.request import ModelRequest
from explaind_jobs.files.file_store import FileStore
from explaind_jobs.store.job_store import JobStore
from explaind_jobs.store.records import Claim
from explaind_service.submission.submit import JobOrigin


class Columns(DatasetColumns):
    """A dataset and the column that is read of it."""

    text: str


class Params(ModelRequest):
    """A request that names files in several places."""

    questions: Columns | None = None
    more: list[DatasetId] = Field(default_factory=list)
    lens: ArtifactId | None = None


NOWHERE = "ds_" + "0" * 26


def method(verb: str) -> Method[Any, Any]:
    return Method(verb, "sums", "t", "s", Params, Attribution, {"model": "demo"})


@pytest.fixture
def store(valkey, settings) -> JobStore:
    return JobStore(valkey, settings)


async def test_a_request_that_names_what_is_not_there(app, client, store) -> None:
    intake = app.state.resources.intake
    owned = FileStore(store.run, store.settings).of("k1")
    dataset, _ = await asyncio.to_thread(owned.put_dataset, b"a\n1\n", "csv", "ones")
    artifact = await asyncio.to_thread(owned.put_artifact, "tuned-lens", "lens", b"x", model="demo")
    right: dict[str, Any] = {
        "model": "demo",
        "questions": {"dataset": dataset.id, "text": "a"},
        "more": [dataset.id],
        "lens": artifact.id,
    }
    accepted = await intake.accept(method("evaluate"), Params(**right), JobOrigin(key="k1"))
    claim = await asyncio.to_thread(store.claim, "w@test", ["default"])
    assert isinstance(claim, Claim)
    assert (claim.id, claim.key) == (accepted.job.id, "k1")
    assert Params.model_validate_json(claim.request) == Params(**right)
    wrong: list[tuple[dict[str, Any], type[Exception], str, str]] = [
        ({"questions": {"dataset": NOWHERE, "text": "a"}}, UnknownDataset, "/questions/dataset", "k1"),
        ({"more": [dataset.id, NOWHERE]}, UnknownDataset, "/more/1", "k1"),
        ({"lens": "art_" + "0" * 26}, UnknownArtifact, "/lens", "k1"),
        ({}, UnknownDataset, "/questions/dataset", "k2"),
        ({}, UnknownDataset, "/questions/dataset", ""),
    ]
    for fields, error, pointer, key in wrong:
        with pytest.raises(error) as caught:
            await intake.accept(method("evaluate"), Params(**{**right, **fields}), JobOrigin(key=key))
        assert [field.pointer for field in caught.value.errors] == [pointer]  # pyright: ignore[reportAttributeAccessIssue]
    assert await asyncio.to_thread(store.queued) == 0


@pytest.mark.parametrize(("verb", "known"), [("explain", True), ("train", False), ("estimate", False)])
async def test_what_leaves_a_file_is_never_answered_from_memory(app, client, store, verb, known, monkeypatch) -> None:
    seen = []
    create = app.state.resources.store.create

    async def watched(new):
        seen.append(new.cache_key)
        return await create(new)

    monkeypatch.setattr(app.state.resources.store, "create", watched)
    await app.state.resources.intake.accept(method(verb), Params(model="demo"), JobOrigin())
    assert [key is not None for key in seen] == [known]
