"""Regroups a stored attribution into larger units, by summing its values."""

from pydantic import ValidationError

from explaind.contract.blocks.units import UnitKind
from explaind.contract.errors import InvalidUnits
from explaind.contract.registry import all_methods
from explaind.protocol.results import by_units

_POINTER = "/query/units"


def regrouped_json(method: str, raw: bytes, kind: UnitKind) -> bytes | None:
    """The JSON of a method's result by units of that kind; None if it has these units already.

    Raises:
        InvalidUnits: the result is not an attribution, or has no units of that kind.
    """
    known = all_methods().get(method)
    try:
        result = known.result.model_validate_json(raw) if known else None
        changed = by_units(result, kind)
    except ValidationError as error:
        message = "The result was written by a version that this one cannot regroup."
        raise InvalidUnits.at(_POINTER, message, hint="Leave 'units' out, or submit the job again.") from error
    except InvalidUnits as error:
        raise InvalidUnits.at(_POINTER, error.detail, hint=error.hint) from error
    return None if changed is result else changed.model_dump_json().encode()
