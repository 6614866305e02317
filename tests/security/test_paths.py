"""Paths that lead somewhere else: every route with a name in its path answers with a problem, or with its own."""

from itertools import product
from urllib.parse import quote

import pytest

from tests.support.problem_checks import check_answer, check_problem

JOB = "job_" + "0" * 26
# With {} in the place of what the route takes from the path.
ROUTES = [
    "/jobs/{}",
    "/jobs/{}/result",
    "/jobs/{}/report",
    "/jobs/{}/events",
    "/jobs/{}/cancel",
    "/models/{}",
    "/methods/{}/shap",
    "/methods/explain/{}",
    "/{}/shap",
    "/explain/{}",
    "/{}",
]
# As they travel.
PARTS = {
    "parent": "..",
    "parent, encoded": "%2e%2e",
    "parent, encoded twice": "%252e%252e",
    "up and away": "..%2f..%2f..%2fetc%2fpasswd",
    "up and away, backslashes": "..%5c..%5cwindows",
    "slash, encoded": "%2f",
    "slash, encoded twice": "%252f",
    "slashes": "//",
    "many slashes": "/" * 2000,
    "slashes and dots": "/./../.",
    "another host": "//evil.example/",
    "a URL": "http:%2f%2fevil.example",
    "NUL": "%00",
    "line feed at the end": f"{JOB}%0a",
    "line feed and a line": "x%0aHTTP/1.1%20200%20OK",
    "header injected": "x%0d%0aSet-Cookie:%20a=b",
    "job with more": f"{JOB}x",
    "job in full width": quote("ｊｏｂ＿" + "０" * 26),
    "job in capitals": JOB.upper(),
    "semicolon": f"{JOB};a=b",
    "overlong UTF-8": "%c0%ae%c0%ae%c0%af",
    "no UTF-8": "%ff%fe",
    "surrogate": "%ed%a0%80",
    "broken escape": "%zz",
    "right to left": quote("\u202e"),
    "emoji": quote("👩‍👩‍👧‍👦"),
    "markup": quote("<script>alert(1)</script>"),
    "template": quote("{{7*7}}${7*7}"),
    "braces": "{job_id}",
    "star": "*",
    "space": "%20",
    "long": "Q" * 60_000,
    "long, encoded": "%51" * 20_000,
    "deep": "Q/" * 5000,
    "query": "?a=b",
    "fragment": "%23a",
}


@pytest.mark.timeout(60)
async def test_whatever_the_path(raw) -> None:
    for part, method, route in product(PARTS.values(), ("GET", "POST", "DELETE", "HEAD"), ROUTES):
        answer = await raw(method, route.format(part))
        if answer.content or method != "HEAD":
            check_answer(answer)
        assert answer.status_code in {200, 400, 404, 405, 415, 422}
        assert "set-cookie" not in answer.headers
        assert "root:" not in answer.text


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "/%2f%2fevil.example", "///", "/.", "/..", "/jobs/"]
)
async def test_nobody_is_sent_elsewhere(raw, path: str) -> None:
    answer = await raw("GET", path)
    assert answer.status_code in {200, 404}
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "query",
    [
        "%00",
        "a=b",
        "=",
        "&&&",
        "limit=1&limit=2",
        "limit=" + "9" * 5000,
        "limit=-1",
        "limit=1e3",
        "limit=%EF%BC%91",
        "limit=%D9%A3",
        "after=%0a",
        "state=succeeded%0a",
        "Q" * 60_000,
        "a[b]=c",
        "limit[]=1",
        "%ff=%fe",
        ";limit=1",
    ],
)
async def test_whatever_the_query(raw, query: str) -> None:
    for path in ("/jobs", f"/jobs/{JOB}/result", "/models", "/metrics", "/readyz"):
        answer = await raw("GET", path, query)
        if path == "/readyz":
            assert answer.status_code == 503
        else:
            check_answer(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/values%00",
        "/" * 900,
        "/~2",
        "/-",
        "/-1",
        "/01",
        "/999999999999999999999",
        "a",
        "/%ff",
        "/values/0/0",
        "/Q" * 400,
        "/__class__",
        "/%D9%A3",
        "/1e3",
        "~",
    ],
)
async def test_pages_of_what_is_not_there(raw, finish, path: str) -> None:
    job = await finish()
    answer = await raw("GET", f"{job}/result", f"path={path}")
    assert answer.status_code in {200, 422}
    check_answer(answer)
    if answer.status_code == 422:
        assert [error.pointer for error in check_problem(answer).errors] == ["/query/path"]


@pytest.mark.parametrize(
    "method", ["TRACE", "CONNECT", "OPTIONS", "PROPFIND", "get", "Q" * 500, "M-SEARCH", "PATCH", "PUT"]
)
async def test_methods_that_are_none(raw, method: str) -> None:
    for path in ("/jobs", f"/jobs/{JOB}", "/explain/shap", "/healthz", "/docs", "/nowhere"):
        answer = await raw(method, path, headers=[(b"authorization", b"Bearer secret")])
        problem = check_problem(answer)
        assert problem.code in {"not_found", "method_not_allowed"}
        assert "secret" not in answer.text
