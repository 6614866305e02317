import pytest
from fastapi.routing import APIRoute

from explaind.contract.errors import NotFound, UnknownMethod
from explaind_service.errors.not_found import RouteHints
from explaind_service.routes import health, jobs

ROUTES = [route for router in (jobs.router, health.router) for route in router.routes]
SIGNPOSTS = RouteHints(route for route in ROUTES if isinstance(route, APIRoute))


def test_allowed_gathers_all_routes_of_a_path() -> None:
    assert SIGNPOSTS.allowed("/jobs/anything") == ["DELETE", "GET"]
    assert SIGNPOSTS.allowed("/nowhere") == []


def test_missing_tells_methods_from_other_paths() -> None:
    assert isinstance(SIGNPOSTS.missing("/explain/lime2"), UnknownMethod)
    assert type(SIGNPOSTS.missing("/jobs/a")) is NotFound
    assert type(SIGNPOSTS.missing("/healthy")) is NotFound


@pytest.mark.parametrize("path", ["/v1", "/v1/models", "/v1/chat/completions", "/v1/models/gpt-4", "/V1/embeddings/"])
def test_clients_of_openai_hear_that_this_is_none(path: str) -> None:
    error = SIGNPOSTS.missing(path)
    assert type(error) is NotFound
    assert "no OpenAI API" in error.detail
    assert "GET /models" in (error.hint or "")
