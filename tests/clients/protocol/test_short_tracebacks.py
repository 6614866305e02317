"""Errors come from the public call: one frame beneath the caller's own, and nothing of what lies under it."""

import traceback
from collections.abc import Callable

import httpx
import pytest

from explaind import AsyncClient, Client, ExplaindError, InvalidRequest, PositionalArguments, UnknownField, UnknownModel

UNKNOWN = UnknownModel.at("/model", "No model is called 'dmeo'.", hint="Did you mean 'demo'?").problem()
SHAP = {"model": "dmeo", "prompt": "x"}


def frames_below(error: BaseException) -> list[str]:
    """The names of the frames under this file's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = max(place for place, frame in enumerate(frames) if frame.filename == __file__)
    return [frame.name for frame in frames[own + 1 :]]


CALLS: dict[str, Callable[[Client], object]] = {
    "__call__": lambda client: client.explain.shap(**SHAP),
    "submit": lambda client: client.explain.shap.submit(**SHAP),
    "estimate": lambda client: client.explain.shap.with_options(timeout=1).estimate(**SHAP),
    "run": lambda client: client.run("explain/shap", SHAP),
    "models": lambda client: client.models(),
    "get": lambda client: client.jobs.get("job_1"),
    "list": lambda client: list(client.jobs.list()),
    "upload": lambda client: client.datasets.upload(b"{}"),
    "download": lambda client: client.artifacts.download("art_1", "/nowhere"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_refused_call_raises_from_itself(client: Client, script, name: str):
    script.says(httpx.Response(422, content=UNKNOWN.model_dump_json()))
    with pytest.raises(UnknownModel, match="Did you mean 'demo'") as caught:
        CALLS[name](client)
    assert frames_below(caught.value) == [name]
    assert len("".join(traceback.format_exception(caught.value)).splitlines()) <= 16
    assert caught.value.__cause__ is None


async def test_the_async_client_does_the_same(async_client: AsyncClient, script):
    client = async_client
    script.says(*(httpx.Response(422, content=UNKNOWN.model_dump_json()) for _ in range(4)))
    for name, call in {
        "__call__": lambda: client.explain.shap(**SHAP),
        "submit": lambda: client.explain.shap.submit(**SHAP),
        "upload": lambda: client.datasets.upload(b"{}"),
    }.items():
        with pytest.raises(UnknownModel) as caught:
            await call()
        assert frames_below(caught.value) == [name]
    with pytest.raises(UnknownModel) as caught:
        _ = [job async for job in client.jobs.list()]
    assert frames_below(caught.value) == ["list"]


def test_a_handle_raises_from_its_own_methods(client: Client, script, says_job):
    script.says(says_job("running"), *(httpx.Response(404, content=UNKNOWN.model_dump_json()) for _ in range(3)))
    handle = client.jobs.handle("job_1")
    for name, call in {"wait": handle.wait, "events": lambda: list(handle.events()), "result": handle.result}.items():
        with pytest.raises(ExplaindError) as caught:
            call()
        assert frames_below(caught.value) == [name]


def test_a_connection_that_fails_shows_nothing_of_the_transport(client: Client, script):
    script.says(*(httpx.ConnectError("refused") for _ in range(5)))
    with pytest.raises(ExplaindError) as caught:
        client.models()
    assert frames_below(caught.value) == ["models"]
    assert "httpx" not in "".join(traceback.format_exception(caught.value))


def test_what_a_callback_raises_keeps_its_traceback(client: Client, script, says_job):
    def on_progress(job: object) -> None:
        raise InvalidRequest("mine")

    script.says(says_job("queued", status=202))
    with pytest.raises(InvalidRequest, match="mine") as caught:
        client.explain.shap.with_options(on_progress=on_progress)(model="demo", prompt="x")
    assert "on_progress" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_keyword_that_is_not_there_is_refused_with_the_nearest(client: Client, script):
    with pytest.raises(InvalidRequest, match=r"promt: There is no such field\. Did you mean 'prompt'") as caught:
        client.explain.shap(model="demo", promt="x")  # type: ignore[call-arg]
    assert isinstance(caught.value, UnknownField)
    assert isinstance(caught.value, TypeError)
    assert frames_below(caught.value) == ["__call__"]
    assert "pydantic" not in "".join(traceback.format_exception(caught.value))
    assert script.requests == []


@pytest.mark.parametrize(
    ("given", "named", "hint"),
    [
        (("demo", "x" * 500), {}, r"shap\(model='demo', prompt='x+\.\.\.x+'\)\."),
        (("demo",), {"model": "demo", "prompt": "x"}, r"shap\(messages='demo', …\)\."),
        (({"model": "demo"},), {}, r"shap\(\*\*request\), or client\.submit\('explain/shap', request\)"),
    ],
)
def test_arguments_without_names_are_refused_with_the_names(client: Client, given, named, hint):
    for call in (client.explain.shap, client.explain.shap.submit, client.explain.shap.estimate):
        with pytest.raises(TypeError, match=hint) as caught:
            call(*given, **named)
        assert isinstance(caught.value, PositionalArguments)
        assert len(frames_below(caught.value)) == 1
        assert len(str(caught.value)) < 300
