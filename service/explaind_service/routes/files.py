"""Uploaded datasets and artifacts of jobs: upload, list, get, download, delete."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from explaind.contract.errors import (
    ArtifactNotFound,
    BodyTooLarge,
    DatasetNotFound,
    FileLost,
    InvalidDataset,
    InvalidRequest,
    RateLimited,
    RequestError,
    TooManyFiles,
    UnsupportedMedia,
)
from explaind.contract.files import (
    MAX_NAME_CHARS,
    ArtifactCard,
    ArtifactPage,
    DatasetCard,
    DatasetPage,
    DatasetPreview,
)
from explaind.contract.names import ONE_LINE
from explaind_service.auth.caller import Reader, Writer
from explaind_service.body_limits import UPLOADS, BodyLimits
from explaind_service.dependencies import FromApp
from explaind_service.errors.openapi_responses import RATE, problem_responses
from explaind_service.errors.rate_limit_headers import spent_headers
from explaind_service.results.json_response import json_answer
from explaind_service.results.negotiation import Encoding, entity_tag, is_known
from explaind_service.settings import ServiceSettings
from explaind_service.submission.submission_route import SubmissionRoute
from explaind_service.submission.upload_body import FIELD, FORMS, MOST_FRAME_BYTES, MULTIPART, UploadBody

BINARY = {"type": "string", "format": "binary"}
FORM_BODY = {
    "title": "DatasetForm",
    "type": "object",
    "properties": {FIELD: {**BINARY, "description": "The file; its name says how it is written."}},
    "required": [FIELD],
    "additionalProperties": False,
}
UPLOAD_BODY = {
    "required": True,
    "content": {MULTIPART: {"schema": FORM_BODY}, **{media: {"schema": BINARY} for media in FORMS}},
}
LOCATION = {"Location": {"description": "Path of the dataset.", "schema": {"type": "string"}}}

router = APIRouter()

DatasetIdInPath = Annotated[str, Path(description="Id of the dataset.", examples=["ds_0dnkkh2s9c07h4v3jqk5m8r1tb"])]
ArtifactIdInPath = Annotated[str, Path(description="Id of the artifact.", examples=["art_0dnkkh2s9c07h4v3jqk5m8r1tb"])]


class FileListing(BaseModel):
    """Which files to list. A parameter that does not exist is an error."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = Field(None, max_length=64, description="Last id of the previous page.")
    limit: int = Field(20, ge=1, le=100, description="Maximum files on the page.")


Listed = Annotated[FileListing, Query()]


def uploads_router(settings: ServiceSettings) -> APIRouter:
    """The upload route, with the dataset size limit of these settings."""
    uploads = APIRouter(route_class=SubmissionRoute)
    limits = BodyLimits.of_settings(settings)

    @uploads.post(
        UPLOADS,
        tags=["datasets"],
        operation_id="upload_dataset",
        summary="Upload a dataset",
        status_code=201,
        response_model=DatasetCard,
        max_body_size=limits.datasets + MOST_FRAME_BYTES,
        openapi_extra={"requestBody": UPLOAD_BODY},
        response_description="The dataset was created.",
        responses={
            **problem_responses(
                RequestError, InvalidRequest, InvalidDataset, UnsupportedMedia, BodyTooLarge, TooManyFiles, RateLimited
            ),
            200: {"model": DatasetCard, "description": "The dataset existed already.", "headers": {**LOCATION, **RATE}},
            201: {"headers": {**LOCATION, **RATE}},
        },
    )
    async def upload_dataset(
        request: Request,
        resources: FromApp,
        caller: Writer,
        name: Annotated[
            str | None,
            Query(min_length=1, max_length=MAX_NAME_CHARS, pattern=ONE_LINE, description="Name of the dataset."),
        ] = None,
    ) -> Response:
        """The request body is the file itself, or a form with the file as its field `file`.

        Files are JSON lines, a JSON array of objects, CSV or TSV with a header or, where pyarrow is installed, Parquet.
        Rows are flat: text, numbers, booleans, null. The same file uploaded with the same key gives the same dataset.
        A dataset is kept until it is deleted.
        """
        card, new = await resources.filing.upload(UploadBody(request), name, caller.key)
        return json_answer(
            card,
            status=201 if new else 200,
            headers={"Location": f"{UPLOADS}/{card.id}", **spent_headers(request.scope)},
        )

    return uploads


@router.get(
    "/datasets",
    tags=["datasets"],
    operation_id="list_datasets",
    summary="List datasets",
    response_model=DatasetPage,
    responses=problem_responses(InvalidRequest),
)
async def list_datasets(resources: FromApp, caller: Reader, listing: Listed) -> Response:
    """Datasets, newest first. For the next page, set `after` to the last id while `has_more` is true."""
    return json_answer(
        await resources.filing.ask(
            lambda files: files.datasets(listing.after, listing.limit), caller.key, sees=caller.sees
        )
    )


@router.get(
    "/datasets/{dataset_id}",
    tags=["datasets"],
    operation_id="get_dataset",
    summary="Get a dataset",
    response_model=DatasetPreview,
    responses=problem_responses(DatasetNotFound),
)
async def get_dataset(resources: FromApp, caller: Reader, dataset_id: DatasetIdInPath) -> Response:
    """The dataset's size, columns and first rows."""
    seen = await resources.filing.ask(lambda files: files.dataset(dataset_id[:64]), caller.key, sees=caller.sees)
    return json_answer(seen)


@router.delete(
    "/datasets/{dataset_id}",
    tags=["datasets"],
    operation_id="delete_dataset",
    summary="Delete a dataset",
    status_code=204,
    responses=problem_responses(DatasetNotFound),
)
async def delete_dataset(resources: FromApp, caller: Writer, dataset_id: DatasetIdInPath) -> Response:
    """Jobs that have read the dataset keep their results; jobs that have not read it yet will fail."""
    await resources.filing.ask(lambda files: files.delete_dataset(dataset_id[:64]), caller.key, sees=caller.sees)
    return Response(status_code=204)


@router.get(
    "/artifacts",
    tags=["artifacts"],
    operation_id="list_artifacts",
    summary="List artifacts",
    response_model=ArtifactPage,
    responses=problem_responses(InvalidRequest),
)
async def list_artifacts(resources: FromApp, caller: Reader, listing: Listed) -> Response:
    """Artifacts made by jobs, newest first. For the next page, set `after` to the last id while `has_more` is true."""
    return json_answer(
        await resources.filing.ask(
            lambda files: files.artifacts(listing.after, listing.limit), caller.key, sees=caller.sees
        )
    )


@router.get(
    "/artifacts/{artifact_id}",
    tags=["artifacts"],
    operation_id="get_artifact",
    summary="Get an artifact",
    response_model=ArtifactCard,
    responses=problem_responses(ArtifactNotFound),
)
async def get_artifact(resources: FromApp, caller: Reader, artifact_id: ArtifactIdInPath) -> Response:
    """The kind of the artifact, the model that it belongs to, and the job that made it."""
    card, _ = await resources.filing.ask(lambda files: files.content(artifact_id[:64]), caller.key, sees=caller.sees)
    return json_answer(card)


@router.head("/artifacts/{artifact_id}/content", include_in_schema=False)
@router.get(
    "/artifacts/{artifact_id}/content",
    tags=["artifacts"],
    operation_id="get_artifact_content",
    summary="Get an artifact's bytes",
    response_class=Response,
    responses={
        **problem_responses(ArtifactNotFound, FileLost),
        200: {"description": "The file.", "content": {"application/octet-stream": {"schema": BINARY}}},
        304: {"description": "Not modified: `If-None-Match` contains the file's `ETag`."},
    },
)
async def get_artifact_content(
    request: Request, resources: FromApp, caller: Reader, artifact_id: ArtifactIdInPath
) -> Response:
    """The file as written by the job. `ETag` is the SHA-256 of its bytes."""
    filing = resources.filing
    card, digest = await filing.ask(lambda files: files.content(artifact_id[:64]), caller.key, sees=caller.sees)
    headers = {
        "ETag": entity_tag(digest, Encoding.IDENTITY),
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(card.name, safe='')}",
    }
    if is_known(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        headers["Content-Length"] = str(card.bytes)
        return Response(headers=headers, media_type="application/octet-stream")
    async with filing.heavy:
        data = await filing.ask(lambda files: files.content_bytes(artifact_id[:64]), caller.key, sees=caller.sees)
        return Response(data, headers=headers, media_type="application/octet-stream")


@router.delete(
    "/artifacts/{artifact_id}",
    tags=["artifacts"],
    operation_id="delete_artifact",
    summary="Delete an artifact",
    status_code=204,
    responses=problem_responses(ArtifactNotFound),
)
async def delete_artifact(resources: FromApp, caller: Writer, artifact_id: ArtifactIdInPath) -> Response:
    """Deletes the artifact; the job that made it stays unchanged."""
    await resources.filing.ask(lambda files: files.delete_artifact(artifact_id[:64]), caller.key, sees=caller.sees)
    return Response(status_code=204)
