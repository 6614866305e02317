import json
import shutil

import pytest

from explaind.contract.errors import (
    ExplaindError,
    InternalError,
    InvalidRequest,
    ModelLoadFailed,
    OutOfMemory,
    UnknownModel,
)
from explaind.contract.job import JobState
from explaind.contract.method import Method
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import Catalogue, ModelEntry
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim
from explaind_worker.models.device_errors import DevicePoisoned
from explaind_worker.models.pool.stats import PoolStats
from explaind_worker.runtime.lazy_runner import LazyRunner
from explaind_worker.runtime.runner import Runner, implementation_of
from explaind_worker.stops import Cancelled


class Control:
    files = None

    def __init__(self):
        self.seen = []

    def report_progress(self, phase, done, total, unit):
        self.seen.append(phase)


def claim(path, **params):
    request = find_method(path).params_model.model_validate(params)
    return Claim("job_a", 1, path, request.model, request.model_dump_json().encode(), 0.25)


@pytest.fixture
def runner(tiny_model):
    return Runner(JobsSettings(), Catalogue({"tiny-llama": tiny_model("llama")}))


def test_a_method_this_worker_lacks_is_named():
    known = find_method("infer/score")
    params = type("NoSuchParams", (known.params_model,), {"__module__": "explaind.contract.methods.no_such"})
    unknown = Method("explain", "no-such", "t", "s", params, known.result, {})
    with pytest.raises(InternalError, match="no explain/no-such"):
        implementation_of(unknown)


def test_outcome_carries_result_provenance_and_timing(runner, tokenizer):
    control = Control()
    outcome = runner.run(
        claim("explain/shap", model="tiny-llama", prompt="The food was", target=" great", seed=7), control
    )
    assert outcome.state is JobState.SUCCEEDED
    result = json.loads(outcome.result)
    assert [u["text"] for u in result["units"]] == ["The", "food", "was"]
    provenance, timing = outcome.provenance, outcome.timing
    assert provenance.seed == 7
    assert provenance.token_ids == tokenizer("The food was").input_ids
    assert provenance.revision.startswith("sha256:")
    assert provenance.architecture == "LlamaForCausalLM"
    assert provenance.dtype == "float32"
    assert {"torch", "transformers", "explaind"} <= set(provenance.versions)
    assert timing.queued_s == 0.25
    assert timing.forwards >= 1
    assert timing.tokens_evaluated > 0
    assert timing.model_load_s > 0
    assert control.seen[0] == "loading the model"
    assert "evaluating" in control.seen
    assert runner.resident() == ["tiny-llama"]
    again = runner.run(claim("infer/score", model="tiny-llama", prompt="The", target=" food"), Control())
    assert again.timing.model_load_s == 0.0


def test_results_replay_to_the_same_numbers(runner):
    asked = claim("explain/shap", model="tiny-llama", prompt="food " * 14, target=" great", budget=100)
    assert runner.run(asked, Control()).result == runner.run(asked, Control()).result


def test_unknown_model_and_stale_request(runner):
    with pytest.raises(UnknownModel):
        runner.run(claim("infer/score", model="tiny-lama", prompt="x", target="y"), Control())
    with pytest.raises(InvalidRequest, match="does not fit"):
        runner.run(Claim("job_a", 1, "infer/score", "tiny-llama", b'{"model": "tiny-llama"}', 0.0), Control())


def test_a_broken_model_fails_the_job_without_naming_the_directory(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    runner = Runner(JobsSettings(), Catalogue({"broken": ModelEntry(name="broken", path=tmp_path)}))
    with pytest.raises(ModelLoadFailed) as caught:
        runner.run(claim("infer/score", model="broken", prompt="x", target="y"), Control())
    assert str(tmp_path) not in str(caught.value)
    assert runner.resident() == []


def test_out_of_memory_is_retryable(runner, monkeypatch):
    import torch

    from explaind_worker.methods.infer import score

    def too_much(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(score, "run", too_much)
    with pytest.raises(OutOfMemory) as caught:
        runner.run(claim("infer/score", model="tiny-llama", prompt="x", target="y"), Control())
    assert caught.value.retryable


def test_a_job_that_ran_out_of_memory_leaves_a_healthy_model(runner):
    import torch

    asked = claim("explain/shap", model="tiny-llama", prompt="The food was great", target=" small")
    before = runner.run(asked, Control())
    network = runner._pool.model(runner._catalogue.find("tiny-llama"))[0].network
    most = 0

    def exhausted(_module, _args, kwargs):
        if kwargs["input_ids"].numel() > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = network.base_model.register_forward_pre_hook(exhausted, with_kwargs=True)
    with pytest.raises(OutOfMemory):
        runner.run(asked, Control())
    most = 40
    halved = runner.run(asked, Control())
    handle.remove()
    assert before.timing.backoffs == 0 < halved.timing.backoffs
    assert json.loads(halved.result)["values"] == pytest.approx(json.loads(before.result)["values"], abs=1e-5)
    assert runner.run(asked, Control()).result == before.result


@pytest.mark.parametrize(
    "message", ["CUDA error: device-side assert triggered", "CUDA error: an illegal memory access"]
)
def test_a_poisoned_device_ends_more_than_the_job(runner, monkeypatch, message):
    import torch

    from explaind_worker.methods.infer import score

    def poison(*_):
        raise torch.AcceleratorError(f"CUDA error: {message} was encountered")

    monkeypatch.setattr(score, "run", poison)
    with pytest.raises(DevicePoisoned) as caught:
        runner.run(claim("infer/score", model="tiny-llama", prompt="x", target="y"), Control())
    assert not isinstance(caught.value, ExplaindError)


def test_a_device_poisoned_while_loading_is_no_broken_model(runner, monkeypatch):
    from explaind_worker.models.files import pretrained

    def poison(*_, **__):
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(pretrained.CAUSAL, "from_pretrained", poison)
    with pytest.raises(DevicePoisoned):
        runner.run(claim("infer/score", model="tiny-llama", prompt="x", target="y"), Control())
    preloading = Runner(JobsSettings(), Catalogue.load(None))
    with pytest.raises(DevicePoisoned):
        preloading.warm()


def test_memory_that_runs_out_while_loading_is_retryable(runner, monkeypatch):
    from explaind_worker.models.files import pretrained

    def full(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(pretrained.CAUSAL, "from_pretrained", full)
        with pytest.raises(OutOfMemory):
            runner.run(claim("infer/score", model="tiny-llama", prompt="x", target="y"), Control())
    assert runner.memory().bytes_used == 0
    runner.run(claim("infer/score", model="tiny-llama", prompt="x", target="y"), Control())


def test_one_budget_for_all_models(tiny_model):
    entries = {entry.name: entry for entry in (tiny_model("llama"), tiny_model("qwen2"), tiny_model("gemma"))}
    runner = Runner(JobsSettings(memory_bytes="1.6MB"), Catalogue(entries))
    for name in [*entries, *entries]:
        runner.run(claim("infer/score", model=name, prompt="The", target=" food"), Control())
        assert name in runner.resident()
    memory = runner.memory()
    assert memory.bytes_budget == 1_600_000
    assert memory.bytes_used <= 0.9 * memory.bytes_budget
    assert memory.evictions >= 2
    assert runner.revisions().keys() == set(entries) > set(runner.resident())


def test_before_the_runner_is_there_it_holds_nothing(runner, monkeypatch):
    late = LazyRunner(JobsSettings(), Catalogue.load(None))
    assert (late.resident(), late.revisions(), late.memory()) == ([], {}, PoolStats())
    late.run(claim("infer/score", model="demo", prompt="3 + 4", target=" ="), Control())
    (revision,) = late.revisions().values()
    assert revision.startswith("sha256:")
    assert revision.endswith("|float32|None")
    assert late.memory().models["demo"].bytes == late.memory().bytes_used > 0


def test_warm_loads_what_the_catalogue_wants_and_survives_a_broken_model(tiny_model, tmp_path):
    broken = ModelEntry(name="broken", path=tmp_path, preload=True)
    wanted = tiny_model("llama", preload=True)
    lazy = tiny_model("gpt2")
    runner = Runner(JobsSettings(), Catalogue({e.name: e for e in (broken, wanted, lazy)}))
    runner.warm()
    assert runner.resident() == ["tiny-llama"]


class CancelledAfter(Control):
    """Cancels at its n-th report_progress of a phase."""

    def __init__(self, phase, count):
        super().__init__()
        self._phase, self._left = phase, count

    def report_progress(self, phase, done, total, unit):
        super().report_progress(phase, done, total, unit)
        self._left -= phase == self._phase
        if self._left == 0:
            raise Cancelled("job_a")


def test_a_cancelled_generation_keeps_what_it_said(runner):
    asked = claim("infer/generate", model="tiny-llama", prompt="The food was", max_new_tokens=12)
    whole = json.loads(runner.run(asked, Control()).result)
    assert len(whole["tokens"]) > 3, "the model says enough to be cut off"
    outcome = runner.run(asked, CancelledAfter("generating", 4))
    part = json.loads(outcome.result)
    assert (outcome.state, part["finish_reason"]) == (JobState.CANCELLED, "cancelled")
    assert part["tokens"] == whole["tokens"][:3]
    assert whole["text"].startswith(part["text"])
    assert outcome.timing.forwards == 3


def test_a_generation_cancelled_at_once_said_nothing(runner):
    asked = claim("infer/generate", model="tiny-llama", prompt="The food was", max_new_tokens=12)
    outcome = runner.run(asked, CancelledAfter("generating", 1))
    part = json.loads(outcome.result)
    assert (part["text"], part["tokens"], part["logprob"], part["finish_reason"]) == ("", [], 0, "cancelled")


def test_a_cancelled_attribution_has_no_part(runner):
    asked = claim("explain/shap", model="tiny-llama", prompt="The food was", target=" great")
    with pytest.raises(Cancelled):
        runner.run(asked, CancelledAfter("evaluating", 1))


def test_an_answer_says_what_weights_it_is_of(runner):
    outcome = runner.run(claim("infer/score", model="tiny-llama", prompt="The", target=" food"), Control())
    assert outcome.revision == runner.revisions()["tiny-llama"]
    tokens_only = runner.run(claim("infer/tokenize", model="tiny-llama", prompt="The"), Control())
    assert tokens_only.revision is None


@pytest.mark.parametrize(
    ("template", "known"),
    [
        ("{{ strftime_now('%d %B %Y') }}", False),
        ("{# strftime_now #}{% raw %}strftime_now{% endraw %}", True),
        ("{{ ['Hi', 'Hello'] | random }}", False),
    ],
)
def test_an_answer_to_a_prompt_of_today_is_not_known_tomorrow(tiny_model, tmp_path, template, known):
    """An answer without a revision answers no other request."""
    shutil.copytree(tiny_model("llama").path, tmp_path / "dated")
    turns = "{% for m in messages %}{{ m.content }}{% endfor %}"
    (tmp_path / "dated" / "chat_template.jinja").write_text(template + turns)
    runner = Runner(JobsSettings(), Catalogue({"dated": ModelEntry(name="dated", path=tmp_path / "dated")}))
    chat = {"model": "dated", "max_new_tokens": 1, "messages": [{"role": "user", "content": "a drink"}]}
    outcome = runner.run(claim("infer/generate", **chat), Control())
    assert (outcome.revision is not None) == known
    plain = runner.run(claim("infer/generate", model="dated", prompt="a drink", max_new_tokens=1), Control())
    assert plain.revision is not None, "no template, no date"
