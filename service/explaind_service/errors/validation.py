"""Converts FastAPI's RequestValidationError into errors of the contract."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError

from explaind.contract.errors import ExplaindError, FieldError, InvalidRequest, MalformedBody, field_errors, said_of
from explaind.contract.estimate import ESTIMATE
from explaind.contract.registry import known_method

MAX_FIELDS = 32


def error_of_validation(error: RequestValidationError, path: str) -> ExplaindError:
    """The contract's error for a request that is invalid at `path`.

    Broken JSON becomes `MalformedBody` with its position, anything else `InvalidRequest` with the invalid fields.
    """
    found = error.errors()
    first = found[0]
    if first["type"] == "json_invalid":
        return _malformed(str(error.body), int(first["loc"][1]), str(first["ctx"]["error"]))
    if first["type"] == "missing" and tuple(first["loc"]) == ("body",):
        return MalformedBody("The body is empty.", hint=_hint(path))
    fields = [_field(each, path) for each in found[:MAX_FIELDS]]
    more = len(found) - len(fields)
    detail = f"{fields[0].pointer}: {fields[0].detail}" if fields[0].pointer else fields[0].detail
    if len(found) > 1:
        detail = f"{len(found)} fields are not valid" + (f"; the first {MAX_FIELDS} are listed." if more else ".")
    return InvalidRequest(detail, hint=_hint(path), errors=fields)


def _malformed(body: str, position: int, reason: str) -> MalformedBody:
    line = body.count("\n", 0, position) + 1
    column = position - body.rfind("\n", 0, position)
    return MalformedBody(
        f"The body is not valid JSON: {reason} at line {line}, column {column}.",
        hint="Send one JSON object; text in double quotes, no comma after the last field.",
    )


def _field(error: Mapping[str, Any], path: str) -> FieldError:
    where, *keys = error["loc"]
    if where != "body":
        # Names of headers and parameters are declared by us, so they need no shortening.
        return FieldError(pointer="".join(f"/{key}" for key in error["loc"]), detail=said_of(error))
    field = field_errors([error])[0]
    if error["type"] == "extra_forbidden":
        return _extra_field(field, [str(key) for key in keys], path)
    if error["type"] == "model_attributes_type":
        return FieldError(pointer=field.pointer, detail="This must be a JSON object.")
    return field


def _extra_field(field: FieldError, keys: Sequence[str], path: str) -> FieldError:
    near = _near_field(keys[-1], path) if len(keys) == 1 else None
    detail = "There is no such field." + (f" Did you mean '{near}'?" if near else "")
    # The last key comes from the caller, even where it equals the name of a union's branch.
    pointer = field.pointer if field.pointer.endswith(f"/{keys[-1]}") else f"{field.pointer}/{keys[-1]}"
    return FieldError(pointer=pointer, detail=detail)


def _near_field(name: str, path: str) -> str | None:
    method = known_method(path.strip("/"))
    if method is None:
        return None
    near = difflib.get_close_matches(name.lower()[:64], method.params_model.model_fields, n=1)
    return near[0] if near else None


def _hint(path: str) -> str:
    method = known_method(path.strip("/"))
    if method is None:
        return "GET /openapi.json describes every request."
    example = json.dumps(method.example, ensure_ascii=False)
    described = method.path.removeprefix(f"{ESTIMATE}/")
    return f"GET /methods/{described} describes every field; this works: {example}"
