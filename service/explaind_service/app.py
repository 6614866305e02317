"""Application factory: settings are read and connections opened in `create_app`, never at import."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from explaind.contract.registry import all_methods
from explaind_jobs.catalogue import Catalogue
from explaind_jobs.keys.pepper import load_pepper
from explaind_jobs.redis_scripts.connection import async_redis_from
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_jobs.store.permits import PermitPublisher
from explaind_service.api_docs.page import add_docs
from explaind_service.body_limits import BodyLimits
from explaind_service.dependencies import Resources
from explaind_service.errors.not_found import RouteHints
from explaind_service.errors.openapi_responses import ANY_ERROR, access_errors
from explaind_service.errors.problems import add_problem_handlers
from explaind_service.events.hub import Hub
from explaind_service.events.response import Streams
from explaind_service.metrics.exposition import ServiceMetrics
from explaind_service.middleware.authentication import AuthenticationMiddleware, Authenticator
from explaind_service.middleware.request_context import RequestEnvelope
from explaind_service.middleware.request_metrics import RequestWatch
from explaind_service.openapi_document.document import compact_document
from explaind_service.results.responses import Results
from explaind_service.routes import catalogue, estimates, events, files, health, jobs, metrics
from explaind_service.routes.files import uploads_router
from explaind_service.routes.methods import method_router
from explaind_service.settings import ServiceSettings
from explaind_service.submission.file_access import AsyncFileStore
from explaind_service.submission.submit import JobSubmitter
from explaind_service.submission.wait_for_end import JobWaiter
from explaind_service.webhooks.delivery import WebhookDeliverer
from explaind_service.webhooks.ssrf_guard import WebhookGuard
from explaind_service.webhooks.transport import WebhookTransport

# Version of the interface, not of the package: it changes only when clients would break.
API_VERSION = "1"

DESCRIPTION = """\
Explanations of the output of language models. Every `POST` to a method creates a job: the response is `202` at once
with the path of the job, or with `Prefer: wait=N` the finished job. Workers that hold the models execute the jobs.

Callers send an API key as `Authorization: Bearer xp_…`; a service on loopback requires none before the first key is
made. A key sees its own jobs; jobs of other keys are not found.

Errors are RFC 9457 problems (`application/problem+json`): a stable `code`, the fields with errors, and a hint.
"""

ABOUT_VERBS = {
    "explain": "Explanations of a model's output.",
    "infer": "Output of a model, and its probability.",
    "evaluate": "Quality of a model.",
    "train": "Training of additions to a model, such as a tuned lens.",
}
ABOUT_REST = {
    "estimate": "Cost of a job, before it runs.",
    "jobs": "Jobs and their results.",
    "datasets": "Tables for use in requests.",
    "artifacts": "Files made by jobs: trained lenses.",
    "catalogue": "Methods and models of the service.",
    "health": "Liveness, readiness and metrics.",
}


_MAKING = threading.Lock()
_DOCUMENTS: dict[tuple[str, ...], dict[str, Any]] = {}


def path_and_methods(route: BaseRoute) -> str:
    """What tells a route from others, in a text."""
    return f"{','.join(sorted(getattr(route, 'methods', None) or ()))} {getattr(route, 'path', '')}"


class Api(FastAPI):
    """FastAPI inside authentication and request context: even the framework's own responses carry a request id."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made at the first call, which takes seconds; once for all services of a process.

        It depends on the routes alone, and these on no setting.
        """
        routes = tuple(path_and_methods(route) for route in self.routes)
        with _MAKING:
            if routes not in _DOCUMENTS:
                _DOCUMENTS[routes] = compact_document(super().openapi())
            self.openapi_schema = _DOCUMENTS[routes]
            return self.openapi_schema

    def setup(self) -> None:
        """The framework's own routes; the document is built in a thread, so that other requests are served."""
        super().setup()
        plain = next(route for route in self.routes if isinstance(route, Route) and route.path == self.openapi_url)

        async def document(request: Request) -> Response:
            await to_thread.run_sync(self.openapi)
            return await plain.endpoint(request)

        self.routes.remove(plain)
        self.add_route(plain.path, document, include_in_schema=False)

    def build_middleware_stack(self) -> ASGIApp:
        """The framework's layers, inside authentication, inside the request context."""
        settings: ServiceSettings = self.state.settings
        watch = RequestWatch(self.state.metrics, access_log=settings.access_log)
        return RequestEnvelope(
            AuthenticationMiddleware(super().build_middleware_stack()), BodyLimits.of_settings(settings), watch
        )


def create_app(settings: ServiceSettings) -> FastAPI:
    """The service with these settings; it connects to Redis on startup.

    Raises:
        CatalogueError: the models file is invalid.
    """
    models = Catalogue.load(settings.models_file)
    closed = [
        method_router(),
        estimates.router,
        jobs.router,
        events.router,
        uploads_router(settings),
        files.router,
        catalogue.router,
        metrics.router,
    ]
    routers = [*closed, health.router]
    app = Api(
        title="explaind",
        summary="Explanations of language models, computed as jobs.",
        description=DESCRIPTION,
        version=API_VERSION,
        openapi_tags=_tags(),
        responses=ANY_ERROR,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        max_body_size=settings.max_body_bytes,
        telemetry=_telemetry(settings),
        lifespan=_lifespan(settings, models),
    )
    app.state.settings = settings
    app.state.metrics = ServiceMetrics()
    for router in routers:
        app.include_router(router, responses=access_errors() if router in closed else None)
    add_docs(app)
    add_problem_handlers(app, RouteHints(_routes(routers)), BodyLimits.of_settings(settings))
    return app


def _lifespan(settings: ServiceSettings, models: Catalogue):
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pepper = load_pepper(settings)
        client = async_redis_from(settings)
        store = AsyncJobStore(client, settings)
        hub = Hub(settings)
        permits = PermitPublisher(settings)
        permits.start()
        guard = WebhookGuard(settings.webhook_allowed_networks)
        filing = AsyncFileStore(store)
        app.state.resources = Resources(
            settings=settings,
            catalogue=models,
            store=store,
            intake=JobSubmitter(catalogue=models, store=store, permits=permits, guard=guard, filing=filing),
            waiting=JobWaiter(store, hub),
            results=Results(store),
            filing=filing,
            access=Authenticator(settings, store, pepper),
            hub=hub,
            streams=Streams(settings.max_streams),
        )
        timeout_s = settings.webhook_timeout_s
        webhooks = WebhookDeliverer(store, guard, WebhookTransport(timeout_s), pepper, timeout_s=timeout_s)
        webhooks.start()
        try:
            yield
        finally:
            await webhooks.stop()
            await hub.close()
            await to_thread.run_sync(permits.stop)
            await client.aclose()

    return lifespan


def _routes(routers: list[APIRouter]) -> list[APIRoute]:
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]


def _tags() -> list[dict[str, str]]:
    verbs = {method.verb for method in all_methods().values()}
    new = dict.fromkeys(sorted(verbs - ABOUT_VERBS.keys()), "")
    about = {**{verb: text for verb, text in ABOUT_VERBS.items() if verb in verbs}, **new, **ABOUT_REST}
    return [{"name": name, "description": description} for name, description in about.items()]


def _telemetry(settings: ServiceSettings) -> TelemetryConfig:
    # Traces, never logs: logs would carry the values of invalid fields, prompts among them.
    on = settings.telemetry
    return {"tracing": on, "metrics": on, "logs": False, "operation_spans": on, "auto_configure": on}
