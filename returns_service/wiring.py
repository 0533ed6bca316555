"""The parts of a process, built from its settings: policy, database, ways to Stripe, mail, worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from returns_service.commands.policy_versions import keep_policy_version
from returns_service.commands.sealing import seal_anew
from returns_service.domain import policy as policies
from returns_service.domain.policy import Policy
from returns_service.mail_client import SmtpClient
from returns_service.mail_message import MailTextsError, load_texts
from returns_service.settings import Settings, SettingsError
from returns_service.store import schema
from returns_service.store.clock import Now, elapsed_seconds
from returns_service.store.database import Database, is_unavailable
from returns_service.store.tables import Payment
from returns_service.stripe_gateway import Gateway, StripeGateway
from returns_service.web.context import link_keys_of
from returns_service.web.pages.portal_texts import PortalTextsError, check_texts
from returns_service.webhook_client import WebhookClient
from returns_service.worker.deliveries import WebhookDispatcher
from returns_service.worker.loop import Worker
from returns_service.worker.mail import MailSender
from returns_service.worker.refunds import RefundExecutor

T = TypeVar("T")
DATABASE_WAIT_SECONDS, DATABASE_AGAIN_SECONDS = 30.0, 0.5  # at a start: who starts us may start it as well
CALL_SECONDS = 20.0  # a call's own limit: shorter than the lease, so its answer is written by its owner
TURN_SECONDS = 2.0  # that a request waits for its turn at Stripe: its caller does better to come back
CALLS_A_CORE, MOST_CALLS = 32, 256  # a core makes more than a hundred calls a second, each waits for 0.3 s
BESIDE_REFUNDS = 10  # connections to Stripe for a worker's chores, beside one for each piece of work under way
log = structlog.get_logger("returns.start")


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
        if file.is_dir():
            raise SettingsError(f"DATABASE_URL: {file} is a folder. Name a file in it")
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
            monotonic=elapsed_seconds,
            **options,
        )
    except ValueError as error:
        raise SettingsError(f"STRIPE_API_BASE: {error}") from None


async def prepare(database: Database, settings: Settings) -> None:
    """Bring an SQLite file to head; refuse an old schema, or data of the other Stripe mode. Raises SettingsError."""
    await once_reachable(database, lambda: _prepare(database, settings), DATABASE_WAIT_SECONDS)


async def once_reachable(database: Database, work: Callable[[], Awaitable[T]], wait_seconds: float) -> T:
    """Return what `work` does with a database; a PostgreSQL that is just starting is waited for.

    Raises SettingsError where it can't be reached after so many seconds.
    """
    end = elapsed_seconds() + wait_seconds
    while True:
        try:
            return await work()
        except (SQLAlchemyError, OSError) as error:
            if not database.postgresql or not is_unavailable(error):
                raise
            if elapsed_seconds() >= end:
                why = f"{type(error).__name__}: {error}".splitlines()[0]
                raise SettingsError(f"DATABASE_URL: the database can't be reached ({why})") from None
        await asyncio.sleep(DATABASE_AGAIN_SECONDS)


async def _prepare(database: Database, settings: Settings) -> None:
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
