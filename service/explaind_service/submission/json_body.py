"""Limits JSON bodies before they are parsed and validated, both of which block the event loop."""

import json
from typing import Any

from starlette.requests import Request

from explaind.contract.errors import InvalidRequest, MalformedBody
from explaind_jobs.json_structure import JsonStructure, structure_of

# Enough for the largest valid request: 100,000 positions, or 10,000 questions with all of their fields.
MOST = JsonStructure(names=65_536, values=150_000, containers=50_000, depth=64)
# No request object has a tenth as many. Unknown fields are errors, each ten times as expensive as a field.
MOST_FIELDS = 256


class JsonRequest(Request):
    """A request whose JSON is checked against limits when it is read."""

    async def json(self) -> Any:
        """The body's value. Raises what `parsed` raises."""
        if not hasattr(self, "_json"):
            self._json = parsed(await self.body())
        return self._json


def parsed(body: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        InvalidRequest: it exceeds the limits.
        MalformedBody: it is nested too deeply, or not UTF-8.
        ValueError, RecursionError: it is not JSON.
    """
    # The parser would accept UTF-16 and UTF-32; the structure count, and proxies that inspect bodies, would not.
    if not json.detect_encoding(body).startswith("utf-8"):
        raise MalformedBody("The body is JSON in UTF-16 or UTF-32.", hint="Send UTF-8.")
    found = structure_of(body, MOST)
    if found.depth > MOST.depth:
        raise MalformedBody("The body is nested too deeply.", hint="Send a flat JSON object.")
    for what, count, most in (
        ("names in objects", found.names, MOST.names),
        ("objects and arrays", found.containers, MOST.containers),
        ("values", found.values, MOST.values),
    ):
        if count > most:
            raise _too_many(f"The body holds more than {most} {what}.")
    if found.names <= MOST_FIELDS:
        return json.loads(body)
    return json.loads(body, object_pairs_hook=_narrow)


def _narrow(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_FIELDS:
        raise _too_many(f"An object in the body has more than {MOST_FIELDS} fields.")
    return dict(pairs)


def _too_many(detail: str) -> InvalidRequest:
    return InvalidRequest(
        detail, hint="GET /openapi.json describes every request; large tables are for POST /datasets."
    )
