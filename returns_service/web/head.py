"""HEAD wherever GET is: the same answer, without its body."""

from __future__ import annotations

from typing import cast

from litestar import HttpMethod
from litestar.datastructures import MutableScopeHeaders
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

ASKED = "head_asked"  # in a connection's state: what would go on for long needs not begin


def with_head(app: ASGIApp) -> ASGIApp:
    """Return the application that answers HEAD as it answers GET."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "HEAD":
            await app(scope, receive, send)
            return
        http, over = cast("HTTPScope", scope), False

        async def send_head(message: Message) -> None:
            nonlocal over
            if message["type"] == "http.response.start":
                http["method"] = HttpMethod.HEAD  # the server and the figures are told what was asked
                await send(message)
            elif message["type"] == "http.response.body" and not over:
                over = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        http["method"] = HttpMethod.GET
        http["state"][ASKED] = True
        await app(scope, receive, send_head)

    return answer


def complete_allow(headers: MutableScopeHeaders, scope: Scope) -> None:
    """Let an `Allow` name every method of the path: the framework's for OPTIONS knows one handler's, and no HEAD."""
    if "allow" not in headers:
        return
    allowed = {method.strip() for method in headers["allow"].split(",")}
    for route in scope["litestar_app"].routes:
        if isinstance(route, HTTPRoute) and route.path_format == scope.get("path_template"):
            allowed |= {str(method) for method in route.methods}
    headers["Allow"] = ", ".join(sorted(allowed | {"HEAD"} if "GET" in allowed else allowed))
