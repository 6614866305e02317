"""The envelope: one job, one record, one state machine."""

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
        """Whether the job will never change again."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}


class Progress(ResponseModel):
    """How far a running job is."""

    phase: str = Field(description="What is being done.", examples=["evaluating"])
    done: int = Field(description="How much of it is done.", examples=[96])
    total: int | None = Field(default=None, description="How much there is to do, where it is known.", examples=[512])
    unit: str = Field(description="What is counted.", examples=["coalitions"])


class Timing(ResponseModel):
    """What the job cost."""

    queued_s: float | None = Field(default=None, description="Seconds between acceptance and start.", examples=[0.004])
    seconds: float | None = Field(default=None, description="Seconds of work.", examples=[0.41])
    model_load_s: float = Field(
        default=0.0, description="Seconds of them spent on loading the model; 0 when it was resident."
    )
    forwards: int = Field(default=0, description="Forward passes through the model.", examples=[9])
    tokens_evaluated: int = Field(default=0, description="Tokens that went through the blocks, padding included.")
    tokens_saved: int = Field(default=0, description="Tokens that one forward per question would have cost on top.")
    dense_because: str | None = Field(
        default=None,
        description="Why what questions share was not evaluated once, where that is the case: questions were then read "
        "in dense batches.",
    )
    backoffs: int = Field(default=0, description="Batches that were halved for want of memory.")
    peak_bytes: int | None = Field(default=None, description="Most accelerator memory in use at once; null on a CPU.")


class Provenance(ResponseModel):
    """What is needed to replay the job and to judge it."""

    model: str
    source: str = Field(description="Hub id or directory name the weights came from.")
    revision: str | None = Field(
        default=None, description="The pinned commit, or the fingerprint of a local directory."
    )
    architecture: str | None = Field(default=None, examples=["LlamaForCausalLM"])
    dtype: str | None = Field(default=None, examples=["float32"])
    quantization: str | None = None
    device: str | None = Field(default=None, examples=["cpu"])
    seed: int | None = None
    token_ids: list[int] = Field(default_factory=list, description="The prompt exactly as the model saw it.")
    method_version: str = Field(default="1", description="Raised when a method's numbers change.")
    versions: dict[str, str] = Field(default_factory=dict, examples=[{"explaind": "0.1.0", "torch": "2.13.0"}])


class WebhookStatus(ResponseModel):
    """How far the telling of a job's end is."""

    state: Literal["pending", "delivered", "failed"] = Field(
        description="`failed` once every try was in vain, or the receiver answered 410."
    )
    attempts: int = Field(default=0, description="How often it was tried.", examples=[1])
    last_status: int | None = Field(
        default=None, description="The HTTP status of the last try; null where none came back.", examples=[204]
    )
    last_at: datetime | None = Field(default=None, description="When it was last tried.")


class Links(ResponseModel):
    """Where the parts of a job are."""

    self: str = Field(examples=["/jobs/job_0f3c"])
    result: str = Field(examples=["/jobs/job_0f3c/result"])
    report: str = Field(examples=["/jobs/job_0f3c/report"])
    cancel: str = Field(examples=["/jobs/job_0f3c/cancel"])
    events: str = Field(default="", examples=["/jobs/job_0f3c/events"])


class Job(ResponseModel, Generic[ResultT]):
    """A job as `GET /jobs/{id}` answers it. `ResultT` is the result of the job's method."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """The name of the class and its schema: `AttributionJob` of an `Attribution`, `Job` of any result."""
        return "Job" if params[0] is Any else f"{params[0].__name__}Job"

    id: str = Field(examples=["job_0f3c"])
    method: str = Field(description="Verb and name.", examples=["explain/shap"])
    model: str = Field(examples=["demo"])
    state: JobState
    cached: bool = Field(default=False, description="Whether the answer was known already: nothing was computed.")
    priority: Priority = "normal"
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = Field(default=None, description="When the record and its result are deleted.")
    progress: Progress | None = None
    queue_position: int | None = Field(default=None, description="0 is next; null once the job has left the queue.")
    starts_in_s: float | None = Field(
        default=None,
        description="Seconds until it will start, by the pace of the last jobs; null where there is nothing to go by.",
        examples=[12.5],
    )
    attempt: int = Field(default=0, description="How often a worker has claimed it.")
    error: Problem | None = Field(default=None, description="Why it failed.")
    result: ResultT | None = Field(
        default=None, description="Null also where it is large: then it is at `links.result`."
    )
    provenance: Provenance | None = None
    timing: Timing | None = None
    metadata: dict[str, str] = Field(default_factory=dict, description="The caller's own.")
    webhook: WebhookStatus | None = Field(
        default=None, description="How far the telling of its end is; null where nobody asked for it, or not yet."
    )
    links: Links


class JobPage(ResponseModel):
    """A page of jobs, newest first, without their results."""

    data: list[Job[Any]]
    has_more: bool = Field(description="Whether older jobs follow: ask again with `after` = the last id.")
