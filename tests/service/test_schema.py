"""Requests made up from the OpenAPI document: whatever comes, no answer is an error of the service."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from starlette.testclient import TestClient

from explaind_service.app import create_app
from explaind_service.openapi import render_openapi

OPERATIONS = [found.ok() for found in schemathesis.openapi.from_dict(json.loads(render_openapi())).get_all_operations()]
SENT = {"method", "url", "params", "json", "data", "headers"}


@pytest.fixture
def http(settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_no_errors_of_the_service(http: TestClient, operation: Any) -> None:
    @seed(7)
    @hypothesis_settings(
        max_examples=12,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        if isinstance(case.body, dict):
            case.body["model"] = "demo"
        case.headers = {**(case.headers or {}), "Prefer": "wait=0"}
        asked = case.as_transport_kwargs(base_url="http://localhost")
        response = http.request(**{key: asked[key] for key in SENT & asked.keys()})
        if operation.label == "GET /readyz":
            assert response.status_code == 503  # there is no worker
            return
        assert response.status_code < 500, response.text
        if response.status_code >= 400:
            assert response.headers["content-type"] == "application/problem+json"

    check()
