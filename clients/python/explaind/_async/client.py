"""The async client: `async with AsyncClient() as client: await client.explain.shap(model=…, prompt=…)`."""

from collections.abc import Mapping
from typing import Any, Self

import httpx

from explaind._async.driver import AsyncFlowDriver
from explaind._async.files import AsyncArtifacts, AsyncDatasets
from explaind._async.jobs import AsyncJobHandle, AsyncJobs
from explaind._async.methods import AsyncMethods
from explaind.contract.catalogue import MethodCard, MethodDetail, ModelCard, Readiness
from explaind.contract.estimate import Estimate
from explaind.contract.request import ModelRequest
from explaind.protocol.config import http_options
from explaind.protocol.exchange import Policy
from explaind.protocol.operations import (
    CallOptions,
    checked_body,
    estimate_path,
    get_method,
    get_readiness,
    list_methods,
    list_models,
    submit_job,
)
from explaind.protocol.short_tracebacks import short_tracebacks


@short_tracebacks
class AsyncClient(AsyncMethods):
    """An async client of one service; the methods are under `explain`, `infer` and so on.

    Args:
        base_url: address of the service, else `EXPLAIND_URL`, else http://127.0.0.1:8000.
        api_key: the key to send, else `EXPLAIND_API_KEY`, else none.
        timeout: seconds that one HTTP exchange may take (waiting for a job is many of them).
        max_retries: how often an exchange is tried again when that may help.
        transport: an httpx transport, for tests and for services inside the same process.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | None = 30.0,
        max_retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        http = httpx.AsyncClient(transport=transport, **http_options(base_url, api_key, timeout))
        self.driver = AsyncFlowDriver(http, Policy(max_retries=max_retries))
        self.jobs = AsyncJobs(self.driver)
        self.datasets = AsyncDatasets(self.driver)
        self.artifacts = AsyncArtifacts(self.driver)
        super().__init__(self.driver)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def base_url(self) -> str:
        """The service's address."""
        return str(self.driver.http.base_url).rstrip("/")

    async def close(self) -> None:
        """Close the connections."""
        await self.driver.http.aclose()

    async def run(self, path: str, params: Mapping[str, Any] | ModelRequest, *, timeout: float | None = None) -> Any:
        """Submit `params` to the method of that path ("explain/shap"), wait, return the result."""
        handle = await self.submit(path, params)
        return await handle.result(timeout)

    async def submit(
        self,
        path: str,
        params: Mapping[str, Any] | ModelRequest,
        *,
        idempotency_key: str | None = None,
        fresh: bool = False,
    ) -> AsyncJobHandle[Any]:
        """Submit `params` to the method of that path and return its handle; `fresh` refuses a cached result."""
        path, body = checked_body(path, params)
        options = CallOptions(idempotency_key=idempotency_key, fresh=fresh)
        flow = submit_job(self.driver.policy, path, body, options)
        return AsyncJobHandle(self.driver, await self.driver.run(flow))

    async def estimate(
        self, path: str, params: Mapping[str, Any] | ModelRequest, *, timeout: float | None = None
    ) -> Estimate:
        """The cost of `params` at the method of that path, like `client.explain.shap.estimate(…)`."""
        handle: AsyncJobHandle[Estimate] = await self.submit(estimate_path(path), params)
        return await handle.result(timeout)

    async def models(self) -> list[ModelCard]:
        """The models of the service."""
        return await self.driver.run(list_models(self.driver.policy))

    async def methods(self) -> list[MethodCard]:
        """The methods of the service, without their schemas."""
        return await self.driver.run(list_methods(self.driver.policy))

    async def method(self, path: str) -> MethodDetail:
        """The method of that path, such as `explain/shap`, with its schemas. Raises UnknownMethod."""
        return await self.driver.run(get_method(self.driver.policy, path))

    async def ready(self) -> Readiness:
        """Whether the service takes jobs and works on them; requested once, without retries."""
        return await self.driver.run(get_readiness(self.driver.policy))
