# Generated from clients/python/explaind/_async/client.py by `make generate`.
"""The sync client: `with Client() as client: client.explain.shap(model=…, prompt=…)`."""

from collections.abc import Mapping
from typing import Any, Self

import httpx

from explaind._sync.driver import FlowDriver
from explaind._sync.files import Artifacts, Datasets
from explaind._sync.jobs import JobHandle, Jobs
from explaind._sync.methods import Methods
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
class Client(Methods):
    """A client of one service; the methods are under `explain`, `infer` and so on.

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        http = httpx.Client(transport=transport, **http_options(base_url, api_key, timeout))
        self.driver = FlowDriver(http, Policy(max_retries=max_retries))
        self.jobs = Jobs(self.driver)
        self.datasets = Datasets(self.driver)
        self.artifacts = Artifacts(self.driver)
        super().__init__(self.driver)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """The service's address."""
        return str(self.driver.http.base_url).rstrip("/")

    def close(self) -> None:
        """Close the connections."""
        self.driver.http.close()

    def run(self, path: str, params: Mapping[str, Any] | ModelRequest, *, timeout: float | None = None) -> Any:
        """Submit `params` to the method of that path ("explain/shap"), wait, return the result."""
        handle = self.submit(path, params)
        return handle.result(timeout)

    def submit(
        self,
        path: str,
        params: Mapping[str, Any] | ModelRequest,
        *,
        idempotency_key: str | None = None,
        fresh: bool = False,
    ) -> JobHandle[Any]:
        """Submit `params` to the method of that path and return its handle; `fresh` refuses a cached result."""
        path, body = checked_body(path, params)
        options = CallOptions(idempotency_key=idempotency_key, fresh=fresh)
        flow = submit_job(self.driver.policy, path, body, options)
        return JobHandle(self.driver, self.driver.run(flow))

    def estimate(
        self, path: str, params: Mapping[str, Any] | ModelRequest, *, timeout: float | None = None
    ) -> Estimate:
        """The cost of `params` at the method of that path, like `client.explain.shap.estimate(…)`."""
        handle: JobHandle[Estimate] = self.submit(estimate_path(path), params)
        return handle.result(timeout)

    def models(self) -> list[ModelCard]:
        """The models of the service."""
        return self.driver.run(list_models(self.driver.policy))

    def methods(self) -> list[MethodCard]:
        """The methods of the service, without their schemas."""
        return self.driver.run(list_methods(self.driver.policy))

    def method(self, path: str) -> MethodDetail:
        """The method of that path, such as `explain/shap`, with its schemas. Raises UnknownMethod."""
        return self.driver.run(get_method(self.driver.policy, path))

    def ready(self) -> Readiness:
        """Whether the service takes jobs and works on them; requested once, without retries."""
        return self.driver.run(get_readiness(self.driver.policy))
