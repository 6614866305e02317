"""The OpenAPI document: complete, in order, true."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from explaind.contract.registry import all_methods
from explaind_service.openapi import main, render_openapi

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(render_openapi())


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_the_committed_document_is_fresh() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == render_openapi(), (
        "run python -m explaind_service.openapi --write docs/openapi.json"
    )


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
    verbs, rest = ["explain", "infer", "evaluate", "train", "estimate"], ["jobs", "datasets", "artifacts"]
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
        schema = operation["responses"][status]["content"]["application/json"]["schema"]
        assert schema["$ref"].endswith(f"/Job_{method.result.__name__}_")
    for status in ("400", "413", "415", "422", "429", "503"):
        assert "application/problem+json" in operation["responses"][status]["content"]


def test_errors_are_problems_everywhere(document) -> None:
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for operation in operations(document):
        assert "application/problem+json" in operation["responses"]["default"]["content"]


def test_every_reference_leads_somewhere(document) -> None:
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])


def test_the_environment_changes_nothing(document) -> None:
    env = {
        **os.environ,
        "EXPLAIND_MODELS_FILE": "/nowhere.toml",
        "EXPLAIND_MAX_WAIT_S": "7",
        "PYTHONHASHSEED": "7",
    }
    env.pop("EXPLAIND_REDIS_URL", None)
    run = subprocess.run(
        [sys.executable, "-m", "explaind_service.openapi"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout) == document


def test_write_and_check(tmp_path: Path) -> None:
    target = tmp_path / "openapi.json"
    assert CliRunner().invoke(main, ["--write", str(target)]).exit_code == 0
    assert target.read_text(encoding="utf-8") == COMMITTED.read_text(encoding="utf-8")
    target.write_text(target.read_text() + " ")
    stale = CliRunner().invoke(main, ["--check", str(target)])
    assert stale.exit_code == 1
    assert "is stale" in stale.output
