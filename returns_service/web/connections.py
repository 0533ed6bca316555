"""What a connection may take: bytes of headers, seconds for headers, body and silence, and its share of all there are.

uvicorn bounds how long a connection may idle after a request, and nothing else: a connection that sends nothing,
or a byte a minute, would be kept for ever. Its protocol class is the only place that sees a request before it is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from returns_service.domain.problems import Problem, ProblemCode
from returns_service.web.context import Context
from returns_service.web.errors import PROBLEM_JSON, ClientGone, headers_of, new_request_id, problem_body

# After the application's own time-out, whose answer says why: for bodies that it doesn't wait for, having refused them.
GRACE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may take, and how many there may be."""

    header_bytes: int
    header_seconds: float
    body_seconds: float
    idle_seconds: float
    connections: int


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with limits; `bounded_protocol` gives it its own."""

    limits: ConnectionLimits
    refuse: Callable[[ProblemCode], bytes]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection in, unless there are as many as may be."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = self._raw_head_bytes = 0
        self._in_head = self._in_message = self._refused = False
        if len(self.connections) > self.limits.connections:
            self._end("too_many_connections")
        else:
            self._allow(self.limits.idle_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a header grows beyond its limit: the parser tells of one only once it is whole."""
        if self._refused:
            return
        if self._in_head:
            self._raw_head_bytes += len(data)
            if self._raw_head_bytes > self.limits.header_bytes:
                self._end("headers_too_large")
                return
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Say what was wrong with what the parser gave up."""
        self._end("headers_too_large" if self._head_bytes > self.limits.header_bytes else "malformed_request")

    def on_message_begin(self) -> None:
        """Begin to read a request: its headers have their time from now on."""
        super().on_message_begin()
        self._in_head = self._in_message = True
        self._head_bytes = self._raw_head_bytes = 0
        self._allow(self.limits.header_seconds, "request_timeout")

    def on_url(self, url: bytes) -> None:
        """Read a part of the address."""
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a header."""
        self._grow(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin with the body, which has its time from now on."""
        self._in_head = False
        self._allow(self.limits.body_seconds + GRACE_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request; how long its answer takes is the application's affair."""
        super().on_message_complete()
        self._in_message = False
        if self.cycle.response_complete:
            self._allow(self.limits.idle_seconds)
        else:
            self._stop_timer()

    def on_response_complete(self) -> None:
        """End an answer; the next request may be long in coming, though not for ever."""
        super().on_response_complete()
        if not self._in_message and self.cycle.response_complete:
            self._allow(self.limits.idle_seconds)

    def pause_writing(self) -> None:
        """Wait for a reader that doesn't take its answer, though not for ever."""
        super().pause_writing()
        self._allow(self.limits.body_seconds)

    def resume_writing(self) -> None:
        """Go on: the reader takes its answer."""
        super().resume_writing()
        if not self._in_message:
            self._stop_timer()

    def _grow(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.limits.header_bytes:
            raise ValueError("the headers are too large")  # the parser ends with this, and `send_400_response` tells it

    def _allow(self, seconds: float, code: ProblemCode | None = None) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._end, code)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, code: ProblemCode | None) -> None:
        """Hang up; with a word on why, unless it would land in an earlier request's answer."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        if code is None:
            self.transport.abort()
            return
        under_way: RequestResponseCycle | None = self.cycle  # None before the first request
        if under_way is not None and not under_way.response_complete:
            self.transport.close()
            return
        self._refused = True
        self.transport.write(type(self).refuse(code))
        # Closed at once, while more is coming, the connection would be reset and the answer with it.
        self.transport.write_eof()
        self._allow(GRACE_SECONDS)


def bounded_protocol(context: Context) -> type[BoundedProtocol]:
    """Return uvicorn's protocol with the limits of the settings."""
    settings = context.settings

    def refuse(code: ProblemCode) -> bytes:
        return refusal(context, code)

    chosen = ConnectionLimits(
        settings.header_bytes,
        settings.header_seconds,
        settings.body_seconds,
        settings.idle_seconds,
        settings.connections,
    )
    return type("Protocol", (BoundedProtocol,), {"limits": chosen, "refuse": staticmethod(refuse)})


def refusal(context: Context, code: ProblemCode) -> bytes:
    """Return the whole answer to a request that never was one; count it."""
    problem, request_id = Problem(code), new_request_id(context)
    context.metrics.requests.labels("", "none", problem.kind.status).inc()
    base = context.settings.public_url or ""
    body = msgspec.json.encode(problem_body(problem, base=base, instance="", request_id=request_id))
    headers = {
        "Content-Type": PROBLEM_JSON,
        "Content-Length": str(len(body)),
        "Request-Id": request_id,
        "Connection": "close",
        **headers_of(problem),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[problem.kind.status] + lines.encode() + b"\r\n" + body


def bound_bodies(app: ASGIApp) -> ASGIApp:
    """Return the application with an end to each wait for a body.

    A slow one is Problem request_timeout, one whose sender hung up ClientGone: neither is a mistake of ours.
    """

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        context: Context = scope["litestar_app"].state.context
        loop = asyncio.get_running_loop()
        deadline, whole = loop.time() + context.settings.body_seconds, False

        async def receive_in_time() -> Any:
            nonlocal whole
            if whole:  # only the end of the connection is waited for, while a stream is sent
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message: dict[str, Any] = await cast("Awaitable[Any]", receive())
            except TimeoutError:
                raise Problem("request_timeout") from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            whole = not message.get("more_body", False)
            return message

        await app(scope, receive_in_time, send)

    return bounded
