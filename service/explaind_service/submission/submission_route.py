"""Route class of submissions: takes from the key's rate limit, and limits the body, before it is read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from explaind_jobs.store.rate_limit import take
from explaind_service.auth.caller import caller_of
from explaind_service.submission.json_body import JsonRequest


class SubmissionRoute(APIRoute):
    """A route whose requests count against the rate limit even if they are refused."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind the limits.

        Raises:
            RateLimited: the key's rate is used up; the body was not read.
        """
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            await _charge(request)
            return await handle(JsonRequest(request.scope, request.receive))

        return limited


async def _charge(request: Request) -> None:
    caller = caller_of(request.scope)
    if caller is not None and caller.allowance.requests_per_minute:
        store = request.app.state.resources.store
        request.scope["state"]["rate"] = await store.run(take(caller.key, caller.allowance))
