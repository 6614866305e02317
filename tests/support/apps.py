"""Applications for tests, built once per process and used again: building their typed routes takes half a second.

What is not reused is everything that holds state: the resources that the lifespan opens, metrics and middleware.
"""

from collections import defaultdict

from fastapi import FastAPI

from explaind_jobs.catalogue import Catalogue
from explaind_service import app as service
from explaind_service.metrics.exposition import ServiceMetrics
from explaind_service.settings import ServiceSettings

# What differs from test to test, and is read by the lifespan alone.
LIFESPAN_SETTINGS = {"data_dir", "redis_url"}

_idle: defaultdict[str, list[FastAPI]] = defaultdict(list)
_lent: list[tuple[str, FastAPI, int]] = []


def create_app(settings: ServiceSettings) -> FastAPI:
    """As `explaind_service.app.create_app`; the test's own until `take_back_apps`."""
    key = repr(settings.model_copy(update=dict.fromkeys(LIFESPAN_SETTINGS)))
    app = _renewed(_idle[key].pop(), settings) if _idle[key] else service.create_app(settings)
    _lent.append((key, app, len(app.routes)))
    return app


def take_back_apps() -> None:
    """At the end of a test: its applications may be used by the next, but for those it gave a route."""
    while _lent:
        key, app, routes = _lent.pop()
        if len(app.routes) == routes:
            _idle[key].append(app)


def _renewed(app: FastAPI, settings: ServiceSettings) -> FastAPI:
    app.state._state.clear()
    app.state.settings = settings
    app.state.metrics = ServiceMetrics()
    app.router.lifespan_context = service._lifespan(settings, Catalogue.load(settings.models_file))
    app.middleware_stack = None
    app.dependency_overrides.clear()
    return app
