"""FastAPI dependency for the origin of a job: caller, idempotency key, cache control, from the headers."""

from typing import Annotated

from fastapi import Depends, Header
from starlette.requests import Request

from explaind_service.auth.caller import Writer
from explaind_service.submission.submit import JobOrigin

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,255}$",
        description=(
            "Key that identifies a submission: the same key with the same request returns the same job, "
            "however often it is sent."
        ),
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]
CacheControl = Annotated[
    str | None,
    Header(
        alias="Cache-Control",
        max_length=200,
        description="`no-cache`: compute the result even if it is already known.",
        examples=["no-cache"],
    ),
]


async def asker_of(
    request: Request, caller: Writer, idempotency_key: IdempotencyKey = None, cache_control: CacheControl = None
) -> JobOrigin:
    """The origin of this submission.

    Raises:
        NotPermitted: the caller's key lacks the scope.
    """
    return JobOrigin(
        key=caller.key,
        allowance=caller.allowance,
        idempotency_key=idempotency_key,
        request_id=request.scope["state"]["request_id"],
        trace=request.scope["state"]["trace"],
        from_cache=not _refuses_cache(cache_control or ""),
        rate=request.scope["state"].get("rate"),
    )


def _refuses_cache(cache_control: str) -> bool:
    directives = {directive.strip().lower() for directive in cache_control.split(",")}
    return not directives.isdisjoint({"no-cache", "no-store"})


AskerOfRequest = Annotated[JobOrigin, Depends(asker_of)]
