"""The one place that wires: settings, database, Stripe, web and worker become one running service."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from prometheus_client import start_http_server
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from returns_service import tracing
from returns_service.commands.policy_versions import keep_policy_version
from returns_service.commands.sealing import seal_anew
from returns_service.domain import policy as policies
from returns_service.domain.policy import Policy
from returns_service.mail_client import SmtpClient
from returns_service.mail_message import MailTextsError, load_texts
from returns_service.settings import Settings, SettingsError
from returns_service.store import schema
from returns_service.store.clock import Now, elapsed
from returns_service.store.database import Database, is_unavailable
from returns_service.store.tables import Payment
from returns_service.stripe_gateway import Gateway, StripeGateway
from returns_service.web.connections import bounded_protocol
from returns_service.web.context import Context, link_keys_of
from returns_service.web.metrics import worker_registry
from returns_service.web.operations.ask_stripe import learn_account
from returns_service.web.pages.portal_texts import PortalTextsError, check_texts
from returns_service.web.routes import litestar_app
from returns_service.webhook_client import WebhookClient
from returns_service.worker.deliveries import WebhookDispatcher
from returns_service.worker.loop import Worker
from returns_service.worker.mail import MailSender
from returns_service.worker.refunds import RefundExecutor

DATABASE_WAIT_SECONDS, DATABASE_AGAIN_SECONDS = 30.0, 0.5  # at a start: who starts us may start it as well
log = structlog.get_logger("returns.start")
CALL_SECONDS = 20.0  # a call's own limit: shorter than the lease, so its answer is written by its owner
TURN_SECONDS = 2.0  # that a request waits for its turn at Stripe: its caller does better to come back
CALLS_A_CORE, MOST_CALLS = 32, 256  # a core makes more than a hundred calls a second, each waits for 0.3 s
BESIDE_REFUNDS = 10  # connections to Stripe for a worker's chores, beside one for each piece of work under way
FILES_BESIDE_CONNECTIONS = 256  # that a process has open: the database's, Stripe's, listeners', its own


def policy_of(settings: Settings) -> Policy:
    """Return the policy in force. Raises PolicyError naming every mistake by line."""
    if settings.policy is None:
        return policies.DEFAULT
    return policies.parse(settings.policy.read_bytes(), str(settings.policy))


def database_of(settings: Settings, *, now: Now | None = None) -> Database:
    """Return the database; nothing is opened yet. `now`: another clock than the machine's, or the database's.

    Raises SettingsError for a file that can't be written.
    """
    if settings.database_url.startswith("sqlite:///"):
        file = Path(settings.database_url.removeprefix("sqlite:///").partition("?")[0])
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise SettingsError(f"DATABASE_URL: {file} can't be written. Name a file in a folder that is yours")
        keep_private(file)
    return Database(
        settings.database_url,
        now=now,
        pool_size=settings.database_pool,
        statement_timeout_seconds=settings.statement_timeout_seconds,
        sends_mail=settings.smtp is not None,
        listen_url=settings.database_listen_url,
        mails_staff=settings.smtp is not None and bool(settings.staff_mail),
        secret_keys=secret_keys_of(settings),
    )


def secret_keys_of(settings: Settings) -> list[bytes]:
    """Return the keys of sealed secrets; the first seals. Stripe's own is the last: it may have sealed some."""
    given = [key.get_secret_value().encode() for key in settings.secrets_key]
    stripe_key = settings.stripe_secret_key
    return [*given, *([stripe_key.get_secret_value().encode()] if stripe_key is not None else [])]


def keep_private(file: Path) -> None:
    """Let nobody but its owner read the database's file: customers and secrets are in it; SQLite's others follow it."""
    with contextlib.suppress(FileExistsError):
        file.touch(mode=0o600, exist_ok=False)
    for part in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
        if part.exists() and part.stat().st_uid == os.geteuid():
            part.chmod(0o600)


def gateway_of(settings: Settings) -> StripeGateway:
    """Return a worker's way to Stripe, no request's, everything set that it needs. Raises SettingsError."""
    settings.require_stripe()
    return open_gateway(settings, connections=worker_concurrency(settings) + BESIDE_REFUNDS)


def worker_concurrency(settings: Settings) -> int:
    """Return how many pieces of work a worker has under way at once: most of each is waiting for Stripe."""
    if settings.worker_concurrency is not None:
        return settings.worker_concurrency
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores * CALLS_A_CORE, MOST_CALLS)


def web_gateway_of(settings: Settings) -> StripeGateway:
    """Return the way of requests to Stripe: however many there are, the workers' calls don't wait for them.

    Raises SettingsError.
    """
    settings.require_stripe()
    return open_gateway(settings, connections=settings.stripe_calls, wait_seconds=TURN_SECONDS)


def open_gateway(settings: Settings, **options: Any) -> StripeGateway:
    """Return a way to Stripe with the key that is set. Raises SettingsError."""
    key = settings.stripe_secret_key
    try:
        return StripeGateway(
            key.get_secret_value() if key else "",
            api_base=settings.stripe_api_base,
            timeout_seconds=CALL_SECONDS,
            monotonic=elapsed,
            **options,
        )
    except ValueError as error:
        raise SettingsError(f"STRIPE_API_BASE: {error}") from None


async def prepare(database: Database, settings: Settings) -> None:
    """Bring an SQLite file to head; refuse an old schema, or data of the other Stripe mode. Raises SettingsError.

    A PostgreSQL that is just restarting is waited for.
    """
    end = elapsed() + DATABASE_WAIT_SECONDS
    while True:
        try:
            return await _prepared(database, settings)
        except (SQLAlchemyError, OSError) as error:
            if not database.postgresql or not is_unavailable(error):
                raise
            if elapsed() > end:
                why = f"{type(error).__name__}: {error}".splitlines()[0]
                raise SettingsError(f"DATABASE_URL: the database can't be reached ({why})") from None
        await asyncio.sleep(DATABASE_AGAIN_SECONDS)


async def _prepared(database: Database, settings: Settings) -> None:
    if not database.postgresql:
        await schema.upgrade(database)
    elif await schema.is_behind(database):
        raise SettingsError("The database's schema is older than this release. Run: returns-service migrate")
    async with database.reading() as tx:
        # One of them tells for all: no process starts on payments of the other mode, and none of it is ever adopted.
        livemode = (await tx.exec(select(Payment.livemode).order_by(col(Payment.id)).limit(1))).first()
        if livemode not in (None, settings.livemode):
            mine, theirs = ("live", "test") if settings.livemode else ("test", "live")
            raise SettingsError(
                f"STRIPE_SECRET_KEY: a {mine} key, but the database holds {theirs} payments. "
                "Use the other key, or another DATABASE_URL"
            )
    sealing = await database.run(seal_anew, safe_to_repeat=True)
    if sealing.lost:
        log.error("secrets.cannot_be_opened", webhook_endpoints=list(sealing.lost))


async def check_database(settings: Settings) -> None:
    """Raise SettingsError where no process could start on the database."""
    database = database_of(settings)
    try:
        await prepare(database, settings)
    finally:
        await database.close()


async def keep_policy(database: Database, policy: Policy) -> None:
    """Keep the rules in force: a return names the version that decided about it."""
    await database.run(lambda tx: keep_policy_version(tx, policy), safe_to_repeat=True)


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


def check_portal_texts(settings: Settings) -> None:
    """Raise SettingsError where the shop's texts of the customer's pages are wrong."""
    try:
        check_texts(settings.portal_texts)
    except PortalTextsError as error:
        raise SettingsError(f"RETURNS_PORTAL_TEXTS: {error}") from None


def mail_sender_of(settings: Settings, database: Database) -> MailSender | None:
    """Return who sends mail to customers; None where it is off. Raises SettingsError for texts that are wrong."""
    if settings.smtp is None:
        return None
    try:
        texts = load_texts(settings.mail_texts)
    except MailTextsError as error:
        raise SettingsError(f"RETURNS_MAIL_TEXTS: {error}") from None
    return MailSender(database, SmtpClient(settings.smtp), texts, settings, link_keys_of(settings))


def worker_of(settings: Settings, database: Database, gateway: Gateway, policy: Policy, line: WebhookClient) -> Worker:
    """Return a worker over these parts."""
    return Worker(
        executor=RefundExecutor(database, gateway, budget=settings.stripe_budget, policy=policy),
        dispatcher=WebhookDispatcher(database, line),
        mail=mail_sender_of(settings, database),
        policy=policy,
        livemode=settings.livemode,
        concurrency=worker_concurrency(settings),
        shutdown_seconds=settings.shutdown_seconds,
        idempotency_hours=settings.idempotency_hours,
        inbox_days=settings.inbox_days,
    )


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
    """Return a socket that listens. Raises SettingsError with what to do."""
    try:
        return socket.create_server((host, port), backlog=2048, reuse_port=False)
    except OSError as error:
        raise SettingsError(f"Can't listen on {host}:{port} ({error.strerror}). Choose another with --port") from None


def address_of(listener: socket.socket) -> str:
    """Return the address of a socket that listens, as a browser on this machine writes it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{host}:{port}"


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
    """Serve until told to stop: requests end, then the worker's calls, then the connections.

    `reusable_links`: let people in by links that work more than once, as the demo makes them.
    `lifeline`: a file that ends with the process that started this one; then it is time to stop as well.
    """
    start_traces(settings)
    check_portal_texts(settings)
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
        worker = worker_of(settings, database, workers_gateway, policy, context.line)
        if with_worker:
            context.metrics.follow(worker.executor.done)

        @contextlib.asynccontextmanager
        async def worker_inside(_: object) -> AsyncIterator[None]:
            stop = asyncio.Event()
            work = asyncio.create_task(worker.run(stop))
            try:
                yield
            finally:
                stop.set()
                await work
                await context.line.close()

        allow_files(settings.connections + FILES_BESIDE_CONNECTIONS)
        application = litestar_app(context, lifespan=[worker_inside] if with_worker else [])
        config = uvicorn.Config(
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
        await gateway.close()
        await workers_gateway.close()
        await database.close()
        listener.close()
        await asyncio.to_thread(tracing.stop_tracing)


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
