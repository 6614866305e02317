"""The job record: one schema and one state machine for all methods."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, StringConstraints

from explaind.contract.base import ResponseModel
from explaind.contract.errors import Problem

ResultT = TypeVar("ResultT")

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)]

Priority = Literal["low", "normal", "high"]


class JobState(StrEnum):
    """queued → running → succeeded | failed | cancelled, with `cancelling` between running and cancelled.

    A job that no worker takes for a long time ends as expired.
    """

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        """Whether the state is final."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}


class Progress(ResponseModel):
    """Progress of a running job."""

    phase: str = Field(description="Current phase of the work.", examples=["evaluating"])
    done: int = Field(description="Amount done, in `unit`.", examples=[96])
    total: int | None = Field(default=None, description="Amount to do, in `unit`, where it is known.", examples=[512])
    unit: str = Field(description="Unit of `done` and `total`.", examples=["coalitions"])


class Timing(ResponseModel):
    """Cost of the job."""

    queued_s: float | None = Field(default=None, description="Seconds between acceptance and start.", examples=[0.004])
    seconds: float | None = Field(default=None, description="Seconds of work.", examples=[0.41])
    model_load_s: float = Field(
        default=0.0, description="Seconds of these spent on loading the model; 0 when it was resident."
    )
    forwards: int = Field(default=0, description="Number of forward passes through the model.", examples=[9])
    tokens_evaluated: int = Field(default=0, description="Number of tokens through the blocks, padding included.")
    tokens_saved: int = Field(
        default=0,
        description="Number of additional tokens that a separate forward for each evaluated text would have taken.",
    )
    dense_because: str | None = Field(
        default=None,
        description=(
            "Reason why shared prefixes were not evaluated only once, where that is the case: texts were then "
            "evaluated in dense batches."
        ),
    )
    backoffs: int = Field(default=0, description="Number of batches halved for lack of memory.")
    peak_bytes: int | None = Field(
        default=None, description="Maximum accelerator memory in use at once, in bytes; null on a CPU."
    )


class Provenance(ResponseModel):
    """Information needed to replay the job and to assess it."""

    model: str
    source: str = Field(description="Hub id or directory name of the weights.")
    revision: str | None = Field(default=None, description="Pinned commit, or fingerprint of a local directory.")
    architecture: str | None = Field(default=None, examples=["LlamaForCausalLM"])
    dtype: str | None = Field(default=None, examples=["float32"])
    products: str | None = Field(
        default=None,
        description="Type of the matrix products where `precision: fast` took them in another than `dtype`.",
        examples=["bfloat16"],
    )
    quantization: str | None = Field(
        default=None,
        description=(
            "Quantization in force: `int8`, `nf4` or `fp4` of bitsandbytes, or the method that the model's files are "
            "stored with, followed by `, dequantized` where its weights were unpacked while being loaded."
        ),
        examples=["nf4"],
    )
    device: str | None = Field(default=None, examples=["cpu"])
    seed: int | None = None
    token_ids: list[int] = Field(
        default_factory=list, description="Token ids of the prompt exactly as the model received it."
    )
    method_version: str = Field(default="1", description="Version of the method, raised when its numbers change.")
    versions: dict[str, str] = Field(default_factory=dict, examples=[{"explaind": "0.1.0", "torch": "2.13.0"}])


class WebhookStatus(ResponseModel):
    """Delivery status of the webhook that reports a job's end."""

    state: Literal["pending", "delivered", "failed"] = Field(
        description="State of the delivery: `failed` once every attempt has failed, or the receiver answered 410."
    )
    attempts: int = Field(default=0, description="Number of delivery attempts.", examples=[1])
    last_status: int | None = Field(
        default=None, description="HTTP status of the last attempt; null where there was no response.", examples=[204]
    )
    last_at: datetime | None = Field(default=None, description="Time of the last attempt.")


class Links(ResponseModel):
    """Links to the parts of a job."""

    self: str = Field(examples=["/jobs/job_0f3c"])
    result: str = Field(examples=["/jobs/job_0f3c/result"])
    report: str = Field(examples=["/jobs/job_0f3c/report"])
    cancel: str = Field(examples=["/jobs/job_0f3c/cancel"])
    events: str = Field(default="", examples=["/jobs/job_0f3c/events"])


class Job(ResponseModel, Generic[ResultT]):
    """A job as returned by `GET /jobs/{id}`. `ResultT` is the result of the job's method."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """The name of the class and its schema: `AttributionJob` of an `Attribution`, `Job` of any result."""
        return "Job" if params[0] is Any else f"{params[0].__name__}Job"

    id: str = Field(examples=["job_0f3c"])
    method: str = Field(description="Verb and name of the method.", examples=["explain/shap"])
    model: str = Field(examples=["demo"])
    state: JobState = Field(examples=["succeeded"])
    cached: bool = Field(
        default=False, description="Whether the result was known already, so that nothing was computed."
    )
    priority: Priority = "normal"
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = Field(
        default=None, description="Time at which the record and its result are deleted."
    )
    progress: Progress | None = None
    queue_position: int | None = Field(
        default=None,
        description="Position in the queue; 0 is next, null once the job has left the queue.",
        examples=[None],
    )
    starts_in_s: float | None = Field(
        default=None,
        description=(
            "Estimated seconds until the job starts, by the pace of the last jobs; null where there is no "
            "basis for an estimate."
        ),
        examples=[None],
    )
    attempt: int = Field(default=0, description="Number of times a worker has claimed the job.")
    error: Problem | None = Field(default=None, description="Reason for the failure.", examples=[None])
    result: ResultT | None = Field(
        default=None, description="Result of the method; null also where it is large: then it is at `links.result`."
    )
    provenance: Provenance | None = None
    timing: Timing | None = None
    metadata: dict[str, str] = Field(default_factory=dict, description="Key-value pairs given by the caller.")
    webhook: WebhookStatus | None = Field(
        default=None,
        description="Delivery status of the webhook; null where no webhook was requested, or no status exists yet.",
    )
    links: Links


class JobCard(ResponseModel):
    """A job in a list; `links.self` has the rest of it."""

    id: str = Field(examples=["job_0f3c"])
    method: str = Field(description="Verb and name of the method.", examples=["explain/shap"])
    model: str = Field(examples=["demo"])
    state: JobState
    cached: bool = Field(
        default=False, description="Whether the result was known already, so that nothing was computed."
    )
    created_at: datetime
    finished_at: datetime | None = None
    progress: Progress | None = None
    error_code: str | None = Field(
        default=None, description="Code of the error of a job that failed.", examples=["out_of_memory"]
    )
    metadata: dict[str, str] = Field(default_factory=dict, description="Key-value pairs given by the caller.")
    links: Links


class JobPage(ResponseModel):
    """A page of jobs, newest first, as cards."""

    data: list[JobCard]
    has_more: bool = Field(
        description=(
            "Whether older jobs may follow; to get them, repeat the request with `after` = `next`. A page of a list "
            "with filters may hold fewer jobs than its limit, or none, and still have more: the service looks at a "
            "bounded number of jobs for a page."
        )
    )
    next: str | None = Field(
        default=None,
        exclude_if=lambda after: after is None,
        description="Value of `after` for the next page; absent where none follows.",
        examples=["job_0dnkkh2s9c07h4v3jqk5m8r1tb"],
    )


class ResultPage(ResponseModel):
    """A page of one array of a result."""

    path: str = Field(description="JSON pointer to the array in the result.", examples=["/values_by_target"])
    offset: int = Field(description="Index of the first item here.", examples=[0])
    limit: int = Field(description="Maximum items requested.", examples=[100])
    total: int = Field(description="Number of items in the array.", examples=[2000])
    has_more: bool = Field(
        description="Whether more items follow; to get them, repeat the request with `offset` + `limit`."
    )
    data: list[Any] = Field(description="The items.")
