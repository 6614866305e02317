"""A client that openapi-python-client makes of docs/reference/openapi.json runs a job, typed throughout."""

import asyncio
import importlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import openapi_python_client as generator
import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
PACKAGE = "explaind_generated"


@pytest.fixture(scope="module")
def errors_and_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    from openapi_python_client.config import Config, ConfigFile, MetaType

    folder = tmp_path_factory.mktemp("generated")
    config = Config.from_sources(
        ConfigFile(post_hooks=[]), MetaType.NONE, DOCUMENT, "utf-8", overwrite=False, output_path=folder / PACKAGE
    )
    return [error.header for error in generator.generate(config=config)], folder


@pytest.fixture
def generated(errors_and_folder: tuple[list[str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(errors_and_folder[1])
    yield importlib.import_module(PACKAGE)
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_every_operation_is_generated(errors_and_folder: tuple[list[str], Path]) -> None:
    """Of uploads the generator warns of media types that it does not know; it writes the form."""
    errors, folder = errors_and_folder
    warned = {header.removeprefix("WARNING parsing ").partition(" within")[0] for header in errors}
    assert warned <= {"POST /datasets"}
    written = [file.stem for file in (folder / PACKAGE / "api").rglob("*.py") if file.stem != "__init__"]
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    operations = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert sorted(written) == sorted(operations)


async def test_a_dataset_is_uploaded_as_a_form(generated: ModuleType, app, serving) -> None:
    upload = importlib.import_module(f"{PACKAGE}.api.datasets.upload_dataset")
    models, types = (importlib.import_module(f"{PACKAGE}.{name}") for name in ("models", "types"))
    file = types.File(payload=io.BytesIO(b'[{"a": 1}]'), file_name="rows.json", mime_type="application/json")
    async with serving(app) as url, generated.Client(base_url=url) as client:
        card = await upload.asyncio(client=client, body=models.UploadDatasetFilesDatasetForm(file=file))
        assert isinstance(card, models.DatasetCard)
        assert (card.name, card.rows, card.columns) == ("rows.json", 1, ["a"])


def test_every_module_compiles(errors_and_folder: tuple[list[str], Path]) -> None:
    modules = sorted((errors_and_folder[1] / PACKAGE).rglob("*.py"))
    assert len(modules) > 100
    for module in modules:
        compile(module.read_text(encoding="utf-8"), str(module), "exec")


async def test_a_job_is_typed_from_request_to_result(generated: ModuleType, app, serving, worker) -> None:
    models = importlib.import_module(f"{PACKAGE}.models")
    explain_shap = importlib.import_module(f"{PACKAGE}.api.explain.explain_shap")
    body = models.ShapParams(
        model="demo",
        prompt="The food was great.",
        target=" positive",
        algorithm=models.ShapParamsAlgorithm.EXACT,
        seed=3,
    )
    async with serving(app) as url, generated.Client(base_url=url) as client:
        request = asyncio.create_task(explain_shap.asyncio(client=client, body=body, prefer="wait=30"))
        await asyncio.to_thread(worker.wait_for_permit)
        claim = await asyncio.to_thread(worker.succeed)
        job = await request
        refused = await explain_shap.asyncio(client=client, body=models.ShapParams(model="demo"))
    assert (claim.method, b'"seed":3' in claim.request) == ("explain/shap", True)
    assert isinstance(job, models.AttributionJob)
    assert (job.id, job.state) == (claim.id, models.JobState.SUCCEEDED)
    assert isinstance(job.result, models.Attribution)
    assert (job.result.values, job.result.units[0].text) == ([1.25], "great")
    assert isinstance(refused, models.Problem)
    assert refused.errors[0].pointer == "/prompt"
