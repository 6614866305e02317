"""What the service offers: its methods and its models."""

from collections.abc import Sequence
from functools import cache
from typing import Annotated

from fastapi import APIRouter, Path, Security
from starlette.responses import Response

from explaind.contract.catalogue import MethodCard, MethodList, ModelCard, ModelList, ModelState
from explaind.contract.errors import InvalidRequest, NotFound, UnknownMethod
from explaind.contract.near_miss import near_miss
from explaind.contract.registry import all_methods, find_method
from explaind_jobs.keys.records import Scope
from explaind_jobs.store.records import WorkerState
from explaind_service.auth.caller import permitted
from explaind_service.dependencies import Models, Store
from explaind_service.errors.openapi_responses import problem_responses
from explaind_service.results.json_response import json_answer

router = APIRouter(tags=["catalogue"], dependencies=[Security(permitted, scopes=[Scope.READ])])


@router.get("/methods", operation_id="list_methods", summary="List methods", response_model=MethodList)
async def list_methods() -> Response:
    """Every method with the JSON schemas of its request and its result, and a working example request."""
    return json_answer(_method_list())


@router.get(
    "/methods/{verb}/{name}",
    operation_id="get_method",
    summary="Get a method",
    response_model=MethodCard,
    responses=problem_responses(UnknownMethod, InvalidRequest, store=False),
)
async def get_method(
    verb: Annotated[str, Path(max_length=100, examples=["explain"])],
    name: Annotated[str, Path(max_length=100, examples=["shap"])],
) -> Response:
    """One method."""
    return json_answer(find_method(f"{verb}/{name}").card())


@router.get(
    "/models",
    operation_id="list_models",
    summary="List models",
    response_model=ModelList,
    responses=problem_responses(),
)
async def list_models(catalogue: Models, store: Store) -> Response:
    """Every model with its limits, and whether a live worker holds it."""
    workers = await store.workers()
    return json_answer(ModelList(data=[entry.card(_state(entry.name, workers)) for entry in catalogue]))


@router.get(
    "/models/{name}",
    operation_id="get_model",
    summary="Get a model",
    response_model=ModelCard,
    responses=problem_responses(NotFound, InvalidRequest),
)
async def get_model(
    catalogue: Models, store: Store, name: Annotated[str, Path(max_length=100, examples=["demo"])]
) -> Response:
    """One model."""
    entries = {entry.name: entry for entry in catalogue}
    if name not in entries:
        # UnknownModel is a fault of a body (422); here the path is what names nothing.
        raise NotFound(f"No model is called {name!r}.", hint=near_miss(name, entries))
    return json_answer(entries[name].card(_state(name, await store.workers())))


@cache
def _method_list() -> bytes:
    cards = [method.card() for method in all_methods().values()]
    return MethodList(data=cards).model_dump_json().encode()


def _state(model: str, workers: Sequence[WorkerState]) -> ModelState:
    if any(model in worker.models for worker in workers):
        return "ready"
    if any(model in worker.loading for worker in workers):
        return "loading"
    return "cold"
