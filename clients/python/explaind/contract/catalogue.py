"""What a service offers: its models and its methods."""

from typing import Any, Literal

from pydantic import Field

from explaind.contract.base import ResponseModel

ModelState = Literal["cold", "loading", "ready"]
ModelKind = Literal["causal", "classifier"]


class ModelLimits(ResponseModel):
    """Limits of a request to this model."""

    max_prompt_tokens: int = Field(default=2048, ge=1)
    max_target_tokens: int = Field(default=256, ge=1)


class ModelCard(ResponseModel):
    """A model of the catalogue."""

    name: str = Field(examples=["demo"])
    description: str = ""
    source: str = Field(description="Hub id or directory name.", examples=["built-in"])
    revision: str | None = Field(default=None, description="Pinned commit of a hub model.")
    dtype: str = Field(default="auto", examples=["float32"])
    quantization: str | None = Field(
        default=None,
        description="Quantization of the weights: applied while they are loaded, or of the model's files themselves.",
        examples=["nf4"],
    )
    device: str = Field(default="auto", examples=["cpu"])
    queue: str = Field(default="default", description="Class of workers that may run the model.")
    kind: ModelKind | None = Field(
        default=None,
        description=(
            "Kind of model. causal: continues texts; classifier: assigns texts to classes; null where only a "
            "worker can determine it."
        ),
        examples=["causal"],
    )
    labels: list[str] | None = Field(
        default=None, description="Names of a classifier's classes, in order of index.", examples=[None]
    )
    limits: ModelLimits
    context: int | None = Field(
        default=None,
        description=(
            "Tokens of the model's context, prompt and continuation together; null where only a worker can "
            "determine it. A prompt has at most this and `limits.max_prompt_tokens`."
        ),
        examples=[256],
    )
    attachments: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Names of attachments of the model, by kind: `lenses` are tuned lenses, for explain/tuned-lens.",
        examples=[{"lenses": ["tuned"]}],
    )
    state: ModelState = Field(default="cold", description="State of the model: ready when a live worker holds it.")


class MethodCard(ResponseModel):
    """A method of the catalogue."""

    path: str = Field(description="Path to POST a request to.", examples=["/explain/shap"])
    verb: str = Field(examples=["explain"])
    name: str = Field(examples=["shap"])
    title: str
    summary: str
    citation: str | None = None
    version: str
    params: dict[str, Any] = Field(description="JSON schema of the request.")
    result: dict[str, Any] = Field(description="JSON schema of the result.")
    example: dict[str, Any] = Field(description="Example request that works on the built-in model.")


class ModelList(ResponseModel):
    """The models of a service."""

    data: list[ModelCard]


class MethodList(ResponseModel):
    """The methods of a service."""

    data: list[MethodCard]


class Readiness(ResponseModel):
    """Whether jobs are accepted and executed."""

    ready: bool
    store: bool = Field(description="Whether the job store answers and takes writes.")
    workers: int = Field(description="Number of live workers.")
    queued: int | None = Field(default=None, description="Number of waiting jobs.")
    reason: str | None = Field(default=None, description="Why the service is not ready.")
    version: str
