"""Requests made up from the OpenAPI document, and what every answer to one is held against."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.openapi.checks import UndefinedStatusCode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
)

from tests.support.schema_document import boolean_fields

SUMMARY_VARIABLE = "EXPLAIND_SCHEMA_SUMMARY"
SENT = {"method", "url", "params", "json", "data", "headers", "content"}
# Without a worker this is what it should be.
EXPECTED_FAULTS = {"GET /readyz": {503}}

# Files that are datasets and files that are none; the document says no more of them than that they are bytes.
schemathesis.openapi.media_type(
    "application/jsonl",
    st.sampled_from([b'{"a": 1}\n', b'{"a": "x", "b": null}', b"a\n1\n", b"a,b\n1\n", b"\xff", b""])
    | st.binary(max_size=20),
    aliases=["application/x-ndjson", "application/x-jsonlines", "text/csv", "application/vnd.apache.parquet"],
)

Send = Callable[[dict[str, Any]], Any]


def statuses(operation: Any) -> set[int]:
    """The statuses that the document names for an operation; what only `default` stands for is not among them."""
    return {int(code) for code in operation.responses.status_codes if str(code).isdigit()}


def status_is_named(case: Any, response: Any) -> None:
    """Fails on a status that the document does not name: `default` alone would hide every lie."""
    named = statuses(case.operation)
    if response.status_code not in named:
        raise UndefinedStatusCode(
            operation=case.operation.label,
            status_code=response.status_code,
            defined_status_codes=sorted(map(str, named)),
            allowed_status_codes=sorted(named),
            message=f"{response.status_code} is not documented: {response.text[:500]}",
        )


class Fuzzer:
    """Sends made-up requests and holds each answer against the document; counts what it saw."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.seen: dict[str, Counter[int]] = {}

    def run(self, operation: Any, *, examples: int, number: int = 7, **fixed: Any) -> None:
        """So many requests for one operation, as it wants them and as it does not; `fixed` parts stay as they are."""
        modes = [mode for mode in GenerationMode if _can(operation, mode)]
        strategies = [operation.as_strategy(generation_mode=mode, **fixed) for mode in modes]

        @seed(number)
        @hypothesis_settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(strategies))
        def check(case: Any) -> None:
            self.one(case)

        check()

    def cover(self, operation: Any) -> None:
        """One request for each bound of each field of an operation, and for each way to be beyond it."""
        schema = operation.schema
        for case in schema.iter_coverage_cases(
            operation, generation_modes=list(GenerationMode), generation_config=schema.config.generation
        ):
            self.one(case)

    def one(self, case: Any) -> Any:
        """One request; its answer."""
        asked = case.as_transport_kwargs(base_url="http://localhost")
        asked["headers"] = dict(asked.get("headers") or {})
        if isinstance(asked.get("data"), bytes | str):
            asked["content"] = asked.pop("data")
        response = self._send({key: asked[key] for key in SENT & asked.keys()})
        self.seen.setdefault(case.operation.label, Counter())[response.status_code] += 1
        self.hold(case, response)
        return response

    def hold(self, case: Any, response: Any) -> None:
        """Holds an answer against the document."""
        if case.method.upper() != case.operation.method.upper():
            assert response.status_code == 405, (case.method, response.status_code)
            assert response.json()["code"] == "method_not_allowed"
            return
        status_is_named(case, response)
        checks = [content_type_conformance, response_headers_conformance, response_schema_conformance]
        if response.status_code not in EXPECTED_FAULTS.get(case.operation.label, ()):
            checks.append(not_a_server_error)
            if response.status_code != 413 and not _has_numbers_for_booleans(case):  # 413: too much is a refusal, too
                checks.append(negative_data_rejection)
        case.validate_response(response, checks=checks)


def _has_numbers_for_booleans(case: Any) -> bool:
    """Whether 0 or 1 stands where the document wants true or false: pydantic takes one for the other."""
    body = case.body if isinstance(case.body, dict) else {}
    return any(type(body.get(name)) in {int, float} and body[name] in {0, 1} for name in boolean_fields())


def _can(operation: Any, mode: GenerationMode) -> bool:
    """An operation that takes nothing cannot be asked wrongly."""
    return mode is GenerationMode.POSITIVE or bool(operation.body or operation.query or operation.headers)


def write_summary(title: str, seen: Mapping[str, Counter[int]]) -> str:
    """What was sent and answered, as lines; added to the file that EXPLAIND_SCHEMA_SUMMARY names."""
    lines = "\n".join(_summary(title, seen)) + "\n"
    if named := os.environ.get(SUMMARY_VARIABLE):
        with Path(named).open("a", encoding="utf-8") as file:
            file.write(lines)
    return lines


def _summary(title: str, seen: Mapping[str, Counter[int]]) -> Iterator[str]:
    total = sum(counts.total() for counts in seen.values())
    faults = sum(
        count
        for label, counts in seen.items()
        for status, count in counts.items()
        if status >= 500 and status not in EXPECTED_FAULTS.get(label, ())
    )
    yield f"{title}: {total} requests to {len(seen)} operations, {faults} server errors"
    for label, counts in sorted(seen.items()):
        told = ", ".join(f"{status}: {count}" for status, count in sorted(counts.items()))
        yield f"  {label}: {counts.total()} ({told})"
