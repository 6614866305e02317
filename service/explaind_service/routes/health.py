"""Liveness, readiness, and the index of the service."""

from typing import Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from explaind import __version__
from explaind.contract.base import ResponseModel
from explaind.contract.catalogue import Readiness
from explaind.contract.errors import StoreUnavailable
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_service.dependencies import Store
from explaind_service.results.json_response import json_answer

router = APIRouter(tags=["health"])


class Health(ResponseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"
    version: str = Field(examples=["0.1.0"])


class IndexLinks(ResponseModel):
    """Paths of the service's main resources."""

    docs: str = "/docs"
    openapi: str = "/openapi.json"
    methods: str = "/methods"
    models: str = "/models"
    jobs: str = "/jobs"


class Index(ResponseModel):
    """Name and version of the service, and paths of its main resources."""

    name: Literal["explaind"] = "explaind"
    version: str = Field(examples=["0.1.0"])
    links: IndexLinks = IndexLinks()


@router.get("/", operation_id="get_index", summary="Index", response_model=Index)
async def get_index() -> Response:
    """Name and version of the service, and links to its main resources."""
    return json_answer(Index(version=__version__))


@router.get("/healthz", operation_id="get_health", summary="Health", response_model=Health)
async def get_health() -> Response:
    """Responds while the process is alive, whatever else is down."""
    return json_answer(Health(version=__version__))


@router.get(
    "/readyz",
    operation_id="get_readiness",
    summary="Readiness",
    response_model=Readiness,
    responses={
        503: {"model": Readiness, "description": "The store is down or takes no writes, or there is no live worker."}
    },
)
async def get_readiness(store: Store) -> Response:
    """Whether jobs are accepted and executed: the store answers and takes writes, and a worker is alive."""
    readiness = await _readiness(store)
    return json_answer(readiness, status=200 if readiness.ready else 503)


async def _readiness(store: AsyncJobStore) -> Readiness:
    try:
        await store.check_writable()
        workers, queued = len(await store.workers()), await store.queued()
    except StoreUnavailable as error:
        return Readiness(ready=False, store=False, workers=0, queued=None, reason=error.detail, version=__version__)
    reason = None if workers else "There is no live worker."
    return Readiness(ready=workers > 0, store=True, workers=workers, queued=queued, reason=reason, version=__version__)
