"""The caller of a request, and the scopes that routes require."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.requests import Request
from starlette.types import Scope as AsgiScope

from explaind.contract.errors import NotPermitted
from explaind_jobs.keys.records import Scope, permits
from explaind_jobs.store.records import ANONYMOUS, ANYONE, Allowance

BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    bearerFormat="xp_<id>_<secret>",
    description=(
        "API key, made by `explaind keys create`. A service on loopback requires none before the first key is made."
    ),
)


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller: the API key that a request sent, or anonymous where no key is required."""

    key: str
    scopes: frozenset[Scope]
    allowance: Allowance

    @property
    def sees(self) -> str:
        """The `caller` argument of the store: whose jobs are visible."""
        return ANYONE if self.may(Scope.ADMIN) else self.key

    def may(self, needed: Scope) -> bool:
        """Whether the caller holds that scope, or one that includes it."""
        return permits(self.scopes, needed)


ANYBODY = Caller(ANONYMOUS, frozenset(Scope), Allowance())


def caller_of(scope: AsgiScope) -> Caller | None:
    """The caller of an authenticated request; None on the open paths."""
    return scope.get("state", {}).get("caller")


async def permitted(
    request: Request,
    needed: SecurityScopes,
    _: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
) -> Caller:
    """The caller, if it holds the scopes that the route needs.

    Raises:
        NotPermitted: a scope is missing.
    """
    caller = caller_of(request.scope)
    for scope in needed.scopes:
        if caller is None or not caller.may(Scope(scope)):
            raise NotPermitted(
                f"{request.method} {request.scope['path'][:200]} needs the scope `{scope}`, which this API key lacks.",
                hint=f"Use a key with it: explaind keys create --name NAME --scopes {scope}",
            )
    assert caller is not None  # noqa: S101 - every route that needs a scope is authenticated
    return caller


Reader = Annotated[Caller, Security(permitted, scopes=[Scope.READ])]
Writer = Annotated[Caller, Security(permitted, scopes=[Scope.WRITE])]
MetricsReader = Annotated[Caller, Security(permitted, scopes=[Scope.METRICS])]
