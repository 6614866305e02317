"""Every method of the contract: its example runs once on the built-in model, and that run is held to all promises."""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console
from torch import nn

from explaind.cli.encoding import fit
from explaind.cli.terminal import Terminal
from explaind.cli.views.job import show_job
from explaind.contract.estimate import Estimate
from explaind.contract.job import Job, JobState, Progress
from explaind.contract.method import Method
from explaind.contract.registry import all_methods, find_method
from explaind.views.drawing.summary_line import MOST_CHARS
from explaind.views.report import job_html
from explaind_jobs.catalogue import DEMO, Catalogue
from explaind_jobs.settings import JobsSettings
from explaind_jobs.store.records import Claim, Outcome
from explaind_worker.models.loading import meta_model
from explaind_worker.models.loading.loading import size_of
from explaind_worker.runtime.runner import Runner
from explaind_worker.session import estimate
from explaind_worker.session.speed_calibration import assumed
from tests.support.job_control import QuietControl

# How much a sweep shares depends on what the model answers, which an estimate cannot know: it counts the most.
COUNTS_THE_MOST = {"explain/head-ablation"}
REGISTER = ("register_forward_pre_hook", "register_forward_hook", "register_full_backward_hook")
JOB = {
    "id": "job_01hzy3v7k2m4n6p8q0r2s4t6v8",
    "model": "demo",
    "state": "succeeded",
    "created_at": "2026-11-20T18:00:00Z",
    "links": {name: f"/{name}" for name in ("self", "result", "report", "cancel")},
}


@dataclass(frozen=True)
class Ran:
    """One run of a method's example, and what was seen of the model meanwhile."""

    method: Method[Any, Any]
    outcome: Outcome
    hooked_without_lock: list[str]
    hooks_left: int
    locked: bool
    dtype: torch.dtype
    reports: list[Progress]

    @property
    def result(self) -> Any:
        """The result as the SDK reads it."""
        return self.method.result.model_validate_json(self.outcome.result or b"")

    @property
    def job(self) -> Job[Any]:
        """The job as the service answers with it."""
        about = {"method": self.method.path, "provenance": self.outcome.provenance, "timing": self.outcome.timing}
        result = self.result.model_dump(mode="json")
        return Job[Any].model_validate_json(Job[Any](**JOB, **about, result=result).model_dump_json())


def claim_of(path: str, method: Method[Any, Any]) -> Claim:
    request = method.params_model.model_validate(method.example)
    return Claim("job_a", 1, path, request.model, request.model_dump_json().encode(), 0.25)


@pytest.fixture(scope="module")
def runner() -> Runner:
    made = Runner(JobsSettings(), Catalogue({"demo": DEMO}))
    made._pool.model(DEMO)
    return made


@pytest.fixture(scope="module")
def ran(runner: Runner) -> Callable[[str], Ran]:
    """`ran("explain/shap")`: the one run of that method."""
    known: dict[str, Ran] = {}

    def run(path: str) -> Ran:
        if path not in known:
            known[path] = watched(runner, all_methods()[path])
        return known[path]

    return run


def watched(runner: Runner, method: Method[Any, Any]) -> Ran:
    """Runs a method's example; every hook that is set on the model must be set under its lock."""
    model, _ = runner._pool.model(DEMO)
    modules, unlocked = set(model.network.modules()), []

    def watching(register: Callable[..., Any]) -> Callable[..., Any]:
        def registering(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if module in modules and not model.lock.locked():
                unlocked.append(type(module).__name__)
            return register(module, *args, **kwargs)

        return registering

    before = hooks_of(model.network)
    with pytest.MonkeyPatch.context() as patch:
        for name in REGISTER:
            patch.setattr(nn.Module, name, watching(getattr(nn.Module, name)))
        outcome = runner.run(claim_of(method.path, method), control := QuietControl())
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    return Ran(method, outcome, unlocked, hooks_of(model.network) - before, model.lock.locked(), dtype, control.reports)


def stable(result: bytes | None) -> Any:
    """A result without what every run has of its own: seconds, and names of artifacts."""
    changing = re.compile(r'"(seconds|created_at|id|expires_at)":("[^"]*"|[0-9.e+-]+)')
    return changing.sub("", (result or b"").decode())


def hooks_of(network: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return sum(len(getattr(module, kind)) for module in network.modules() for kind in kinds)


@pytest.fixture(scope="module", params=sorted(all_methods()))
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    return request.param


def test_the_example_is_valid_and_the_fields_are_described(path: str) -> None:
    method = all_methods()[path]
    assert method.params_model.model_validate(method.example).model == "demo"
    for name, described in method.params_model.model_fields.items():
        assert described.description, f"{path}: {name} has no description"
    detail = method.detail()
    assert detail.path == f"/{path}"
    assert detail.params["additionalProperties"] is False
    assert detail.param_names == list(detail.params["properties"])


def test_the_example_succeeds_with_a_result_of_its_class(ran, path: str) -> None:
    found = ran(path)
    assert found.outcome.state is JobState.SUCCEEDED
    assert type(found.result) is found.method.result
    assert found.result.model_dump_json().encode() == found.outcome.result, "the SDK reads what the worker wrote"


def test_progress_runs_forward_in_each_phase_and_ends_complete(ran, path: str) -> None:
    found, last = ran(path), {}
    for now in found.reports:
        before = last.get(now.phase, now)
        assert now.done >= before.done, f"{now.phase} runs backward"
        assert now.total is None or now.done <= now.total
        last[now.phase] = now
    ended = found.outcome.progress
    assert ended.done == ended.total > 0
    # The end adds nothing: each phase that counts has said itself that it is over.
    assert ended == found.reports[-1]
    assert all(now.done == now.total for now in last.values() if now.total is not None)


def test_hooks_are_set_under_the_lock_and_none_stays(ran, path: str) -> None:
    """Jobs share models."""
    found = ran(path)
    assert found.hooked_without_lock == []
    assert found.hooks_left == 0
    assert not found.locked


def test_the_process_is_left_as_it_was(ran, path: str) -> None:
    assert ran(path).dtype == torch.float32
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_numbers_do_not_depend_on_the_default_dtype(ran, runner: Runner, path: str) -> None:
    """Which another thread may be changing while it loads a model."""
    expected, method = ran(path), all_methods()[path]
    torch.set_default_dtype(torch.bfloat16)
    try:
        outcome = runner.run(claim_of(path, method), QuietControl())
    finally:
        torch.set_default_dtype(torch.float32)
    assert stable(outcome.result) == stable(expected.outcome.result)


def test_the_run_can_be_replayed_and_its_cost_is_known(ran, path: str) -> None:
    found = ran(path)
    provenance, timing = found.outcome.provenance, found.outcome.timing
    assert provenance is not None
    assert timing is not None
    assert (provenance.model, provenance.source) == ("demo", "built-in")
    assert provenance.versions.keys() >= {"python", "explaind", "torch", "transformers", "tokenizers", "numpy"}
    assert provenance.method_version == found.method.version
    assert provenance.seed == found.method.params_model.model_validate(found.method.example).model_dump().get("seed")
    assert timing.queued_s == 0.25
    assert timing.seconds is not None
    assert timing.seconds > 0
    assert timing.backoffs == 0
    assert (timing.forwards > 0) is (timing.tokens_evaluated > 0)
    if timing.forwards:
        assert all((provenance.revision, provenance.architecture, provenance.dtype, provenance.device))


def test_the_estimate_of_a_model_on_a_gpu_touches_no_device(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands for its embeddings and weights is on the CPU, and nothing may be brought together with the GPU's."""
    monkeypatch.setattr(meta_model, "device_of", lambda _: "cuda:0")
    monkeypatch.setattr(estimate, "assumed", lambda bytes, _, dtype: assumed(bytes, torch.device("cpu"), dtype))
    fresh = Runner(JobsSettings(), Catalogue({"demo": DEMO}))
    outcome = fresh.run(claim_of(f"estimate/{path}", find_method(f"estimate/{path}")), QuietControl())
    assert Estimate.model_validate_json(outcome.result or b"").fits


def test_the_estimate_is_what_the_run_took(ran, path: str) -> None:
    fresh = Runner(JobsSettings(), Catalogue({"demo": DEMO}))
    outcome = fresh.run(claim_of(f"estimate/{path}", find_method(f"estimate/{path}")), QuietControl())
    assert fresh.resident() == [], "an estimate touches no weights"
    assert outcome.progress is not None
    assert outcome.progress.phase.startswith("estimating: ")
    assert outcome.progress.done == outcome.progress.total
    said, took = Estimate.model_validate_json(outcome.result or b""), ran(path).outcome.timing
    assert said.method == path
    assert said.fits
    assert took is not None
    if said.note is not None:
        assert said.forwards >= took.forwards, f"an upper bound: {said.note}"
    elif path in COUNTS_THE_MOST:
        assert said.forwards == took.forwards
        assert said.tokens_evaluated >= took.tokens_evaluated
        assert said.tokens_evaluated + said.tokens_saved == took.tokens_evaluated + took.tokens_saved
    else:
        told = (said.forwards, said.tokens_evaluated, said.tokens_saved)
        assert told == (took.forwards, took.tokens_evaluated, took.tokens_saved)
    if said.forwards:
        assert (said.basis, said.load_s, said.model_bytes) == ("assumed", None, size_of(DEMO))
        assert said.seconds > 0
    else:
        assert (said.model_bytes, said.load_s, said.peak_bytes) == (0, 0.0, 0)


def test_the_report_is_a_page_without_scripts(ran, path: str) -> None:
    page = job_html(ran(path).job)
    assert page.startswith("<!doctype html>")
    assert path in page
    assert "Content-Security-Policy" in page
    assert "<script" not in page


def test_a_notebook_and_a_terminal_show_it(ran, path: str) -> None:
    found = ran(path)
    drawn = getattr(found.result, "_repr_html_", None)
    assert drawn is None or drawn().startswith("<")
    for text in (repr(found.result), str(found.job), f"{[found.result]}"):
        assert len(text) <= MOST_CHARS + 2
        assert "=" not in text, "pieces that a reader wants, not fields"
        assert "\n" not in text
        assert getattr(found.result, "prompt", "?!") not in text
    written = io.StringIO()
    show_job(Console(file=written, width=110, color_system=None, _environ={}), found.job)
    assert "job_01hzy3v7k2m4n6p8q0r2s4t6v8" in written.getvalue()
    assert not written.getvalue().startswith("{"), "a view of its own, not JSON"


@pytest.mark.parametrize(("encoding", "width"), [("cp1252", 80), ("ascii", 40)])
def test_a_screen_of_any_encoding_and_width_shows_it(ran, path: str, encoding: str, width: int) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    fit(stream)
    show_job(Terminal(file=stream, width=width, force_terminal=True, color_system=None), ran(path).job)
    stream.flush()
    lines = stream.buffer.getvalue().decode(encoding).splitlines()
    assert sum(len(line.split()) for line in lines) > 3
    assert all(cell_len(line.rstrip()) <= width for line in lines)
