"""The OpenAPI document: complete, in order, true."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from anyio import to_thread
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from explaind.contract.job import Job
from explaind.contract.registry import all_methods
from explaind_service.app import create_app
from explaind_service.settings import ServiceSettings
from tests.support import DOCUMENT


@pytest.fixture(scope="module")
def text() -> str:
    """The document that is committed; `test_what_is_served_is_the_file` compares it with the application's."""
    return DOCUMENT.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def document(text: str) -> dict[str, Any]:
    return json.loads(text)


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def resolved(document: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What stands there, or the component that is referred to."""
    if "$ref" not in found:
        return found
    _, *keys = found["$ref"].split("/")
    target: Any = document
    for key in keys:
        target = target[key]
    return target


def flat(document: dict[str, Any], schema: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The properties of a schema, inherited ones included, and the names of those it requires."""
    fields, required = {}, set()
    for base in schema.get("allOf", ()):
        inherited, needed = flat(document, resolved(document, base))
        fields, required = {**fields, **inherited}, required | needed
    return {**fields, **schema.get("properties", {})}, required | set(schema.get("required", ()))


def validator(document: dict[str, Any], name: str) -> Draft202012Validator:
    return Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"})


async def test_others_are_answered_while_the_document_is_made(app, client, monkeypatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def made(_app: FastAPI) -> dict[str, Any]:
        begun.set()
        assert go_on.wait(20), "the event loop waits for the document"
        return {"openapi": "3.1.0"}

    monkeypatch.setattr("explaind_service.app._DOCUMENTS", {})
    monkeypatch.setattr(FastAPI, "openapi", made)
    monkeypatch.setattr("explaind_service.app.compact_document", lambda document: document)
    asked = asyncio.create_task(client.get("/openapi.json"))
    assert await to_thread.run_sync(begun.wait, 20)
    assert (await client.get("/healthz")).status_code == 200
    assert not asked.done()
    go_on.set()
    assert (await asked).json() == {"openapi": "3.1.0"}


def test_every_operation_is_named_and_described(document) -> None:
    found = operations(document)
    ids = [operation["operationId"] for operation in found]
    assert len(set(ids)) == len(ids)
    assert {"explain_shap", "explain_feature_ablation", "infer_generate", "get_job", "list_jobs"} <= set(ids)
    for operation in found:
        assert operation["summary"]
        assert operation["description"]
        assert len(operation["tags"]) == 1


def test_tags_are_in_the_order_of_use(document) -> None:
    tags = [tag["name"] for tag in document["tags"]]
    verbs, rest = ["explain", "infer", "evaluate", "train"], ["estimate", "jobs", "datasets", "artifacts"]
    assert tags == [*verbs, *rest, "catalogue", "health"]
    assert {operation["tags"][0] for operation in operations(document)} == set(tags)


@pytest.mark.parametrize("path", all_methods())
def test_methods_are_typed_and_their_examples_right(document, path: str) -> None:
    method = all_methods()[path]
    operation = document["paths"][f"/{path}"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    assert content["schema"]["$ref"].endswith(f"/{method.params_model.__name__}")
    for example in content["examples"].values():
        method.params_model.model_validate(example["value"])
    assert (method.citation or "") in operation["description"]
    for status in ("200", "202"):
        response = resolved(document, operation["responses"][status])
        assert response["content"]["application/json"]["schema"]["$ref"].endswith(f"/{method.result.__name__}Job")
    for status in ("400", "413", "415", "422", "429", "503"):
        assert "application/problem+json" in resolved(document, operation["responses"][status])["content"]


@pytest.mark.parametrize("path", all_methods())
def test_inheriting_schemas_say_what_flat_ones_would(document, path: str) -> None:
    method = all_methods()[path]
    for model, mode in ((method.params_model, "validation"), (method.result, "serialization")):
        own = model.model_json_schema(mode=mode)
        fields, required = flat(document, document["components"]["schemas"][model.__name__])
        assert set(fields) == set(own["properties"])
        assert required == set(own.get("required", ()))
    job, _ = flat(document, document["components"]["schemas"][f"{method.result.__name__}Job"])
    assert set(job) == set(Job.model_fields)
    assert job["result"]["anyOf"][0]["$ref"].endswith(f"/{method.result.__name__}")


@pytest.mark.parametrize("path", all_methods())
def test_schemas_accept_the_examples_and_no_unknown_field(document, path: str) -> None:
    method = all_methods()[path]
    check = validator(document, method.params_model.__name__)
    check.validate(method.example)
    for wrong in ({**method.example, "bugdet": 4}, {**method.example, "model": "no name!"}, {"model": "demo", "x": 1}):
        assert not check.is_valid(wrong)


def test_the_estimate_is_documented_once(document) -> None:
    assert [path for path in document["paths"] if path.startswith("/estimate")] == ["/estimate/{verb}/{method}"]
    operation = document["paths"]["/estimate/{verb}/{method}"]["post"]
    bodies = operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert [body["$ref"].rpartition("/")[2] for body in bodies] == [
        method.params_model.__name__ for method in all_methods().values()
    ]
    choices = {each["name"]: each["schema"]["enum"] for each in operation["parameters"] if "name" in each}
    assert {f"{verb}/{name}" for verb in choices["verb"] for name in choices["method"]} >= set(all_methods())


def test_nothing_shared_is_repeated(document) -> None:
    for kind in ("responses", "parameters", "headers"):
        found = [json.dumps(each, sort_keys=True) for each in document["components"][kind].values()]
        assert len(set(found)) == len(found)
    inline = [
        json.dumps(response, sort_keys=True)
        for operation in operations(document)
        for response in operation["responses"].values()
        if "$ref" not in response
    ]
    assert len(set(inline)) == len(inline)


def test_names_are_those_of_classes(document) -> None:
    schemas = document["components"]["schemas"]
    assert {"AttributionJob", "EstimateJob", "Job", "DatasetPage", "ArtifactPage", "Replacement"} <= set(schemas)
    assert all(name.isalnum() for name in schemas)
    jobs = {name: schema for name, schema in schemas.items() if name.endswith("Job") and name != "Job"}
    assert all(schema["allOf"][0] == {"$ref": "#/components/schemas/Job"} for schema in jobs.values())


def test_a_person_can_read_it(text: str) -> None:
    assert text.count("\n") < 16_000


def test_what_is_served_is_the_file(document) -> None:
    client = TestClient(create_app(ServiceSettings.model_construct()))  # not entered: the document needs no Redis
    assert client.get("/openapi.json").json() == document


def test_errors_are_problems_everywhere(document) -> None:
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for operation in operations(document):
        default = resolved(document, operation["responses"]["default"])
        assert "application/problem+json" in default["content"]


def test_every_reference_leads_somewhere(document) -> None:
    text = json.dumps(document)
    for kind in ("schemas", "responses", "parameters", "headers"):
        names = {part.split('"')[0] for part in text.split(f"#/components/{kind}/")[1:]}
        assert names == set(document["components"][kind])


def test_the_environment_changes_nothing(document) -> None:
    env = {
        **os.environ,
        "EXPLAIND_MODELS_FILE": "/nowhere.toml",
        "EXPLAIND_MAX_WAIT_S": "7",
        "PYTHONHASHSEED": "7",
    }
    env.pop("EXPLAIND_REDIS_URL", None)
    run = subprocess.run(
        [sys.executable, "-c", "from explaind_service.openapi import render_openapi; print(render_openapi())"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout) == document


def test_a_sample_of_a_job_is_one_that_can_be(document) -> None:
    """What pages and generators make of a job that has ended: no error beside a success, no place in a queue."""
    properties = document["components"]["schemas"]["Job"]["properties"]
    named = ("state", "error", "queue_position", "starts_in_s")
    assert {name: properties[name]["examples"] for name in named} == {
        "state": ["succeeded"],
        "error": [None],
        "queue_position": [None],
        "starts_in_s": [None],
    }
    parameters = document["components"]["parameters"]
    assert parameters["Prefer"]["schema"]["type"] == "string"
