"""Definition of a method: name, parameters and result, origin and cost."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, ParamSpec, TypeVar, cast

from explaind.contract.base import MethodResult
from explaind.contract.catalogue import MethodCard, MethodDetail, MethodLinks
from explaind.contract.estimate import ESTIMATE, Estimate
from explaind.contract.request import ModelRequest

P = ParamSpec("P")
ResultT = TypeVar("ResultT", bound=MethodResult)


@dataclass(frozen=True)
class Method(Generic[P, ResultT]):
    """A method, shared by client, service and worker.

    The route, the OpenAPI entry, the SDK call and the CLI command are derived from this. `params` is the pydantic model
    of the request; its type is a callable, so that the SDK's calls have its keyword arguments.
    """

    verb: str
    name: str
    title: str
    summary: str
    params: Callable[P, ModelRequest]
    result: type[ResultT]
    example: dict[str, Any]
    citation: str | None = None
    version: str = "1"
    cost: str = ""

    @property
    def path(self) -> str:
        """Verb and name: `explain/shap`."""
        return f"{self.verb}/{self.name}"

    @property
    def module(self) -> str:
        """Its module below `methods`, in the contract and in the worker: `explain.integrated_gradients`."""
        return f"{self.verb}.{self.name}".replace("-", "_")

    @property
    def params_model(self) -> type[ModelRequest]:
        """The pydantic model of the request."""
        if not (isinstance(self.params, type) and issubclass(self.params, ModelRequest)):
            raise TypeError(f"The params of {self.path} must be a ModelRequest model.")
        return self.params

    def estimate(self) -> "Method[P, Any]":
        """The method `estimate/{path}`: of the same params, with an `Estimate` of this one's cost as its result."""
        return replace(
            cast("Method[P, Any]", self),
            verb=ESTIMATE,
            name=self.path,
            title=f"Estimate: {self.title}",
            result=Estimate,
        )

    def card(self) -> MethodCard:
        """The method as `GET /methods` lists it."""
        return MethodCard(
            path=f"/{self.path}",
            verb=self.verb,
            name=self.name,
            title=self.title,
            summary=self.summary,
            param_names=list(self.params_model.model_fields),
            links=MethodLinks(
                self=f"/methods/{self.path}", submit=f"/{self.path}", estimate=f"/{ESTIMATE}/{self.path}"
            ),
        )

    def detail(self) -> MethodDetail:
        """The method as `GET /methods/{verb}/{name}` shows it, with its schemas."""
        return MethodDetail(
            **dict(self.card()),
            citation=self.citation,
            version=self.version,
            params=self.params_model.model_json_schema(),
            result=self.result.model_json_schema(mode="serialization"),
            example=self.example,
        )
