"""The guard: what a URL may and may not reach, before and after its name is resolved."""

from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from explaind.contract.errors import InvalidRequest
from explaind_service.settings import ServiceSettings
from explaind_service.webhooks.ssrf_guard import Resolve, WebhookGuard, resolved

PUBLIC_V4, PUBLIC_V6 = "93.184.216.34", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"

REFUSED = {
    # numbers that the system's resolver takes for 127.0.0.1 or 0.0.0.0
    "https://2130706433/": "not an address in full",
    "https://0x7f.1/": "not an address in full",
    "https://0x7f000001/": "not an address in full",
    "https://0X7F000001/": "not an address in full",
    "https://127.1/": "not an address in full",
    "https://127.0.1/": "not an address in full",
    "https://0/": "not an address in full",
    "https://0x/": "not an address in full",
    "https://017700000001/": "not an address in full",
    "https://0177.0.0.1/": "",
    "https://127.0.0.01/": "",
    "https://evil.example.1/": "not an address in full",
    "https://127.0.0.1./": "not a name",
    "https://1.2.3.4.5/": "not an address in full",
    "https://256.256.256.256/": "",
    # other spellings
    "https://１２７.０.０.１/": "",
    "https://127。0。0。1/": "not a public one",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/": "",
    "https://%6c%6f%63alhost/": "percent",
    "https://xn--/": "",
    "https://exa mple.com/": "space",
    "https://a..example.com/": "not a name",
    "https://-a.example.com/": "not a name",
    "https://" + "a" * 64 + ".example.com/": "not a name",
    "https://" + "a." * 127 + "com/": "not a name",
    "https://a!b.example.com/": "not a name",
    "https://[::1]/": "not a public one",
    "https://[::]/": "not a public one",
    "https://[::ffff:7f00:1]/": "not a public one",
    "https://[::ffff:169.254.169.254]/": "not a public one",
    "https://[64:ff9b::7f00:1]/": "not a public one",
    "https://[64:ff9b:1::a00:1]/": "not a public one",
    "https://[2002:7f00:1::]/": "not a public one",
    "https://[fe80::1%25eth0]/": "percent",
    "https://[::1/": "not a URL",
    "https://127.0.0.1/": "not a public one",
    "https://169.254.169.254/latest/meta-data": "not a public one",
    "https://10.0.0.1/": "not a public one",
    "https://100.64.0.1/": "not a public one",
    "https://224.0.0.1/": "not a public one",
    # names that are nobody's on the Internet
    "https://localhost/": "not a name of the public Internet",
    "https://LOCALHOST/": "not a name of the public Internet",
    "https://redis/": "not a name of the public Internet",
    "https://a.localhost/": "not a name of the public Internet",
    "https://metadata.google.internal/": "not a name of the public Internet",
    "https://printer.local/": "not a name of the public Internet",
    # schemes, ports, parts
    "http://example.com/": "begins with https",
    "http://8.8.8.8/": "begins with https",
    "ftp://example.com/": "begins with https",
    "file:///etc/passwd": "begins with https",
    "https://example.com:22/": "Port 22",
    "https://8.8.8.8:6379/": "Port 6379",
    "https://example.com:80/": "Port 80",
    "http://example.com:443/": "begins with https",
    "https://u:p@8.8.8.8/": "password",
    "https://8.8.8.8@127.0.0.1/": "user name",
    "https://example.com\\@127.0.0.1/": "backslash",
    "https://example.com/#x": "fragment",
    "https://example.com/\r\nHost: x": "control",
    "https:///x": "no host",
}

ALLOWED = [
    "https://example.com/hooks?run=7&to=a@b",
    "https://example.com:443/",
    "https://EXAMPLE.com",
    "https://bücher.example/",
    "https://xn--bcher-kva.example/",
    "https://a_b.example.com/",
    "https://8.8.8.8/",
    "https://[2606:4700::1111]/",
    "https://[::ffff:8.8.8.8]/",
]


def answering(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


async def never(host: str, port: int) -> Sequence[str]:
    pytest.fail("no name may be looked up")


@pytest.mark.parametrize("url", REFUSED)
async def test_refused_before_anything_is_looked_up(url: str) -> None:
    guard = WebhookGuard(resolve=never)
    with pytest.raises(InvalidRequest) as caught:
        guard.check_url(url)
    assert [error.pointer for error in caught.value.errors] == ["/webhook/url"]
    assert REFUSED[url] in caught.value.detail
    assert caught.value.hint
    with pytest.raises(InvalidRequest):
        await guard.destination(url)


@pytest.mark.parametrize("url", REFUSED)
async def test_what_is_no_address_is_never_handed_to_the_resolver(url: str) -> None:
    """Even where private networks are allowed: only spelt-out addresses and names are."""
    seen: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        seen.append(host)
        return ["127.0.0.1"]

    guard = WebhookGuard(["172.20.0.0/16"], resolve)
    with pytest.raises(InvalidRequest):
        await guard.destination(url)
    assert not any(host.replace(".", "").isdigit() or host.startswith("0x") for host in seen)


@pytest.mark.parametrize("url", ALLOWED)
async def test_allowed(url: str) -> None:
    guard = WebhookGuard(resolve=answering(PUBLIC_V4, PUBLIC_V6))
    guard.check_url(url)
    destination = await guard.destination(url)
    assert destination.port == 443
    assert destination.addresses in {
        (PUBLIC_V4, PUBLIC_V6), ("8.8.8.8",), ("2606:4700::1111",), ("::ffff:8.8.8.8",), ("::ffff:808:808",),
    }  # fmt: skip


async def test_the_resolver_and_the_wire_see_the_ascii_name() -> None:
    seen: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        seen.append((host, port))
        return [PUBLIC_V4]

    destination = await WebhookGuard(resolve=resolve).destination("https://bücher.example/")
    assert seen == [("xn--bcher-kva.example", 443)]
    assert destination.host == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        (PUBLIC_V4, "127.0.0.1"),
        (PUBLIC_V4, PUBLIC_V6, "::ffff:10.0.0.1"),
        ("169.254.169.254", PUBLIC_V4),
        ("fe80::1%2",),
        ("64:ff9b::7f00:1",),
    ],
)
async def test_every_address_of_the_name_must_be_public(addresses: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest, match="not a public one"):
        await WebhookGuard(resolve=answering(*addresses)).destination("https://example.com/")


async def test_a_name_without_addresses_is_trouble_not_a_refusal() -> None:
    with pytest.raises(OSError, match="no address"):
        await WebhookGuard(resolve=answering()).destination("https://example.com/")


INSIDE = ["10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    "url", ["http://hooks:8080/x", "https://hooks:8443/", "http://hooks/", "http://10.2.3.4:9/", "https://[fd00::5]/"]
)
async def test_the_operators_networks_may_be_reached_by_any_way(url: str) -> None:
    guard = WebhookGuard(INSIDE, answering("10.1.1.1", "fd00::1", "::ffff:10.0.0.1"))
    guard.check_url(url)
    assert (await guard.destination(url)).addresses


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("http://hooks:8080/", (PUBLIC_V4,)),  # the Internet stays https on 443
        ("https://hooks:8443/", (PUBLIC_V4,)),
        ("http://hooks:8080/", ("10.0.0.1", PUBLIC_V4)),
        ("https://hooks/", ("10.0.0.1", "127.0.0.1")),
        ("https://hooks/", ("192.168.0.1",)),
        ("https://hooks/", ("fe80::1%2",)),
        ("http://127.0.0.1/", ()),
        ("https://192.168.0.1/", ()),
    ],
)
async def test_beyond_them_the_rules_stay(url: str, addresses: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest):
        await WebhookGuard(INSIDE, answering(*addresses)).destination(url)


async def test_a_name_may_be_both_inside_and_public_by_https() -> None:
    destination = await WebhookGuard(INSIDE, answering("10.0.0.1", PUBLIC_V4)).destination("https://hooks.example/")
    assert destination.addresses == ("10.0.0.1", PUBLIC_V4)


async def test_a_scoped_address_is_not_inside_its_network() -> None:
    with pytest.raises(InvalidRequest):
        await WebhookGuard(["fe80::/10"], answering("fe80::1%2")).destination("https://hooks.example/")


async def test_the_systems_resolver_finds_this_machine() -> None:
    assert set(await resolved("localhost", 443)) <= {"127.0.0.1", "::1"}
    with pytest.raises(InvalidRequest, match="not a name of the public Internet"):
        await WebhookGuard().destination("https://localhost/")


def test_networks_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLAIND_WEBHOOK_ALLOWED_NETWORKS", " 10.0.0.0/8, fd00::/8 ,")
    assert ServiceSettings().webhook_allowed_networks == INSIDE
    assert ServiceSettings(webhook_allowed_networks=["127.0.0.1"]).webhook_allowed_networks == ["127.0.0.1/32"]


@pytest.mark.parametrize("networks", ["10.0.0.1/8", "everything", "10.0.0.0/33"])
def test_networks_that_are_none_stop_the_start(networks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLAIND_WEBHOOK_ALLOWED_NETWORKS", networks)
    with pytest.raises(ValidationError, match=networks.partition("/")[0]):
        ServiceSettings()
