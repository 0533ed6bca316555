"""One log line, one observation and one span for each request: its route, status, duration, caller and id."""

from __future__ import annotations

from time import perf_counter

import structlog
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from returns_service import timings, tracing
from returns_service.web.errors import ACTOR, request_id_in

OF_MACHINES = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds, by nobody in particular
log = structlog.get_logger("returns.http")


def with_access_log(app: ASGIApp) -> ASGIApp:
    """Return the application that tells of each request once it is answered, by its route and never by its path.

    Paths and queries hold signed links and customers' names; a route holds neither.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        began, status, method = perf_counter(), 0, str(scope.get("method", ""))

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with tracing.span(method, kind="SERVER", parent=_traceparent(scope)) as span:
            try:
                await app(scope, receive, send_noted)
            finally:
                seconds, route = perf_counter() - began, scope.get("path_template") or "none"
                request_id = request_id_in(scope)
                timings.REQUESTS.labels(route).observe(seconds)
                span.rename(f"{method} {route}")
                span.tell({"http.route": route, "http.response.status_code": status, "request.id": request_id})
                (log.debug if route in OF_MACHINES else log.info)(
                    "http.request",
                    method=method,
                    route=route,
                    status=status,
                    ms=round(seconds * 1000, 1),
                    by=scope["state"].get(ACTOR),
                    request_id=request_id,
                )

    return answer


def _traceparent(scope: Scope) -> str | None:
    """Return the trace that the caller goes on with."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)
