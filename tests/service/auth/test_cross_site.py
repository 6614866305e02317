"""While nobody is asked for a key, no page of another site gets anything out of the service."""

import pytest
from starlette.datastructures import Headers

from explaind.contract.errors import NotPermitted
from explaind_service.auth.cross_site import CrossSiteGuard
from explaind_service.settings import ServiceSettings
from tests.support.apps import create_app


def let_in(guard: CrossSiteGuard, host: str | None, origin: str | None = None, scheme: str | None = None) -> bool:
    pairs = {"host": host, "origin": origin}
    try:
        guard.check(Headers({name: value for name, value in pairs.items() if value is not None}), scheme)
    except NotPermitted:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "127.0.0.1:8000",
            "127.9.9.9",
            "localhost",
            "localhost:8000",
            "LocalHost:1",
            "[::1]",
            "[::1]:80",
        ),
        *("localhost.", "app.localhost:8000"),
    ],
)
def test_names_of_this_machine(host: str) -> None:
    assert let_in(CrossSiteGuard("127.0.0.1", []), host)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.0.2", None),
        *("", ":8000", "[::1", "0.0.0.0", "127.0.0.1@evil.example", "evil.example#localhost", "notlocalhost"),  # noqa: S104
    ],
)
def test_a_name_made_to_resolve_to_this_machine(host: str | None) -> None:
    assert not let_in(CrossSiteGuard("127.0.0.1", []), host)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("LOCALHOST:8000", "http://localhost:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("localhost", "http://localhost:80"),
    ],
)
def test_pages_of_its_own(host: str, origin: str) -> None:
    assert let_in(CrossSiteGuard("localhost", []), host, origin, "http")


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "http://localhost",
        "https://localhost:8000",
        "http://127.0.0.1:8000",
        "http://app.localhost:8000",
        "https://[::1]",
        "http://localhost:8000@evil.example",
        "http://localhost:99999",
    ],
)
def test_pages_from_another_port_scheme_or_name_of_this_machine(origin: str) -> None:
    """A development server, a notebook, another user's program: none of them is this service."""
    assert not let_in(CrossSiteGuard("localhost", []), "localhost:8000", origin, "http")


def test_a_page_of_an_allowed_name_comes_from_its_usual_ports_or_from_where_the_request_goes() -> None:
    guard = CrossSiteGuard("127.0.0.1", ["explaind.example"])
    for host in ("127.0.0.1:8000", "explaind.example"):  # as a proxy in front hands it on
        assert let_in(guard, host, "https://explaind.example", "http")
        assert not let_in(guard, host, "https://explaind.example:8443", "http")
    assert let_in(guard, "explaind.example:8443", "https://explaind.example:8443", "http")
    assert not let_in(guard, "explaind.example:8443", "https://explaind.example:9443", "http")


async def test_another_port_of_this_machine_over_http(client, expect_problem, shap) -> None:
    expect_problem(
        await client.post("/explain/shap", json=shap, headers={"Origin": "http://localhost:3000"}), 403, "not_permitted"
    )
    expect_problem(
        await client.post("/explain/shap", json=shap, headers={"Origin": "https://localhost"}), 403, "not_permitted"
    )
    assert (await client.post("/explain/shap", json=shap, headers={"Origin": "http://localhost"})).status_code == 202


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "", "http://localhost.evil.example", "file://", "http://[::1", "evil"]
)
def test_pages_of_other_sites(origin: str) -> None:
    assert not let_in(CrossSiteGuard("127.0.0.1", []), "localhost:8000", origin)


def test_allowed_names() -> None:
    guard = CrossSiteGuard("127.0.0.1", ["explaind.example", "*.lab.example"])
    for name in ("explaind.example", "Explaind.Example:443", "a.lab.example", "a.b.lab.example", "localhost"):
        assert let_in(guard, name)
        assert let_in(guard, "localhost", f"https://{name}")
    for name in ("lab.example", "evil-lab.example", "x.explaind.example"):
        assert not let_in(guard, name)
        assert not let_in(guard, "localhost", f"https://{name}")
    assert let_in(CrossSiteGuard("127.0.0.1", ["*"]), "anything.example", "https://evil.example")


def test_a_service_open_on_purpose_answers_to_any_name_but_only_its_own_pages() -> None:
    guard = CrossSiteGuard("0.0.0.0", [])  # noqa: S104
    assert let_in(guard, "explaind.internal:8000")
    assert let_in(guard, "explaind.internal:8000", "http://explaind.internal:8000")
    assert not let_in(guard, "explaind.internal:8000", "https://evil.example")
    assert not let_in(guard, "explaind.internal:8000", "http://localhost"), "a page of the caller's own machine"
    assert not let_in(CrossSiteGuard("0.0.0.0", ["explaind.internal"]), "evil.example")  # noqa: S104


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/jobs"), ("POST", "/explain/shap"), ("POST", f"/jobs/job_{'0' * 26}/cancel"), ("GET", "/nowhere")],
)
async def test_over_http(client, expect_problem, shap, headers, method: str, path: str) -> None:
    problem = expect_problem(await client.request(method, path, json=shap, headers=headers), 403, "not_permitted")
    assert "EXPLAIND_ALLOWED_HOSTS" in problem["hint"]
    assert (await client.get("/healthz", headers=headers)).status_code == 200


async def test_whoever_shows_a_key_may_come_from_anywhere(client, issue, forgetful) -> None:
    """Behind a reverse proxy, or from a page that knows the key."""
    headers = {"Authorization": f"Bearer {issue('read').key}", "Host": "x.example", "Origin": "https://y.example"}
    assert (await client.get("/jobs", headers=headers)).status_code == 200


async def test_names_come_from_the_environment(redis_url, client_of, monkeypatch) -> None:
    monkeypatch.setenv("EXPLAIND_ALLOWED_HOSTS", " a.example, *.b.example,")
    settings = ServiceSettings(redis_url=redis_url)
    assert settings.allowed_hosts == ["a.example", "*.b.example"]
    async with client_of(create_app(settings)) as client:
        assert (await client.get("/jobs", headers={"Host": "a.example"})).status_code == 200
        assert (await client.get("/jobs", headers={"Host": "c.example"})).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Referer": "https://evil.example/form"}, 403),
        ({"Referer": "http://localhost/docs"}, 201),
    ],
)
async def test_a_form_of_another_site_uploads_nothing(client, headers: dict[str, str], status: int) -> None:
    """A browser sends it without asking first."""
    files = {"file": ("rows.csv", b"a\n1\n")}
    answer = await client.post("/datasets", files=files, headers={"Host": "localhost", **headers})
    assert answer.status_code == status
    followed = await client.get("/datasets", headers={"Host": "localhost", "Sec-Fetch-Site": "cross-site"})
    assert (followed.status_code, len(followed.json()["data"])) == (200, int(status == 201))
