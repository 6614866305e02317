"""Fields common to all requests: the model, and the options of the job."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from explaind.contract.base import RequestModel
from explaind.contract.job import Metadata, Priority
from explaind.contract.webhook import WebhookField

MAX_TIMEOUT_S = 7 * 86_400
MAX_KEEP_S = 366 * 86_400

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class ModelRequest(RequestModel):
    """Fields common to all requests."""

    # Options of the job that never affect its result, and so are not in the cache key. All other fields are.
    job_fields: ClassVar[frozenset[str]] = frozenset({"metadata", "priority", "timeout_s", "keep_s", "webhook"})

    model: ModelName = Field(description="Name of a model of `GET /models`.", examples=["demo"])
    metadata: Metadata = Field(
        default_factory=dict, description="Up to 16 key-value pairs of your own, returned with the job."
    )
    priority: Priority = Field(
        default="normal", description="Order among your own waiting jobs; jobs of other callers are not delayed by it."
    )
    timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=MAX_TIMEOUT_S,
        description="Maximum seconds of work, after which the job fails; the service's own limit applies as well.",
        examples=[600],
    )
    keep_s: int | None = Field(
        default=None,
        ge=60,
        le=MAX_KEEP_S,
        description="Seconds that the record and its result are kept after the job ends, up to the service's limit.",
        examples=[86_400],
    )

    webhook: WebhookField | None = Field(
        default=None,
        description=(
            "URL (or object that also selects the ends to report) notified, with a signature, when the job ends."
        ),
        examples=[None],
    )

    def cache_fields(self) -> bytes:
        """The request as JSON without `job_fields`: equal for requests of one method with the same result."""
        return self.model_dump_json(exclude=set(self.job_fields)).encode()
