"""The key of known answers holds every field of every request, except those that concern the job alone.

A field left out by mistake would give one request the answer of another, so each is changed in turn, nested ones too.
"""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, Field

from explaind.contract.methods.infer.score import ScoreParams
from explaind.contract.registry import all_methods
from explaind.contract.request import ModelRequest

JOB_ONLY = {"metadata", "priority", "timeout_s", "keep_s", "webhook"}
METHODS = all_methods()

# The values put into fields are of no type that the fields have; only whether they show is of interest.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")

Path = tuple[tuple[str, type[BaseModel]], ...]


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model that a value of that type may be or hold at once."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def paths_into(model: type[BaseModel], skip: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Ways from a model to the models inside its fields, as deep as they go."""
    for name, field in model.model_fields.items():
        if name in skip:
            continue
        for inner in {*models_in(field.annotation), *(m for part in field.metadata for m in models_in(part))}:
            yield ((name, inner),)
            yield from (((name, inner), *rest) for rest in paths_into(inner))


def changed(params: ModelRequest, path: Path, field: str, value: str) -> ModelRequest:
    """The request with that value in that field of the model at the end of the path; all others there are filled."""
    inside: Any = value
    for place, (_, model) in enumerate(reversed(path)):
        last = field if place == 0 else path[len(path) - place][0]
        filled: dict[str, Any] = dict.fromkeys(model.model_fields, "same")
        inside = model.model_construct(None, **{**filled, last: inside})
    return params.model_copy(update={path[0][0] if path else field: inside})


def hidden(params: ModelRequest) -> set[str]:
    """The fields whose change leaves the key as it is, as paths with dots."""
    model = type(params)
    paths: list[Path] = [(), *paths_into(model, model.job_fields)]
    return {
        ".".join([*(name for name, _ in path), field])
        for path in paths
        for field in (path[-1][1] if path else model).model_fields
        if changed(params, path, field, "one").cache_fields() == changed(params, path, field, "two").cache_fields()
    }


@pytest.mark.parametrize("path", METHODS)
def test_every_field_is_in_the_key_but_those_of_the_job(path):
    method = METHODS[path]
    assert hidden(method.params_model.model_validate(method.example)) == JOB_ONLY


def test_a_field_of_every_request_is_in_the_key_unless_it_is_named_a_job_s():
    class Adapted(ModelRequest):
        adapter: str | None = None

    class Urgent(Adapted):
        job_fields = ModelRequest.job_fields | {"urgency"}
        urgency: int = 0

    assert hidden(Adapted(model="m")) == JOB_ONLY
    assert hidden(Urgent(model="m")) == {*JOB_ONLY, "urgency"}
    assert ModelRequest.job_fields <= ModelRequest.model_fields.keys()


def test_a_field_that_is_left_out_inside_another_is_seen():
    class Options(BaseModel):
        shown: int = 0
        unseen: int = Field(default=0, exclude=True)

    class Request(ModelRequest):
        options: list[Options] | None = None

    assert hidden(Request(model="m")) == {*JOB_ONLY, "options.unseen"}


def test_targets_and_units_are_walked_into():
    walked = {".".join(name for name, _ in path) for path in paths_into(METHODS["explain/shap"].params_model)}
    assert {
        "target",
        "target.generate",
        "messages",
        "units",
        "baseline",
        "faithfulness",
        "faithfulness.baseline",
    } <= walked


def test_requests_that_spell_out_defaults_are_the_same():
    spelled = ScoreParams.model_validate({"model": "m", "prompt": "a", "target": " b", "prompt_logprobs": False})
    short = ScoreParams.model_validate({"model": "m", "prompt": "a", "target": " b", "priority": "high", "keep_s": 60})
    assert spelled.cache_fields() == short.cache_fields()
