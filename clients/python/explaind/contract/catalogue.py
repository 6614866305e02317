"""Catalogue of a service: its models and its methods."""

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


class MethodLinks(ResponseModel):
    """Links of a method."""

    self: str = Field(description="The method with the schemas of its request and result.")
    submit: str = Field(description="Path to POST a request to.", examples=["/explain/shap"])
    estimate: str = Field(description="Path to POST the same request to, for its cost.")


class MethodCard(ResponseModel):
    """A method in the list of methods; `links.self` has its schemas."""

    path: str = Field(description="Path to POST a request to.", examples=["/explain/shap"])
    verb: str = Field(examples=["explain"])
    name: str = Field(examples=["shap"])
    title: str
    summary: str
    param_names: list[str] = Field(description="Names of the request's fields.")
    links: MethodLinks


class MethodDetail(MethodCard):
    """A method with the schemas of its request and result."""

    citation: str | None = None
    version: str
    params: dict[str, Any] = Field(description="JSON schema of the request.")
    result: dict[str, Any] = Field(description="JSON schema of the result.")
    example: dict[str, Any] = Field(description="Example request that works on the built-in model.")


MORE = "Whether more follow; to get them, repeat the request with `after` = the last name of this page."


class ModelList(ResponseModel):
    """A page of the models of a service."""

    data: list[ModelCard]
    has_more: bool = Field(default=False, description=MORE)


class MethodList(ResponseModel):
    """A page of the methods of a service."""

    data: list[MethodCard]
    has_more: bool = Field(default=False, description=MORE.replace("name", "path"))


class Readiness(ResponseModel):
    """Whether jobs are accepted and executed."""

    ready: bool
    store: bool = Field(description="Whether the job store answers and takes writes.")
    workers: int = Field(description="Number of live workers.")
    queued: int | None = Field(default=None, description="Number of waiting jobs.")
    reason: str | None = Field(default=None, description="Why the service is not ready.")
    version: str
