"""FastAPI dependencies: resources opened with the application and passed to each request."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path
from starlette.requests import Request

from explaind.contract.errors import UnsupportedMedia
from explaind_jobs.catalogue import Catalogue
from explaind_jobs.observability.log_context import add_to_context
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_jobs.store.job_view import not_found
from explaind_service.events.hub import Hub
from explaind_service.events.response import Streams
from explaind_service.middleware.authentication import Authenticator
from explaind_service.results.responses import Results
from explaind_service.settings import ServiceSettings
from explaind_service.submission.file_access import AsyncFileStore
from explaind_service.submission.submit import JobSubmitter
from explaind_service.submission.wait_for_end import JobWaiter

JOB_ID = re.compile(r"job_[0-9a-v]{26}", re.ASCII)


@dataclass(frozen=True)
class Resources:
    """Resources of the application."""

    settings: ServiceSettings
    catalogue: Catalogue
    store: AsyncJobStore
    intake: JobSubmitter
    waiting: JobWaiter
    results: Results
    filing: AsyncFileStore
    access: Authenticator
    hub: Hub
    streams: Streams


async def _resources(request: Request) -> Resources:
    return request.app.state.resources


async def _store(resources: Annotated[Resources, Depends(_resources)]) -> AsyncJobStore:
    return resources.store


async def _results(resources: Annotated[Resources, Depends(_resources)]) -> Results:
    return resources.results


async def _catalogue(resources: Annotated[Resources, Depends(_resources)]) -> Catalogue:
    return resources.catalogue


async def _job_id(
    job_id: Annotated[
        str,
        Path(
            description="Id of the job, as returned when it was accepted.", examples=["job_0dnkkh2s9c07h4v3jqk5m8r1tb"]
        ),
    ],
) -> str:
    if not JOB_ID.fullmatch(job_id):
        raise not_found(job_id[:64])
    add_to_context(job=job_id)
    return job_id


async def require_json(request: Request) -> None:
    """Refuses a body that is not declared as JSON. Browsers send other types across sites without a preflight.

    Raises:
        UnsupportedMedia: the Content-Type is missing or not JSON.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != "application/json" and not (declared.startswith("application/") and declared.endswith("+json")):
        raise UnsupportedMedia(
            f"The body is declared as {declared!r}, not as JSON." if declared else "The body has no Content-Type.",
            hint="Send the header Content-Type: application/json (curl: --json '…').",
        )


FromApp = Annotated[Resources, Depends(_resources)]
Store = Annotated[AsyncJobStore, Depends(_store)]
StoredResults = Annotated[Results, Depends(_results)]
Models = Annotated[Catalogue, Depends(_catalogue)]
JobId = Annotated[str, Depends(_job_id)]
