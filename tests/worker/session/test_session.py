"""A job's view of the worker: its memory, and what its answer says about the model."""

import shutil

import pytest

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.errors import ModelLoadFailed, RequestTooLarge, StoreUnavailable
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import ModelEntry
from explaind_jobs.files.file_store import FileStore
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.job_store import JobStore
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.models.files.place import fingerprint
from explaind_worker.models.loading.loading import size_of
from explaind_worker.models.pool.memory_budget import MemoryBudget
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.prompt_limits import encode_prompt
from explaind_worker.session.provenance import provenance_of
from explaind_worker.session.session import Session

LONG = "food " * 54


def pool_with_room(entry: ModelEntry, more: int) -> ModelPool:
    return ModelPool(MemoryBudget(size_of(entry) + more))


def session_of(entry: ModelEntry, pool: ModelPool) -> Session:
    return Session(entry, pool, lambda *_: None)


def forwards(session: Session) -> list[int]:
    """The model of the session, watched: tokens of every forward from now on."""
    seen: list[int] = []
    session.model_access.model().network.base_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("explain/shap", {"target": " great"}),
        ("explain/shap", {}),
        ("infer/score", {"target": " great"}),
        ("infer/generate", {"max_new_tokens": 8}),
    ],
)
@pytest.mark.parametrize("asked", ["prompt", "messages"])
def test_what_can_never_fit_is_refused_before_any_forward(tiny_model, path, fields, asked):
    entry = tiny_model("gemma")
    prompt = {"prompt": LONG} if asked == "prompt" else {"messages": [{"role": "user", "content": LONG}]}
    method = find_method(path)
    params = method.params_model.model_validate({"model": entry.name, **prompt, **fields})
    with session_of(entry, pool_with_room(entry, 120_000)) as session:
        session.model_access.model()
        seen = forwards(session)
        with pytest.raises(RequestTooLarge, match=r"needs .* beside tiny-gemma this worker has 120\.0 kB") as caught:
            implementation_of(method)(params, session)
        assert seen == []
    assert caught.value.status == 422
    assert [e.pointer for e in caught.value.errors] == [f"/{asked}"]
    assert not caught.value.retryable
    short = method.params_model.model_validate({"model": entry.name, "prompt": "food", **fields})
    with session_of(entry, pool_with_room(entry, 120_000)) as session:
        implementation_of(method)(short, session)


def test_batches_follow_from_what_is_free(tiny_model):
    entry = tiny_model("llama")
    with session_of(entry, pool_with_room(entry, 10_000_000)) as roomy:
        assert roomy.model_access.batch_limits(20).bytes == pytest.approx(10_000_000, rel=0.01)
    with session_of(entry, pool_with_room(entry, 400_000)) as tight:
        limits = tight.model_access.batch_limits(20)
        assert limits.bytes == pytest.approx(400_000, rel=0.01)
        assert limits.tokens == roomy.model_access.batch_limits(20).tokens, "today's caps stay"
        footprint = Footprint.of(tight.model_access.model())
        kept = footprint.cache_bytes(1, 100)
        assert tight.model_access.batch_limits(20, new_tokens=80).bytes == limits.bytes - kept


def test_a_tight_budget_changes_the_batches_and_not_the_answer(tiny_model):
    entry, method = tiny_model("llama"), find_method("explain/shap")
    params = method.params_model.model_validate(
        {"model": entry.name, "prompt": "The food was great but small", "target": " good"}
    )
    answers, most = [], []
    for room in (50_000_000, 150_000):
        with session_of(entry, pool_with_room(entry, room)) as session:
            seen = forwards(session)
            answers.append(implementation_of(method)(params, session).values)
            most.append(max(seen))
    assert most[1] < most[0]
    assert answers[1] == pytest.approx(answers[0], abs=1e-5)


def test_the_model_stays_until_the_session_is_closed(tiny_model):
    entry, other = tiny_model("llama"), tiny_model("qwen2")
    pool = ModelPool(MemoryBudget(int(size_of(entry) * 1.3)))
    with session_of(entry, pool) as session:
        session.model_access.model()

        class Waiting(Exception):
            pass

        def waiting():
            raise Waiting

        with pytest.raises(Waiting):
            pool.pin(other, while_waiting=waiting)
    pool.pin(other)
    assert pool.resident() == [other.name]


def copied(entry: ModelEntry, folder) -> ModelEntry:
    shutil.copytree(entry.path, folder, dirs_exist_ok=True)
    return ModelEntry(name="copy", path=folder)


def change(entry: ModelEntry) -> None:
    config = entry.path / "config.json"
    config.write_text(config.read_text().replace("silu", "gelu"))


@pytest.mark.parametrize("path", ["infer/tokenize", "infer/score"])
def test_provenance_is_of_what_was_loaded(tiny_model, tmp_path, path):
    entry, method = copied(tiny_model("llama"), tmp_path), find_method(path)
    target = {"target": " food"} if path == "infer/score" else {}
    params = method.params_model.model_validate({"model": "copy", "prompt": "The", **target})
    before, pool = fingerprint(entry), ModelPool()
    with session_of(entry, pool) as session:
        implementation_of(method)(params, session)
        change(entry)
        assert provenance_of(session, method, params).revision == before
    with session_of(entry, pool) as session:
        implementation_of(method)(params, session)
        assert provenance_of(session, method, params).revision == fingerprint(entry) != before


def test_a_prompt_is_not_read_with_another_models_tokenizer(tiny_model, tmp_path):
    """The files change between the encoding of the prompt and the loading of the weights."""
    entry, pool = copied(tiny_model("llama"), tmp_path), ModelPool()
    with session_of(entry, pool) as session:
        encode_prompt(session, PromptRequest(model="copy", prompt="The food"))
        change(entry)
        with pytest.raises(ModelLoadFailed, match="changed"):
            session.model_access.model()
    with session_of(entry, pool) as session:
        encode_prompt(session, PromptRequest(model="copy", prompt="The food"))
        assert session.model_access.model().revision == fingerprint(entry)


def test_a_session_without_a_store_says_so(tiny_model) -> None:
    with (
        session_of(tiny_model("llama"), ModelPool()) as session,
        pytest.raises(StoreUnavailable, match="without a store"),
    ):
        _ = session.job.files


def test_a_dry_run_reads_files_and_keeps_none(tiny_model, valkey, redis_url, tmp_path) -> None:
    settings = JobsSettings(redis_url=redis_url, data_dir=tmp_path)
    files = FileStore(JobStore(valkey, settings).run, settings).of("k1", job="job_a")
    dataset, _ = files.put_dataset(b"a\n1\n", "csv", "ones")
    entry, pool = tiny_model("llama"), ModelPool()
    with Session(entry, pool, lambda *_: None, dry_run=True, files=files) as dry:
        assert dry.job.files.rows(dataset.id) == [{"a": "1"}]
        foreseen = dry.job.files.put_artifact("tuned-lens", "lens", b"abc", model=entry.name)
    assert files.artifacts().data == []
    with Session(entry, pool, lambda *_: None, files=files) as session:
        assert session.job.files.put_artifact("tuned-lens", "lens", b"abc", model=entry.name).id == foreseen.id
    assert files.artifact(foreseen.id) == b"abc"
