"""GET /methods and /models: the methods and models that the service offers."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Query, Security
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from explaind.contract.catalogue import MethodCard, MethodDetail, MethodList, ModelCard, ModelList, ModelState
from explaind.contract.errors import InvalidRequest, NotFound, UnknownMethod
from explaind.contract.near_miss import near_miss
from explaind.contract.registry import all_methods, find_method
from explaind_jobs.keys.records import Scope
from explaind_jobs.store.records import WorkerState
from explaind_service.auth.caller import permitted
from explaind_service.dependencies import Models, Store
from explaind_service.errors.openapi_responses import problem_responses
from explaind_service.results.json_response import json_answer

T = TypeVar("T")

router = APIRouter(tags=["catalogue"], dependencies=[Security(permitted, scopes=[Scope.READ])])


class CataloguePage(BaseModel):
    """Which part of a list to show. A parameter that does not exist is an error."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = Field(None, max_length=200, description="Last name (of a method: path) of the previous page.")
    limit: int = Field(100, ge=1, le=100, description="Maximum entries on the page.")


Listed = Annotated[CataloguePage, Query()]


@router.get(
    "/methods",
    operation_id="list_methods",
    summary="List methods",
    response_model=MethodList,
    responses=problem_responses(InvalidRequest, store=False),
)
async def list_methods(listing: Listed) -> Response:
    """Every method as a card: path, summary, names of its fields, links. The schemas are at `links.self`."""
    after = listing.after if listing.after is None else f"/{listing.after.strip('/')}"
    data, has_more = _page(_method_cards(), after, listing.limit)
    return json_answer(MethodList(data=data, has_more=has_more))


@router.get(
    "/methods/{verb}/{name}",
    operation_id="get_method",
    summary="Get a method",
    response_model=MethodDetail,
    responses=problem_responses(UnknownMethod, InvalidRequest, store=False),
)
async def get_method(
    verb: Annotated[str, Path(max_length=100, examples=["explain"])],
    name: Annotated[str, Path(max_length=100, examples=["shap"])],
) -> Response:
    """One method with the JSON schemas of its request and its result, and a working example request."""
    return json_answer(_method_detail(find_method(f"{verb}/{name}").path))


@router.get(
    "/models",
    operation_id="list_models",
    summary="List models",
    response_model=ModelList,
    responses=problem_responses(InvalidRequest),
)
async def list_models(catalogue: Models, store: Store, listing: Listed) -> Response:
    """Every model with its limits, and whether a live worker holds it."""
    entries, has_more = _page({entry.name: entry for entry in catalogue}, listing.after, listing.limit)
    workers = await store.workers()
    data = [entry.card(_state(entry.name, workers)) for entry in entries]
    return json_answer(ModelList(data=data, has_more=has_more))


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
        # UnknownModel is an error of a body (422); here the path is wrong.
        raise NotFound(f"No model is called {name!r}.", hint=near_miss(name, entries))
    return json_answer(entries[name].card(_state(name, await store.workers())))


def _page(entries: Mapping[str, T], after: str | None, limit: int) -> tuple[list[T], bool]:
    """The entries that follow the one called `after`, and whether there are more.

    Raises:
        InvalidRequest: there is none of that name.
    """
    if after is not None and after not in entries:
        raise InvalidRequest.at(
            "/query/after", f"Nothing in this list is called {after[:100]!r}.", hint=near_miss(after, entries)
        )
    names = list(entries)
    begin = 0 if after is None else names.index(after) + 1
    return [entries[name] for name in names[begin : begin + limit]], begin + limit < len(names)


@cache
def _method_cards() -> dict[str, MethodCard]:
    cards = [method.card() for method in all_methods().values()]
    return {card.path: card for card in cards}


@cache
def _method_detail(path: str) -> bytes:
    return find_method(path).detail().model_dump_json().encode()


def _state(model: str, workers: Sequence[WorkerState]) -> ModelState:
    if any(model in worker.models for worker in workers):
        return "ready"
    if any(model in worker.loading for worker in workers):
        return "loading"
    return "cold"
