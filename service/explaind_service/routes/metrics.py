"""GET /metrics: scraped by Prometheus."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from explaind.contract.errors import InvalidRequest
from explaind_service.auth.caller import MetricsReader
from explaind_service.dependencies import Store
from explaind_service.errors.openapi_responses import problem_responses
from explaind_service.metrics.exposition import ServiceMetrics

router = APIRouter(tags=["health"])

Accept = Annotated[
    str,
    Header(
        alias="Accept",
        max_length=1000,
        description="Format of the metrics: OpenMetrics, or Prometheus's own text format.",
    ),
]


async def _metrics(request: Request) -> ServiceMetrics:
    return request.app.state.metrics


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Metrics",
    response_class=PlainTextResponse,
    responses=problem_responses(InvalidRequest),
)
async def get_metrics(
    metrics: Annotated[ServiceMetrics, Depends(_metrics)], store: Store, _: MetricsReader, accept: Accept = ""
) -> Response:
    """Queue, jobs, workers and HTTP for Prometheus. Without the store: `explaind_store_up 0` and only this process."""
    content, media_type = await metrics.told(store, accept)
    return Response(content, media_type=media_type)
