"""What becomes of a fetch for each thing that a hub may answer; all of them at once, since most only wait."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from explaind.contract.errors import ExplaindError, HubUnavailable, ModelLoadFailed
from explaind_worker.hub.fetch import HubModel, Part, fetch
from tests.support.hub import FOREVER, Asked, Fault, StandInHub
from tests.worker.hub.conftest import point_at

SHARDS = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
COMMON = {"config.json": b"[]", "tokenizer.json": b"{}", "chat_template.jinja": b"{{ x }}", "README.md": b"no"}


@dataclass(frozen=True)
class Case:
    """A repository of its own, what goes wrong with it, and what is wanted of it."""

    files: dict[str, bytes] = field(default_factory=dict)
    part: Part = "weights"
    gated: bool = False
    disabled: bool = False
    absent: bool = False
    revision: str | None = None
    faults: tuple[Fault, ...] = ()


@dataclass
class Outcome:
    """How it went: the files in the folder, or the error; and what the hub was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    error: ExplaindError | None = None
    asked: list[Asked] = field(default_factory=list)


def weights(number: int) -> bytes:
    """Of each case others, since the hub knows content by its digest."""
    return bytes([number]) * 50_000


CASES = {
    "description": Case({"model.safetensors": weights(1), "additional_chat_templates/a.jinja": b"t"}, "description"),
    "weights": Case({"model.safetensors": weights(2), "consolidated.safetensors": weights(3)}),
    "shards": Case(
        {
            "model.safetensors.index.json": SHARDS,
            "model-1.safetensors": weights(4),
            "model-2.safetensors": weights(5),
            "model-3.safetensors": weights(6),
        }
    ),
    "no shard": Case({"model.safetensors.index.json": SHARDS, "model-1.safetensors": weights(7)}),
    "damaged index": Case({"model.safetensors.index.json": b"{", "model-1.safetensors": weights(8)}),
    "no weights": Case({"pytorch_model.bin": weights(9)}),
    "no config": Case({"tokenizer.json": b"{}"}, "description"),
    "gated": Case(gated=True, part="description"),
    "disabled": Case(disabled=True, part="description"),
    "no repository": Case(absent=True, part="description"),
    "no revision": Case(revision="0" * 40, part="description"),
    "error once": Case({"model.safetensors": weights(10)}, faults=(Fault("/tree/", status=503),)),
    "errors": Case(faults=(Fault("/tree/", FOREVER, status=500),), part="description"),
    "errors later": Case(faults=(Fault("/resolve/", FOREVER, status=502),), part="description"),
    "rate limit": Case(
        faults=(Fault("/resolve/", FOREVER, status=429, headers={"Retry-After": "120"}),), part="description"
    ),
    "no answer": Case(faults=(Fault("/tree/", FOREVER, hang=True),), part="description"),
    "no answer later": Case(faults=(Fault("/resolve/", FOREVER, method="GET", hang=True),), part="description"),
    "another status": Case(faults=(Fault("/tree/", FOREVER, status=418),), part="description"),
    "broken once": Case({"config.json": b"{" + b" " * 9000 + b"}"}, "description", faults=(Fault("config", after=99),)),
    "broken always": Case(faults=(Fault("config", FOREVER, method="GET", after=1),), part="description"),
    "damaged once": Case(faults=(Fault("config", method="GET", damage=True),), part="description"),
    "damaged always": Case(faults=(Fault("config", FOREVER, method="GET", damage=True),), part="description"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """All of them."""
    with StandInHub() as hub, pytest.MonkeyPatch.context() as patch:
        point_at(hub, tmp_path_factory.mktemp("hf"), patch)
        models = {name: added(hub, name, case) for name, case in CASES.items()}
        with ThreadPoolExecutor(6) as threads:
            found = dict(zip(CASES, threads.map(outcome, models.values(), CASES.values()), strict=True))
        for name, model in models.items():
            found[name].asked = [asked for asked in hub.requests if f"{model.repo}/" in asked.path]
        yield found


def added(hub: StandInHub, name: str, case: Case) -> HubModel:
    repo = f"org/{name.replace(' ', '-')}"
    files = {} if case.absent else case.files if name == "no config" else {**COMMON, **case.files}
    # No two cases share a blob: the cache is one, and a file that is there is not fetched again.
    commit = hub.add(repo, {**files, "name.json": f'"{name}"'.encode()}, gated=case.gated)
    if case.absent:
        hub.repositories.clear() if not hub.repositories else hub.repositories.pop(("model", repo))
    else:
        hub.repositories["model", repo].disabled = case.disabled
    for fault in case.faults:
        fault.path = f"{repo}{fault.path}" if fault.path.startswith("/") else f"{repo}/resolve/{commit}/{fault.path}"
        hub.faults.append(fault)
    return HubModel(repo, case.revision or commit)


def outcome(model: HubModel, case: Case) -> Outcome:
    try:
        folder = fetch(model, case.part, name="mine")
    except ExplaindError as error:
        return Outcome(error=error)
    return Outcome({p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()})


def test_the_description_is_all_that_is_read_but_the_weights(outcomes) -> None:
    files = outcomes["description"].files
    wanted = {"config.json", "tokenizer.json", "chat_template.jinja", "additional_chat_templates/a.jinja", "name.json"}
    assert set(files) == wanted
    assert files["chat_template.jinja"] == b"{{ x }}"


def test_of_the_weights_what_transformers_reads_is_fetched(outcomes) -> None:
    assert outcomes["weights"].files == {"model.safetensors": weights(2)}
    assert set(outcomes["shards"].files) == {
        "model.safetensors.index.json",
        "model-1.safetensors",
        "model-2.safetensors",
    }


@pytest.mark.parametrize("name", ["error once", "broken once", "damaged once"])
def test_what_passes_is_tried_again(outcomes, name: str) -> None:
    assert outcomes[name].error is None
    case = CASES[name]
    expected = {**COMMON, **case.files}
    assert all(content == expected.get(file, content) for file, content in outcomes[name].files.items())


@pytest.mark.parametrize(
    ("name", "kind", "why", "way_out"),
    [
        ("gated", ModelLoadFailed, r"org/gated is gated", r"licence at http://127\S+/org/gated .*HF_TOKEN"),
        ("disabled", ModelLoadFailed, r"disabled access to org/disabled", r"/org/disabled"),
        ("no repository", ModelLoadFailed, r"no repository org/no-repository", r"source in models\.toml.*HF_TOKEN"),
        ("no revision", ModelLoadFailed, r"org/no-revision has no revision 0{40}", r"revision in models\.toml"),
        ("no config", ModelLoadFailed, r"org/no-config has no config\.json", r"another\s+repository"),
        ("no shard", ModelLoadFailed, r"has no model-2\.safetensors at revision", r"Choose a revision"),
        ("no weights", ModelLoadFailed, r"no weights as safetensors.*has pytorch_model\.bin", r"convert them"),
        ("damaged index", ModelLoadFailed, r"index\.json of org/damaged-index .* cannot be read", r"another revision"),
        ("errors", HubUnavailable, r"error of its own \(status 500\)", r"again later"),
        ("errors later", HubUnavailable, r"error of its own \(status 502\)", r"again later"),
        ("rate limit", HubUnavailable, r"for 120 s \(status 429, rate limit\)", r"HF_TOKEN"),
        ("no answer", HubUnavailable, r"did not answer in time", r"again later"),
        ("no answer later", HubUnavailable, r"did not answer in time", r"again later"),
        ("another status", ModelLoadFailed, r"is not a hub", r"HF_ENDPOINT"),
        ("broken always", HubUnavailable, r"the connection broke off", r"again later"),
        ("damaged always", HubUnavailable, r"config\.json of org/damaged-always came damaged", r"proxy"),
    ],
)
def test_each_fault_has_its_sentence_and_its_way_out(outcomes, name: str, kind: type, why: str, way_out: str) -> None:
    error = outcomes[name].error
    assert type(error) is kind
    assert error.detail.startswith("The files of the model 'mine' could not be fetched: ")
    assert re.search(why, error.detail)
    assert re.search(way_out, error.hint)
    assert (error.status, error.retryable) == ((503, True) if kind is HubUnavailable else (500, False))
    assert not re.search(re.escape(os.environ["HOME"]) + r"|/tmp/", str(error))


def test_a_rate_limit_says_when_to_come_back_and_is_not_pressed(outcomes) -> None:
    assert outcomes["rate limit"].error.retry_after == 120
    assert [asked.status for asked in outcomes["rate limit"].asked].count(429) <= 4  # one for each file at once


@pytest.mark.parametrize(("name", "most"), [("errors", 3), ("no answer", 3), ("broken always", 6)])
def test_a_hub_with_a_fault_is_asked_a_few_times_only(outcomes, name: str, most: int) -> None:
    path = "/resolve/" if name == "broken always" else "/tree/"
    asked = [a for a in outcomes[name].asked if path in a.path and a.method == "GET" and "tokenizer" not in a.path]
    assert len([a for a in asked if "config.json" in a.path or path == "/tree/"]) <= most
