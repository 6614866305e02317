"""What `inspect`, `help` and a notebook's completion read of a method call: its keywords, their types, a docstring."""

import inspect
from types import NoneType
from typing import get_args

import pytest

import explaind
from explaind import AsyncClient, Client
from explaind.contract.registry import all_methods
from explaind.protocol import signatures

METHODS = list(all_methods().values())
NAMES = ("__call__", "submit", "estimate")


def call_of(client, method):
    return getattr(getattr(client, method.verb), method.name.replace("-", "_"))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.path)
def test_every_call_has_the_signature_and_docstring_of_its_params(method, client: Client, async_client: AsyncClient):
    fields = method.params_model.model_fields
    call = call_of(client, method)
    for made in (call, call_of(async_client, method)):
        for found in (made, made.submit, made.estimate) if made is call else (made,):
            signature = inspect.signature(found)
            assert signature.parameters.keys() == fields.keys()
            for name, parameter in signature.parameters.items():
                assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
                required = parameter.default is inspect.Parameter.empty
                assert required == fields[name].is_required()
                assert required or parameter.default == fields[name].get_default(call_default_factory=True)
            written = str(signature)
            for noise in ("Annotated", "Discriminator", "explaind.", "typing.", "Constraints", "FieldInfo", "NoneType"):
                assert noise not in written
            docstring = inspect.getdoc(found) or ""
            for name, field in fields.items():
                assert (
                    f"\n    {name}: {' '.join((field.description or '').split()[:4])}".replace("null", "None")
                    in docstring
                )
            for said in (
                "Returns:",
                "Raises:",
                "Example:",
                f"client.{method.path.replace('/', '.').replace('-', '_')}",
            ):
                assert said in docstring


def test_types_are_written_as_a_caller_reads_them(client: Client):
    parameters = inspect.signature(client.explain.shap).parameters
    assert [
        str(parameters[name]) for name in ("model", "prompt", "messages", "units", "budget", "baseline", "webhook")
    ] == [
        "model: str",
        "prompt: str | None = None",
        "messages: list[Message | dict] | None = None",
        "units: Literal['token', 'word', 'sentence'] | Segments | dict = 'word'",
        "budget: int | Literal['auto'] = 512",
        "baseline: Literal['mask', 'pad', 'remove'] | ReplacementText | dict = 'mask'",
        "webhook: str | Webhook | dict | None = None",
    ]
    assert parameters["model"].annotation is str
    kinds = get_args(parameters["units"].annotation.__value__)
    assert explaind.Segments in kinds
    assert dict in kinds
    assert NoneType not in kinds
    heads = inspect.signature(client.explain.head_ablation).parameters["heads"]
    assert str(heads) == "heads: list[tuple[int, int]] | None = None"
    names = list(parameters)
    assert names[0] == "model"
    assert set(names[-5:]) == {"metadata", "priority", "timeout_s", "keep_s", "webhook"}, "those of the job come last"


def test_what_is_returned_is_named(client: Client, async_client: AsyncClient):
    for call, handle in ((client.explain.shap, "JobHandle"), (async_client.explain.shap, "AsyncJobHandle")):
        returned = [str(inspect.signature(getattr(call, name)).return_annotation) for name in NAMES]
        assert returned == ["Attribution", f"{handle}[Attribution]", "Estimate"]
    assert "await client.explain.shap.submit(" in (async_client.explain.shap.submit.__doc__ or "")
    assert inspect.iscoroutinefunction(async_client.explain.shap.submit)


def test_a_call_with_options_describes_itself_too(client: Client):
    again = client.explain.shap.with_options(timeout=3)
    assert inspect.signature(again) == inspect.signature(client.explain.shap)
    assert list(inspect.signature(again.with_options).parameters) == [
        "timeout", "on_progress", "idempotency_key", "fresh",
    ]  # fmt: skip


def test_the_class_of_calls_has_words_of_its_own(client: Client):
    assert (type(client.explain.shap).__doc__ or "").startswith("A method of the service as a callable")
    assert list(inspect.signature(type(client.explain.shap)).parameters) == ["driver", "method", "options"]


def test_the_methods_of_a_verb_are_listed_and_a_misspelt_one_is_told(client: Client):
    assert {"shap", "lime", "tuned_lens"} <= set(dir(client.explain))
    assert "shap" in repr(client.explain)
    with pytest.raises(AttributeError, match=r"no method 'shpa' under client\.explain\. Did you mean 'shap'"):
        _ = client.explain.shpa  # type: ignore[attr-defined]


def test_signatures_are_made_when_they_are_asked_for(monkeypatch):
    made = []
    monkeypatch.setattr(signatures, "call_fields", lambda model: made.append(model) or model.model_fields)
    signatures._signature.cache_clear()
    with Client() as client:
        assert made == [], "a client is made without them"
        inspect.signature(client.explain.shap)
    assert made
    signatures._signature.cache_clear()
