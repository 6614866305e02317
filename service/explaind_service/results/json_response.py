"""Successful JSON responses: models are serialised once, stored results spliced in as bytes."""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from explaind.contract.job import Job

JSON = "application/json"


def json_answer(body: BaseModel | bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Response with a model of the contract, or with JSON bytes."""
    content = body if isinstance(body, bytes) else body.model_dump_json()
    return Response(content, status_code=status, headers=headers, media_type=JSON)


def job_answer(
    job: Job[Any], result: bytes | None = None, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Response with a job and its stored result, which is not parsed again."""
    if result is None:
        return json_answer(job, status=status, headers=headers)
    fields = job.model_dump(mode="json", exclude={"result"})
    content = orjson.dumps({**fields, "result": orjson.Fragment(result)})
    return json_answer(content, status=status, headers=headers)
