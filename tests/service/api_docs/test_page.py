"""The page at /docs: all of it from this service, and closed at first."""

import re

from explaind_service.api_docs.page import ASSETS, PATHS
from explaind_service.middleware.authentication import OPEN_PATHS

ADDRESS = re.compile(r"""(?:src|href|url|fetch)\s*[=:(]\s*["']?([^"')>\s]+)""")


async def test_everything_in_the_page_comes_from_this_service(client) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    script = (await client.get("/docs/start.js")).text
    named = ADDRESS.findall(page.text) + ADDRESS.findall(script)
    assert len(named) >= 5
    for address in named:
        assert "//" not in address, "of another host"
        assert (await client.get(f"/{address}")).status_code == 200
    assert "http" not in page.text + script
    styles = (await client.get("/docs/swagger-ui.css")).text
    assert all(address.startswith("data:") for address in ADDRESS.findall(styles) if "//" in address)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert (await client.get("/redoc")).status_code == 404


async def test_the_page_is_closed_at_first(client) -> None:
    script = (await client.get("/docs/start.js")).text
    assert 'docExpansion: "none"' in script
    assert "defaultModelsExpandDepth: -1" in script
    assert "validatorUrl: null" in script


async def test_its_files_need_no_key_and_may_be_kept(client) -> None:
    assert PATHS <= OPEN_PATHS
    for name, media in ASSETS.items():
        packed = await client.get(f"/docs/{name}")
        plain = await client.get(f"/docs/{name}", headers={"Accept-Encoding": "identity"})
        assert packed.headers["content-type"].startswith(media)
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert packed.content == plain.content
        assert "max-age" in packed.headers["cache-control"]
    assert (await client.get("/docs/nothing.js")).status_code == 404
