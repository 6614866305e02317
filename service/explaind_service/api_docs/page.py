"""The routes of /docs: the page, its scripts and its styles, none of them from another host."""

import gzip
from functools import cache
from importlib.resources import files

from anyio import to_thread
from fastapi import FastAPI
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

VERSION = "5.35.0"  # of Swagger UI: assets/NOTICE
PATH = "/docs"
BUNDLE, STYLES, START, ICON = "swagger-ui-bundle.js", "swagger-ui.css", "start.js", "icon.svg"
ASSETS = {
    BUNDLE: "text/javascript",
    STYLES: "text/css",
    START: "text/javascript",
    ICON: "image/svg+xml",
}
# What a browser may load of the page without a key; everything in it is the same for everybody.
PATHS = frozenset({PATH, *(f"{PATH}/{name}" for name in ASSETS)})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CACHED = "public, max-age=86400"

# Addresses are relative to the page's own, which may be behind a prefix.
PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>explaind API</title>
<link rel="icon" href="docs/{ICON}" type="image/svg+xml">
<link rel="stylesheet" href="docs/{STYLES}?v={VERSION}">
</head>
<body>
<p style="font: 14px sans-serif; text-align: right; margin: 8px"><a href="openapi.json">openapi.json</a></p>
<div id="docs">Loading the description of the API…</div>
<noscript>This page needs JavaScript; <a href="openapi.json">openapi.json</a> is what it shows.</noscript>
<script src="docs/{BUNDLE}?v={VERSION}"></script>
<script src="docs/{START}"></script>
</body>
</html>
"""
PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#1f4e79"/>
<path d="M3 5h3v6H3z" fill="#f0a976"/><path d="M7 3h3v10H7z" fill="#ed8b47"/>
<path d="M11 7h2v2h-2z" fill="#8fb8de"/></svg>
"""


def add_docs(app: FastAPI) -> None:
    """Adds the page and its files to an application, whose OpenAPI document they show."""

    async def page(_: Request) -> Response:
        # The document takes seconds to make: by the time that the browser asks for it, it is under way.
        made = BackgroundTask(to_thread.run_sync, app.openapi)
        return Response(PAGE, media_type="text/html", headers={"Content-Security-Policy": POLICY}, background=made)

    app.add_route(PATH, page, include_in_schema=False)
    for name in ASSETS:
        app.add_route(f"{PATH}/{name}", _asset(name), include_in_schema=False)


def _asset(name: str):
    async def asset(request: Request) -> Response:
        packed = _packed(name)
        headers = {"Cache-Control": CACHED, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", "").lower():
            headers["Content-Encoding"] = "gzip"
            return Response(packed, media_type=ASSETS[name], headers=headers)
        return Response(await to_thread.run_sync(gzip.decompress, packed), media_type=ASSETS[name], headers=headers)

    return asset


@cache
def _packed(name: str) -> bytes:
    if name == ICON:
        return gzip.compress(PICTURE.encode())
    folder = files("explaind_service.api_docs").joinpath("assets")
    if name == START:
        return gzip.compress(folder.joinpath(name).read_bytes())
    return folder.joinpath(f"{name}.gz").read_bytes()
