"""Conversion of results from JSON objects to the contract's models."""

from functools import cache
from typing import Any

from explaind.contract.base import ResponseModel
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.blocks.units import UnitKind
from explaind.contract.errors import InvalidUnits
from explaind.contract.estimate import Estimate
from explaind.contract.job import Job
from explaind.contract.registry import all_methods, known_method


@cache
def result_models() -> dict[str, type[ResponseModel]]:
    """The result models by their `kind`."""
    models = (Estimate, *(method.result for method in all_methods().values()))
    return {str(model.model_fields["kind"].default): model for model in models if "kind" in model.model_fields}


def typed_result(job: Job[Any]) -> Any:
    """The result of a job as a model of the contract.

    A plain JSON value if neither the job's method nor the result's `kind` is known to this version; None without a
    result.

    Raises:
        pydantic.ValidationError: the result does not match its method's model.
    """
    result = job.result
    if not isinstance(result, dict):
        return result
    method = known_method(job.method)
    model = method.result if method else result_models().get(str(result.get("kind")))
    return result if model is None else model.model_validate(result)


def by_units(result: Any, kind: UnitKind) -> Attribution:
    """A result regrouped into units of that kind.

    Raises:
        InvalidUnits: it is not an attribution, or has no units of that kind.
    """
    if not isinstance(result, Attribution):
        raise InvalidUnits.at("/units", "The result is no attribution: it is not made of units.")
    return result.regrouped(kind)
