"""POST /estimate/{verb}/{method}: the cost of a job before it runs; the body is that of the method itself."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from explaind.contract.errors import UnknownMethod
from explaind.contract.estimate import ESTIMATE, Estimate
from explaind.contract.job import Job
from explaind.contract.method import Method
from explaind.contract.registry import all_methods, find_method
from explaind.contract.request import ModelRequest
from explaind_service.dependencies import FromApp, require_json
from explaind_service.errors.openapi_responses import problem_responses
from explaind_service.routes.methods import Prefer, examples_of, preference_of, submission_responses, submitted
from explaind_service.submission.request_headers import AskerOfRequest
from explaind_service.submission.submission_route import SubmissionRoute

WAIT_S = 10  # an estimate is short: by default the response waits for it

METHODS = all_methods().values()
# Documented as enums, but free text at run time: an unknown method is a 404 with the nearest names, not a 422.
VERBS = {"enum": list(dict.fromkeys(method.verb for method in METHODS))}
NAMES = {"enum": sorted({method.name for method in METHODS})}

router = APIRouter(route_class=SubmissionRoute)


async def _estimate_of(
    verb: Annotated[str, Path(max_length=100, examples=["explain"], json_schema_extra=VERBS)],
    method: Annotated[str, Path(max_length=100, examples=["shap"], json_schema_extra=NAMES)],
) -> Method[..., Any]:
    return find_method(f"{ESTIMATE}/{verb}/{method}")


# The schema of the body is anyOf all methods' params, which the methods' own routes put into the document.
BODIES = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "title": "Request",
                "description": "The body of `POST /{verb}/{method}`.",
                "anyOf": [{"$ref": f"#/components/schemas/{method.params_model.__name__}"} for method in METHODS],
            }
        }
    },
}


@router.post(
    f"/{ESTIMATE}/{{verb}}/{{method}}",
    status_code=202,
    tags=[ESTIMATE],
    operation_id="estimate",
    summary="Estimate the cost of a job",
    response_model=Job[Estimate],
    response_description="The estimate was accepted and is not available yet.",
    responses=submission_responses(
        Job[Estimate], ended=f"The estimate. The response waits for it for {WAIT_S} s, or as set by `Prefer: wait`."
    )
    | problem_responses(UnknownMethod, store=False),
    openapi_extra={"requestBody": BODIES},
    dependencies=[Depends(require_json)],
)
async def estimate(
    request: Request,
    method: Annotated[Method[..., Any], Depends(_estimate_of)],
    body: Annotated[Any, Body(openapi_examples=examples_of(all_methods()["explain/shap"]))],
    resources: FromApp,
    asker: AskerOfRequest,
    _prefer: Prefer = "",
) -> Response:
    """Estimated cost of `POST /{verb}/{method}` with the same body: forwards, tokens, bytes and seconds.

    The request is refused where the method itself would refuse it. Cost: no forward; where nothing has run on the model
    yet, a few to time it.
    """
    params = _validated(method.params_model, body)
    preference = preference_of(request, resources)
    wait_s = preference.wait_s
    if wait_s is None and not preference.respond_async:
        wait_s = min(WAIT_S, resources.settings.max_wait_s)
    return await submitted(request, method, params, resources, asker, preference=preference, wait_s=wait_s)


def _validated(params_model: type[ModelRequest], body: Any) -> ModelRequest:
    """The body as the method's params; raises the same validation error as the method's own route."""
    try:
        return params_model.model_validate(body, from_attributes=True)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(found, body=body) from error
