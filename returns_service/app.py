"""The running processes: `serve` answers requests, with a worker inside or beside it; `work` only works."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address

import structlog
import uvicorn
from litestar import Litestar
from prometheus_client import start_http_server
from sqlalchemy.exc import SQLAlchemyError

from returns_service import tracing
from returns_service.identity_provider import provider_of
from returns_service.settings import Settings, SettingsError
from returns_service.store.database import Database
from returns_service.stripe_gateway import Gateway
from returns_service.web.connections import bounded_protocol
from returns_service.web.context import Context
from returns_service.web.metrics import worker_registry
from returns_service.web.operations.ask_stripe import learn_account
from returns_service.web.routes import litestar_app
from returns_service.webhook_client import WebhookClient
from returns_service.wiring import (
    check_portal_texts,
    database_of,
    gateway_of,
    keep_policy,
    policy_of,
    prepare,
    web_gateway_of,
    worker_of,
)
from returns_service.worker.loop import Worker

FILES_BESIDE_CONNECTIONS = 256  # that a process has open: the database's, Stripe's, listeners', its own
log = structlog.get_logger("returns.start")


async def learn_account_once(database: Database, gateway: Gateway, settings: Settings) -> None:
    """Learn our account's id beside the start: Stripe may be away, and nothing waits for it."""
    try:
        await learn_account(database, gateway, settings.stripe_account)
    except (SQLAlchemyError, OSError) as error:
        log.warning("stripe.account_not_kept", error=type(error).__name__)


async def end(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for its end."""
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Server(uvicorn.Server):
    """uvicorn that ends live streams when told to stop, and says when it is ready."""

    def __init__(self, config: uvicorn.Config, context: Context, *, own_signals: bool) -> None:
        super().__init__(config)
        self.context = context
        self.own_signals = own_signals
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End with exit status 0 when told to stop; leave signals alone where somebody else runs the loop."""
        if self.own_signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self.stop)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.ready.set()

    def stop(self) -> None:
        """Begin to stop: no new requests, streams end, the rest may finish; told twice, at once."""
        self.force_exit = self.should_exit
        self.context.closing.set()
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises SettingsError with what to do.

    An IPv6 address takes no IPv4 callers: theirs would look like `::ffff:10.0.0.5`, and be no trusted proxy's.
    """
    try:
        return socket.create_server((host, port), family=family_of(host), backlog=2048)
    except OSError as error:
        raise SettingsError(f"Can't listen on {host}:{port} ({error.strerror}). Choose another with --port") from None


def family_of(host: str) -> socket.AddressFamily:
    """Return the kind of an address to listen on, or of a name."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address_of(listener: socket.socket) -> str:
    """Return the address of a socket that listens, as a browser on this machine writes it."""
    host, port = listener.getsockname()[:2]
    is_ipv6 = ":" in host
    if ip_address(host).is_unspecified:
        host = "::1" if is_ipv6 else "127.0.0.1"
    return f"http://[{host}]:{port}" if is_ipv6 else f"http://{host}:{port}"


def allow_files(number: int) -> None:
    """Let this process have so many files open, if it may: a connection is one, and 1,024 a common limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        number = min(number, hard)
    if soft not in (resource.RLIM_INFINITY, number) and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


async def serve(
    settings: Settings,
    listener: socket.socket,
    *,
    with_worker: bool,
    own_signals: bool = True,
    reusable_links: bool = False,
    on_ready: Callable[[Server], None] = lambda _: None,
    lifeline: int | None = None,
) -> None:
    """Serve until told to stop: requests and the worker's calls end, then the connections.

    `reusable_links`: let people in by links that work more than once, as the demo makes them.
    `lifeline`: a file that ends with the process that started this one; then it is time to stop as well.
    """
    start_traces(settings)
    check_portal_texts(settings)
    provider = provider_of(settings)
    database, gateway, policy = database_of(settings), web_gateway_of(settings), policy_of(settings)
    workers_gateway = gateway_of(settings)
    learning: asyncio.Task[None] | None = None
    try:
        await prepare(database, settings)
        await keep_policy(database, policy)
        learning = asyncio.create_task(learn_account_once(database, gateway, settings))
        context = Context(database=database, gateway=gateway, settings=settings, policy=policy)
        context.reusable_links = reusable_links
        context.address = address_of(listener)
        context.provider = provider
        worker = worker_of(settings, database, workers_gateway, policy, context.line)
        if with_worker:
            context.metrics.follow(worker.executor.done)

        @contextlib.asynccontextmanager
        async def worker_inside(_: object) -> AsyncIterator[None]:
            # It is told to stop when the server is: no claims are made while the last requests end.
            work = asyncio.create_task(worker.run(context.closing))
            try:
                yield
            finally:
                context.closing.set()
                await work
                await context.line.close()

        allow_files(settings.connections + FILES_BESIDE_CONNECTIONS)
        application = litestar_app(context, lifespan=[worker_inside] if with_worker else [])
        config = config_of(application, context)
        server = Server(config, context, own_signals=own_signals)
        stop_with_parent(lifeline, server.stop)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        ready = asyncio.create_task(server.ready.wait())
        await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not serving.done():
            on_ready(server)
            gc.freeze()
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.stop()
            await serving
            raise
    finally:
        await end(learning)
        if provider is not None:
            await provider.close()
        await gateway.close()
        await workers_gateway.close()
        await database.close()
        listener.close()
        await asyncio.to_thread(tracing.stop_tracing)


def config_of(application: Litestar, context: Context) -> uvicorn.Config:
    """Return how uvicorn serves the application: within the settings' limits, believing trusted proxies alone."""
    settings = context.settings
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=int(settings.shutdown_seconds),
        http=bounded_protocol(context),
        timeout_keep_alive=math.ceil(settings.idle_seconds),
        server_header=False,
        date_header=True,
        # uvicorn's own default would believe whoever calls from this machine: any process, any port forwarding.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
    )


def stop_with_parent(lifeline: int | None, stop: Callable[[], object]) -> None:
    """Stop once a file that the parent alone holds open comes to its end."""
    if lifeline is None:
        return
    loop, end = asyncio.get_running_loop(), lifeline

    def stop_once() -> None:
        loop.remove_reader(end)
        stop()

    loop.add_reader(end, stop_once)


def start_traces(settings: Settings) -> None:
    """Send traces where the settings say. Raises SettingsError."""
    try:
        tracing.start_tracing(settings.otel_endpoint)
    except tracing.TracingMissing as error:
        raise SettingsError(str(error)) from None


@contextlib.contextmanager
def figures_shown(worker: Worker, host: str, port: int) -> Iterator[None]:
    """Answer Prometheus with a worker's own figures meanwhile, in a thread. Raises SettingsError."""
    try:
        server, thread = start_http_server(port, host, worker_registry(worker.executor.done))
    except OSError as error:
        why = f"Can't listen on {host}:{port} ({error.strerror}). Choose another with --metrics-port"
        raise SettingsError(why) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def work(
    settings: Settings,
    on_ready: Callable[[], None] = lambda: None,
    figures_at: tuple[str, int] | None = None,
    *,
    lifeline: int | None = None,
) -> None:
    """Work until SIGTERM or Ctrl-C, or until the `lifeline` of `serve` ends.

    `figures_at`: a host and a port for Prometheus; without them nothing listens.
    """
    start_traces(settings)
    end_figures = contextlib.ExitStack()
    database, gateway, policy = database_of(settings), gateway_of(settings), policy_of(settings)
    line = WebhookClient(allow_private=settings.webhooks_allow_private)
    learning: asyncio.Task[None] | None = None
    try:
        await prepare(database, settings)
        await keep_policy(database, policy)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        stop_with_parent(lifeline, stop.set)
        learning = asyncio.create_task(learn_account_once(database, gateway, settings))
        worker = worker_of(settings, database, gateway, policy, line)
        if figures_at is not None:
            end_figures.enter_context(figures_shown(worker, *figures_at))
        on_ready()
        gc.freeze()  # modules loaded at the start live on: no collection has to walk through them while calls wait
        await worker.run(stop)
    finally:
        end_figures.close()
        await line.close()
        await end(learning)
        await gateway.close()
        await database.close()
        await asyncio.to_thread(tracing.stop_tracing)
