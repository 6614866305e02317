"""Results as they travel (JSON objects) and as the contract's models."""

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

    It stays the plain JSON value it is when neither the job's method nor the result's `kind` is known to this
    version, and None when there is none.

    Raises:
        pydantic.ValidationError: the result is not what its method promises.
    """
    result = job.result
    if not isinstance(result, dict):
        return result
    method = known_method(job.method)
    model = method.result if method else result_models().get(str(result.get("kind")))
    return result if model is None else model.model_validate(result)


def by_units(result: Any, kind: UnitKind) -> Attribution:
    """A result by units of that kind.

    Raises:
        InvalidUnits: it is no attribution, or does not hold units of that kind.
    """
    if not isinstance(result, Attribution):
        raise InvalidUnits.at("/units", "The result is no attribution: it is not made of units.")
    return result.regrouped(kind)
