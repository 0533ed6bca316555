"""The API's contract as a file and as a page; the page asks no other host for anything."""

from __future__ import annotations

from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.exceptions import NotFoundException
from swagger_ui_bundle import swagger_ui_path

from returns_service.web.api.openapi import document, json_document

FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
START = 'SwaggerUIBundle({url: "openapi.yaml", dom_id: "#swagger-ui", deepLinking: true});\n'
# Swagger UI lays answers out as a table, 794 px wide: a phone gets its cells below each other.
NARROW = """@media (max-width: 800px) {
  .swagger-ui .responses-table :is(thead, tbody, tr, td) { display: block; width: auto; }
  .swagger-ui .responses-table thead { display: none; }
  .swagger-ui .operation-link pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  .swagger-ui table { display: block; max-width: 100%; overflow-x: auto; }
}
"""
OURS = {"start.js": ("text/javascript", START), "narrow.css": ("text/css", NARROW)}
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Returns API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/narrow.css">
<main id="swagger-ui"></main>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
# Swagger UI sets styles from its script and draws its icons from data: addresses.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)


@get("/openapi.yaml", include_in_schema=False, sync_to_thread=True, name="openapi")
def openapi_yaml(request: Request[Any, Any, Any]) -> Response[str]:
    """Return the contract, OpenAPI 3.1."""
    return Response(document(request.app.state.operations), media_type="application/yaml")


@get("/openapi.json", include_in_schema=False, sync_to_thread=True, name="openapi_json")
def openapi_json(request: Request[Any, Any, Any]) -> Response[str]:
    """Return the contract as JSON."""
    return Response(json_document(request.app.state.operations), media_type="application/json")


@get("/docs", include_in_schema=False, sync_to_thread=False, name="docs")
def docs_page(request: Request[Any, Any, Any]) -> Response[str]:
    """Show the contract as a page; `/docs/` leads there, since the page's links are beside it."""
    if request.scope["raw_path"].endswith(b"/"):
        return Response("", status_code=308, headers={"Location": "../docs"})
    return Response(PAGE, media_type=MediaType.HTML, headers={"Content-Security-Policy": POLICY})


@get("/docs/{name:str}", include_in_schema=False, sync_to_thread=True, name="docs_file")
def docs_file(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return one of the page's files."""
    name: str = request.path_params["name"]
    if name in OURS:
        content_type, text = OURS[name]
        return Response(text.encode(), media_type=content_type)
    if name not in FILES:
        raise NotFoundException
    content = (swagger_ui_path / name).read_bytes()
    return Response(content, media_type=FILES[name], headers={"Cache-Control": "max-age=86400"})


HANDLERS = [openapi_yaml, openapi_json, docs_page, docs_file]
