"""What a service offers: its models and its methods."""

from typing import Any, Literal

from pydantic import Field

from explaind.contract.base import ResponseModel

ModelState = Literal["cold", "loading", "ready"]
ModelKind = Literal["causal", "classifier"]


class ModelLimits(ResponseModel):
    """What a request to this model may ask for."""

    max_prompt_tokens: int = Field(default=2048, ge=1)
    max_target_tokens: int = Field(default=256, ge=1)


class ModelCard(ResponseModel):
    """A model of the catalogue."""

    name: str = Field(examples=["demo"])
    description: str = ""
    source: str = Field(description="Hub id or directory name.", examples=["built-in"])
    revision: str | None = Field(default=None, description="The pinned commit of a hub model.")
    dtype: str = Field(default="auto", examples=["float32"])
    quantization: str | None = Field(default=None, examples=["nf4"])
    device: str = Field(default="auto", examples=["cpu"])
    queue: str = Field(default="default", description="The class of workers that may run it.")
    kind: ModelKind | None = Field(
        default=None,
        description="causal continues texts, classifier puts them into classes; null where only a worker can tell.",
        examples=["causal"],
    )
    labels: list[str] | None = Field(
        default=None, description="Names of a classifier's classes, in order of their index.", examples=[None]
    )
    limits: ModelLimits
    attachments: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Names of what belongs to the model, by kind: `lenses` are tuned lenses, for explain/tuned-lens.",
        examples=[{"lenses": ["tuned"]}],
    )
    state: ModelState = Field(default="cold", description="ready when a live worker holds it.")


class MethodCard(ResponseModel):
    """A method of the catalogue."""

    path: str = Field(description="POST here.", examples=["/explain/shap"])
    verb: str = Field(examples=["explain"])
    name: str = Field(examples=["shap"])
    title: str
    summary: str
    citation: str | None = None
    version: str
    params: dict[str, Any] = Field(description="JSON schema of the request.")
    result: dict[str, Any] = Field(description="JSON schema of the result.")
    example: dict[str, Any] = Field(description="A request that works on the built-in model.")


class ModelList(ResponseModel):
    """The models of a service."""

    data: list[ModelCard]


class MethodList(ResponseModel):
    """The methods of a service."""

    data: list[MethodCard]


class Readiness(ResponseModel):
    """Whether jobs will be taken and done."""

    ready: bool
    store: bool = Field(description="Whether the job store answers.")
    workers: int = Field(description="Live workers.")
    queued: int | None = Field(default=None, description="Jobs that wait.")
    version: str
