"""Operations on jobs and the catalogue, without I/O: submit, get, cancel, delete, list; one flow each."""

import json
import re
import reprlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from explaind.contract.base import CardList
from explaind.contract.blocks.units import UnitKind
from explaind.contract.catalogue import MethodCard, MethodDetail, MethodList, ModelCard, ModelList, Readiness
from explaind.contract.errors import (
    ExplaindError,
    FieldError,
    InvalidRequest,
    JobCancelled,
    JobError,
    JobNotFinished,
    PositionalArguments,
    UnknownField,
    UnknownMethod,
    error_from,
    field_errors,
)
from explaind.contract.job import Job, JobPage, JobState, ResultPage
from explaind.contract.method import Method
from explaind.contract.near_miss import near_miss
from explaind.contract.registry import find_method, known_method
from explaind.contract.request import ModelRequest
from explaind.protocol.exchange import (
    Flow,
    OnProgress,
    Policy,
    Request,
    error_of,
    exchange,
    fetch,
    parsed,
    segment,
    successful,
    unexpected,
)
from explaind.protocol.results import typed_result
from explaind.protocol.signatures import call_fields

# Seconds that an interrupted call spends on cancelling its job.
CANCEL_TIMEOUT_S = 2.0

_METHOD_PATH = re.compile(r"(?:estimate/)?[a-z]+/[a-z0-9-]+")


@dataclass(frozen=True)
class CallOptions:
    """Options of a method call: seconds to wait for the job, progress callback, Idempotency-Key, and `fresh`, which
    computes the result although a cached one may exist."""

    timeout: float | None = None
    on_progress: OnProgress | None = None
    idempotency_key: str | None = None
    fresh: bool = False

    def updated(
        self,
        *,
        timeout: float | None,
        on_progress: OnProgress | None,
        idempotency_key: str | None,
        fresh: bool | None,
    ) -> "CallOptions":
        """These options with the given ones in place of theirs; None leaves an option as it is."""
        return CallOptions(
            timeout=self.timeout if timeout is None else timeout,
            on_progress=self.on_progress if on_progress is None else on_progress,
            idempotency_key=self.idempotency_key if idempotency_key is None else idempotency_key,
            fresh=self.fresh if fresh is None else fresh,
        )

    def for_estimate(self) -> "CallOptions":
        """The options of the call's estimate: the Idempotency-Key belongs to the call itself."""
        return replace(self, idempotency_key=None)


def call_body(method: Method[..., Any], args: Sequence[object], kwargs: Mapping[str, object]) -> bytes:
    """The JSON body of a method's call with these arguments.

    Raises:
        PositionalArguments: there are any: every field of a request is named.
        InvalidRequest: they do not fit the method's params; the fields at fault are named.
    """
    if args:
        raise _positional(method, args, kwargs)
    return request_body(method.params_model, kwargs)


def request_body(params_model: type[ModelRequest], fields: Mapping[str, object]) -> bytes:
    """The JSON body of the request with these fields; only those that were given are sent.

    Raises:
        InvalidRequest: they do not fit the method's params; the fields at fault are named. An UnknownField where one
            of them is not the method's.
    """
    try:
        params = params_model.model_validate(dict(fields))
    except ValidationError as error:
        raise _invalid_request(error, params_model) from None
    return params.model_dump_json(exclude_unset=True).encode()


def _positional(method: Method[..., Any], args: Sequence[object], kwargs: Mapping[str, object]) -> PositionalArguments:
    call = f"client.{method.path.replace('/', '.').replace('-', '_')}"
    first = args[0]
    if isinstance(first, Mapping | ModelRequest):
        hint = f"Give its fields by name, {call}(**request), or client.submit({method.path!r}, request)."
    else:
        unnamed = [name for name in call_fields(method.params_model) if name not in kwargs]
        given = ", ".join(f"{name}={reprlib.repr(value)}" for name, value in zip(unnamed, args, strict=False))
        hint = f"Name each, such as {call}({given}{', …' if kwargs else ''})."
    count = "one that has" if len(args) == 1 else f"{len(args)} that have"
    return PositionalArguments(f"{call} takes arguments by name alone, and was given {count} no name.", hint=hint)


def checked_body(path: str, params: Mapping[str, Any] | ModelRequest) -> tuple[str, bytes]:
    """The method's path without slashes around it, and the JSON body of a request to it.

    The params of an unknown method are not checked: the service may be newer.

    Raises:
        InvalidRequest: the params do not match the method's.
        UnknownMethod: `path` is not the path of a method.
    """
    path = path.strip("/")
    if not _METHOD_PATH.fullmatch(path):
        find_method(path)
        raise UnknownMethod(f"{path!r} is no method.")
    method = known_method(path)
    if isinstance(params, ModelRequest):
        return path, params.model_dump_json(exclude_unset=True).encode()
    if method is not None:
        return path, request_body(method.params_model, params)
    return path, json.dumps(dict(params), allow_nan=False).encode()


def submit_job(policy: Policy, path: str, body: bytes, options: CallOptions) -> Flow[Job[Any]]:
    """Submit a job; repetitions of the submission give the same job."""
    key = options.idempotency_key or uuid.uuid4().hex
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    if options.fresh:
        headers["Cache-Control"] = "no-cache"
    response = yield from fetch(policy, Request("POST", f"/{path}", body=body, headers=headers))
    return (yield from _job(policy, parsed(response, Job[Any])))


def estimate_path(path: str) -> str:
    """The path of a method's estimate."""
    return f"estimate/{path.strip('/')}"


def get_job(policy: Policy, job_id: str, *, deadline: float | None = None) -> Flow[Job[Any]]:
    """The job as it is now, with its result if it has succeeded.

    Raises:
        JobNotFound: the job does not exist, or no longer.
    """
    response = yield from fetch(policy, Request("GET", path_of(job_id)), deadline=deadline)
    return (yield from _job(policy, parsed(response, Job[Any]), deadline=deadline))


def get_result(policy: Policy, job_id: str) -> Flow[Any]:
    """The result of a job that has ended.

    Raises:
        JobError: it failed, was cancelled or has expired.
        JobNotFinished: it has not ended yet.
    """
    found = yield from get_job(policy, job_id)
    if not found.state.terminal:
        raise JobNotFinished(
            f"Job {job_id} is {found.state.value}.",
            hint="Wait for it with client.jobs.handle(job_id).result().",
            instance=found.links.self,
        )
    return result_of(found)


def get_result_page(
    policy: Policy, job_id: str, path: str, offset: int, limit: int, *, units: UnitKind | None = None
) -> Flow[ResultPage]:
    """Some items of one array of a job's result; `path` is a JSON pointer to it, `units` regroups it into larger units.

    Raises:
        InvalidRequest: `path` names no array of the result, or the result has no such units.
        JobNotFinished: the job has not ended.
        JobError: it failed, was cancelled, or its result was lost.
    """
    query = {"path": path, "offset": str(offset), "limit": str(limit), **({"units": units} if units else {})}
    response = yield from fetch(policy, Request("GET", f"{path_of(job_id)}/result", query=query))
    return parsed(response, ResultPage)


def result_of(ended: Job[Any]) -> Any:
    """The result of a job that has ended.

    Raises:
        JobError: the job has failed, was cancelled or has expired; of the class that the worker raised.
    """
    if ended.state is JobState.SUCCEEDED:
        return ended.result
    raise error_of_job(ended)


def error_of_job(ended: Job[Any]) -> ExplaindError:
    """The error that a job ended with."""
    where = ended.links.self
    if ended.error is not None:
        error = error_from(ended.error)
        error.instance = error.instance or where
        return error
    if ended.state is JobState.CANCELLED:
        return JobCancelled(f"Job {ended.id} was cancelled.", instance=where)
    return JobError(f"Job {ended.id} has no result: it is {ended.state.value}.", instance=where)


def cancel_job(policy: Policy, job_id: str, *, once: bool = False) -> Flow[Job[Any]]:
    """Request a job's cancellation, which is idempotent; `once` means without retries."""
    patience = replace(policy, max_retries=0) if once else policy
    response = yield from fetch(patience, Request("POST", f"{path_of(job_id)}/cancel"))
    return (yield from _job(patience, parsed(response, Job[Any])))


def delete_job(policy: Policy, job_id: str) -> Flow[None]:
    """Delete the record and the result of a job that has ended.

    Raises:
        JobActive: it has not ended; cancel it first.
        JobNotFound: the job does not exist, or no longer.
    """
    yield from delete_resource(policy, path_of(job_id))


def delete_resource(policy: Policy, path: str) -> Flow[None]:
    """Delete the resource at `path`. Raises the error of the service's problem, such as NotFound."""
    response, retries = yield from exchange(policy, Request("DELETE", path))
    # The response to the first attempt was lost: 404 now means that it was deleted.
    if not (retries and response.status_code == 404):
        successful(response)


def list_jobs(policy: Policy, filters: Mapping[str, str | None], *, after: str | None, limit: int) -> Flow[JobPage]:
    """One page of jobs, newest first, without their results."""
    given = {**filters, "after": after, "limit": str(limit)}
    query = {key: value for key, value in given.items() if value is not None}
    response = yield from fetch(policy, Request("GET", "/jobs", query=query))
    return parsed(response, JobPage)


def list_models(policy: Policy) -> Flow[list[ModelCard]]:
    """The models of the service, of all pages."""
    return (yield from _catalogue(policy, "/models", ModelList, lambda model: model.name))


def list_methods(policy: Policy) -> Flow[list[MethodCard]]:
    """The methods of the service, of all pages."""
    return (yield from _catalogue(policy, "/methods", MethodList, lambda method: method.path))


def _catalogue(policy: Policy, path: str, page_model: type[Any], place: Callable[[Any], str]) -> Flow[list[Any]]:
    found, query, more = CardList[Any](), {}, True
    while more:
        page = parsed((yield from fetch(policy, Request("GET", path, query=query))), page_model)
        found += page.data
        more = page.has_more and bool(page.data)
        query = {"after": place(found[-1])} if more else {}
    return found


def get_method(policy: Policy, path: str) -> Flow[MethodDetail]:
    """One method with its schemas. Raises UnknownMethod."""
    parts = "/".join(segment(part) for part in path.strip("/").split("/"))
    response = yield from fetch(policy, Request("GET", f"/methods/{parts}"))
    return parsed(response, MethodDetail)


def get_readiness(policy: Policy) -> Flow[Readiness]:
    """Readiness of the service, requested once without retries; "not ready" is a result, not an error."""
    response, _ = yield from exchange(replace(policy, max_retries=0), Request("GET", "/readyz"))
    try:
        return Readiness.model_validate_json(response.content)
    except ValidationError as error:
        raise (unexpected(response) if response.is_success else error_of(response)) from error


def _job(policy: Policy, found: Job[Any], *, deadline: float | None = None) -> Flow[Job[Any]]:
    """The job with its result as a model of the contract, fetched if it is only linked.

    The record of a cancelled job contains its partial result.
    """
    if found.state is not JobState.SUCCEEDED and found.result is None:
        return found
    request = Request("GET", f"{path_of(found.id)}/result")
    try:
        if found.result is None:
            response = yield from fetch(policy, request, deadline=deadline)
            try:
                found.result = response.json()
            except ValueError as error:
                raise unexpected(response) from error
        found.result = typed_result(found)
    except ValidationError as error:
        raise JobError(
            f"The result of job {found.id} is not what {found.method} promises to this client.",
            hint="Client and service are of different versions: pip install --upgrade explaind",
            instance=found.links.self,
        ) from error
    return found


def _invalid_request(error: ValidationError, params_model: type[ModelRequest]) -> InvalidRequest:
    fields: list[FieldError] = []
    kind = InvalidRequest
    for each in error.errors(include_url=False):
        field = field_errors([each])[0]
        if each["type"] == "extra_forbidden" and len(each["loc"]) == 1:
            name = str(each["loc"][0])
            hint = near_miss(name[:100], params_model.model_fields)
            kind = UnknownField
            field = FieldError(pointer=f"/{name}", detail=f"There is no such field. {hint}")
        if field not in fields:
            fields.append(field)
    only = fields[0]
    detail = f"{only.pointer}: {only.detail}" if only.pointer else only.detail
    return kind(detail if len(fields) == 1 else f"{len(fields)} fields are not valid.", errors=fields)


def path_of(job_id: str) -> str:
    """The URL path of a job."""
    return f"/jobs/{segment(job_id)}"
