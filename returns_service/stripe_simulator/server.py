"""The simulator over HTTP: a bare ASGI app, and ways to run it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, MutableMapping
from random import Random
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from . import control, routes
from .api import Request, Response, enter, format_date, leave
from .control import Control, Stats
from .faults import Fault, Faults
from .inject import answer_with_fault
from .ledger import Ledger
from .webhook_sender import WebhookSender

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PORT = 12111
MAX_BODY_BYTES = 1 << 20
GRACE_SECONDS = 2  # for calls under way when the server stops
IDLE_SECONDS = 75  # as Stripe's own edge: longer than any SDK keeps a connection, so that no call meets a closing one

_CUT = "simulator.cut"  # ASGI extension: cuts the connection


class Simulator:
    """The ASGI app. Its lifespan makes the ledger's due moves and posts the webhooks."""

    def __init__(self, ledger: Ledger, faults: Faults, hosts: Iterable[str] = ()) -> None:
        self.ledger = ledger
        self.faults = faults
        self.stats = Stats()
        self._webhook_sender: WebhookSender | None = None
        self.control = Control(ledger, faults, self.stats, self._wake, frozenset(hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        elif scope["type"] == "http":
            await self._handle(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._webhook_sender = WebhookSender(self.ledger, self.faults)
        work = asyncio.create_task(self._webhook_sender.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        await send({"type": "lifespan.shutdown.complete"})

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        if body is not None:
            await self._handle_body(body, scope, receive, send)

    async def _handle_body(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
            body,
        )
        response: Response | None
        if len(body) > MAX_BODY_BYTES:
            response = Response(413, {"Connection": "close"}, b"")
        elif request.path.startswith(control.PREFIX.rstrip("/")):
            response = self.control.answer(request)
        else:
            response = await self.respond(request)
        if response is not None:
            await _send(send, response, format_date(self.ledger))
            return
        cut = scope.get("extensions", {}).get(_CUT)
        if cut is None:
            raise ConnectionAbortedError("this server cannot cut a connection")
        cut()
        while (await receive())["type"] != "http.disconnect":
            pass

    async def respond(self, request: Request) -> Response | None:
        """Answer a call to the API. None: cut the connection."""
        match = routes.find(request.method, request.path)
        self.stats.calls[f"{request.method} {match[0].template if match else '(unknown)'}"] += 1
        if (request.method, request.path) == ("POST", "/v1/refunds"):
            self.stats.refunds_asked_at.append(self.ledger.now())
        fault = self.faults.draw_fault(request.method, request.path)
        response = await self._answer(request, fault)
        self._wake()
        self.stats.statuses["cut" if response is None else str(response.status)] += 1
        if response is not None and "Idempotent-Replayed" in response.headers:
            self.stats.replays += 1
        return response

    async def _answer(self, request: Request, fault: Fault | None) -> Response | None:
        seconds = self.ledger.settings.latency_seconds + (fault.seconds if fault is not None else 0)
        if seconds:
            refusal = enter(self.ledger, request)
            if refusal is not None:
                return refusal
            try:
                await asyncio.sleep(seconds)
            finally:
                leave(self.ledger, request)
        return answer_with_fault(self.ledger, request, fault)

    def _wake(self) -> None:
        if self._webhook_sender is not None:
            self._webhook_sender.wake()


def create_app(
    ledger: Ledger,
    faults: Faults,
    *,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    hosts: Iterable[str] = (),
) -> Simulator:
    """Return the ASGI app. With `webhook_url`, it posts all events there, signed with `webhook_secret`.

    `hosts`: names beside those of this machine under which the control path answers.
    """
    if webhook_url is not None:
        ledger.add_endpoint(webhook_url, webhook_secret).is_trusted = True
    return Simulator(ledger, faults, hosts)


@contextlib.asynccontextmanager
async def running(
    ledger: Ledger,
    faults: Faults | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    hosts: Iterable[str] = (),
) -> AsyncIterator[str]:
    """Serve inside the running event loop and yield the address, `http://127.0.0.1:54321`. Port 0: any free port.

    The control path answers under the names of this machine, under `host` and under `hosts`. Raises OSError if the
    port is in use.
    """
    faults = faults or Faults(ledger.random)
    app = create_app(ledger, faults, webhook_url=webhook_url, webhook_secret=webhook_secret, hosts=(host, *hosts))
    listener = _bind(host, port)
    config = uvicorn.Config(
        app, http=_Cuttable, lifespan="on", ws="none", log_config=None, access_log=False, log_level=logging.WARNING,
        date_header=False,  # the app sends its own, from the simulator's clock
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=IDLE_SECONDS,
    )  # fmt: skip
    server = _Server(config)
    work = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        ready = asyncio.create_task(server.ready.wait())
        await asyncio.wait([work, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if work.done():
            work.result()
            raise RuntimeError("the simulator stopped before it was ready")
        yield _format_address(listener)
    finally:
        server.should_exit = True
        await asyncio.shield(work)
        listener.close()


async def serve(
    host: str = "127.0.0.1",
    port: int = PORT,
    *,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    seed: int | None = None,
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve a new ledger until cancelled; call `on_ready` with the address once the server accepts connections.

    The same `seed` makes the same ids. Raises OSError if the port is in use.
    """
    random = Random(seed)
    ledger = Ledger(time.time, random)
    async with running(
        ledger, Faults(Random(random.random())), host=host, port=port,
        webhook_url=webhook_url, webhook_secret=webhook_secret,
    ) as address:  # fmt: skip
        on_ready(address)
        await asyncio.Event().wait()


def run(
    host: str = "127.0.0.1",
    port: int = PORT,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    seed: int | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM; print `ready` and the address once the server accepts connections."""

    async def serve_until_signal() -> None:
        work = asyncio.create_task(
            serve(
                host, port, webhook_url=webhook_url, webhook_secret=webhook_secret, seed=seed,
                on_ready=lambda address: print(f"ready {address}", flush=True),
            )
        )  # fmt: skip
        with contextlib.suppress(NotImplementedError):  # Windows has no such signals
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, work.cancel)
        await work

    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(serve_until_signal())


class _Server(uvicorn.Server):
    """A server that leaves signals to the owner of the loop and sets `ready` once it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready.set()


class _Cuttable(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """A protocol that lets the app cut its connection, for which ASGI has no message."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        app: Callable[[Scope, Receive, Send], Awaitable[None]] = self.config.loaded_app

        async def call_app(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[_CUT] = transport.abort
            await app(scope, receive, send)

        self.app = call_app


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol is named; the delay costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _format_address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _read(receive: Receive) -> bytes | None:
    """Return the body, at most a little beyond the limit; None if the caller hung up."""
    parts, size = [], 0
    while size <= MAX_BODY_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if not message.get("more_body", False):
            break
    return b"".join(parts)


async def _send(send: Send, response: Response, date: str) -> None:
    headers = {"Date": date, **response.headers, "Content-Length": str(len(response.body))}
    names = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": names})
    await send({"type": "http.response.body", "body": response.body})
