"""Check everything the service stands on, and say what to do: for the command line and for the page, the same lines.

Nothing is changed, here or at Stripe. A line that fails stops money or its news; a warning will, or may.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import httpx
from sqlalchemy import make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, func, select

from returns_service.commands.sealing import Sealing, look_at_sealing
from returns_service.domain import policy as policies
from returns_service.domain.plural import pluralize
from returns_service.domain.refund_status import OPEN
from returns_service.domain.stripe_objects import NEEDED_EVENTS, StripeEventData, TryLater
from returns_service.identity_provider import IdentityProvider, ProviderError
from returns_service.queries.system_health import system_health
from returns_service.settings import Settings
from returns_service.store import schema
from returns_service.store.clock import elapsed_seconds
from returns_service.store.database import Database, Tx, takes_writes
from returns_service.store.tables import Refund, StripeEvent
from returns_service.stripe_gateway import EndpointSnapshot, Gateway, StripeChecked, StripeSilent

Level = Literal["ok", "warn", "fail"]
LEVELS: Final[tuple[Level, ...]] = ("ok", "warn", "fail")
PATIENCE_SECONDS: Final = 10.0  # for one answer of the database or of our own address
STRIPE_PATIENCE_SECONDS: Final = 30.0  # for all calls to Stripe together
WEBHOOK_PATH: Final = "/webhooks/stripe"
STRIPE_HOST: Final = "https://api.stripe.com"
# A webhook is refused once it is 300 s old by our clock (https://docs.stripe.com/webhooks#replay-attacks).
CLOCK_WARNS_SECONDS, CLOCK_FAILS_SECONDS = 5, 120
DISK_WARNS_BYTES, DISK_FAILS_BYTES = 2 * 1024**3, 200 * 1024**2
DELIVERED_SINCE: Final = timedelta(hours=1)
DELIVERY_TAKES: Final = timedelta(minutes=1)
QUIET_FOR: Final = timedelta(hours=1)  # Stripe's list of events is read every five minutes
OLD_REFUND: Final = timedelta(days=14)  # banks take 5 to 10 business days


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: its subject, how that is, and what to do about it (empty where all is well)."""

    name: str
    level: Level
    message: str
    do: str = ""


def worst(findings: Sequence[Finding]) -> Level:
    """Return the level of the worst line."""
    return max((finding.level for finding in findings), key=LEVELS.index, default="ok")


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the lines as JSON."""
    return {"object": "doctor", "level": worst(findings), "lines": [asdict(finding) for finding in findings]}


async def examine(
    settings: Settings, database: Database, gateway: Gateway | None, provider: IdentityProvider | None = None
) -> list[Finding]:
    """Return all lines. `gateway` None: no key is set. `provider` None: nobody signs in by one.

    Raises nothing: what can't be looked at is a line that fails.
    """
    data = await _database_lines(database)  # first: PostgreSQL's clock, which webhooks are judged by, is known then
    stripe, address, sign_in = await asyncio.gather(
        _stripe_lines(settings, gateway, database),
        _address_lines(settings),
        _provider_lines(provider),
    )
    return [_policy_line(settings), *stripe, *data, *address, *sign_in]


def _policy_line(settings: Settings) -> Finding:
    if settings.policy is None:
        return Finding("policy", "ok", "The default policy is in force.")
    try:
        policies.parse(settings.policy.read_bytes(), str(settings.policy))
    except (policies.PolicyError, OSError) as error:
        return Finding("policy", "fail", str(error), f"Correct it: returns-service policy check {settings.policy}")
    return Finding("policy", "ok", f"{settings.policy} is complete.")


# --- Stripe ----------------------------------------------------------------------------------------------------------


async def _stripe_lines(settings: Settings, gateway: Gateway | None, database: Database) -> list[Finding]:
    if gateway is None or settings.stripe_secret_key is None:
        return [Finding("stripe_key", "fail", "No key is set.", "Set STRIPE_SECRET_KEY=sk_test_…")]
    try:
        async with asyncio.timeout(STRIPE_PATIENCE_SECONDS):
            checked, now = await gateway.check(), database.now()
            undelivered = await _find_undelivered(settings, gateway, checked, now)
    except TimeoutError:
        return [Finding("stripe_key", "fail", "Stripe doesn’t answer.", "Check the network; https://status.stripe.com")]
    return [
        _key_line(settings, checked),
        *_permission_lines(checked),
        Finding("stripe_api_version", "ok", f"Asked for: {checked.api_version or 'unknown'}."),
        _clock_line(checked, now, "the database’s machine" if database.postgresql else "this machine"),
        *_endpoint_lines(settings, checked),
        *_delivery_lines(settings, checked, undelivered),
        *_secret_lines(settings),
    ]


def _key_line(settings: Settings, checked: StripeChecked) -> Finding:
    mode = "live" if settings.livemode else "test"
    stand_in = f", at {settings.stripe_api_base}" if settings.stripe_api_base else ""
    if checked.account is not None:
        return Finding("stripe_key", "ok", f"A {mode} key of account {checked.account}{stand_in}.")
    if checked.account_hidden:
        return Finding("stripe_key", "ok", f"A restricted {mode} key{stand_in}; it may not see its account.")
    message = f"{checked.silence.message if checked.silence else 'Stripe names no account.'}{stand_in}"
    if isinstance(checked.silence, TryLater) and checked.silence.key_refused:
        todo = "Copy a key in force from Stripe’s Dashboard (Developers, API keys) to STRIPE_SECRET_KEY."
        return Finding("stripe_key", "fail", message, todo)
    todo = f"Check the way from this machine to {settings.stripe_api_base or STRIPE_HOST}; https://status.stripe.com"
    return Finding("stripe_key", "fail", message, todo)


def _permission_lines(checked: StripeChecked) -> list[Finding]:
    if checked.silence is not None and not checked.account_hidden:
        return []  # nothing was tried: the key's line says why
    todo = "Give the restricted key this permission in Stripe’s Dashboard (Developers, API keys)."
    lines = [
        Finding("stripe_permissions", "fail" if one.needed else "warn", f"{one.name}: {one.message}", todo)
        for one in checked.missing
    ]
    return lines or [Finding("stripe_permissions", "ok", "The key may do all that is needed.")]


def _clock_line(checked: StripeChecked, now: datetime, whose: str) -> Finding:
    if checked.stripe_time is None:
        return Finding("clock", "ok", "Stripe told no time to compare with.")
    ahead = (now - checked.stripe_time).total_seconds()
    off = abs(ahead)
    level: Level = "ok" if off <= CLOCK_WARNS_SECONDS else "warn" if off <= CLOCK_FAILS_SECONDS else "fail"
    where = "ahead of" if ahead > 0 else "behind"
    message = f"{off:.0f} s {where} Stripe’s." if off > CLOCK_WARNS_SECONDS else "Agrees with Stripe’s."
    todo = f"Let {whose} take its time from a server (NTP): a webhook that looks older than 300 s is refused."
    return Finding("clock", level, message, "" if level == "ok" else todo)


def _endpoint_lines(settings: Settings, checked: StripeChecked) -> list[Finding]:
    wanted = f"{settings.public_url or 'https://…'}{WEBHOOK_PATH}"
    events = ", ".join(NEEDED_EVENTS)
    make = f"Add {wanted} in Stripe’s Dashboard (Developers, Webhooks) with the events {events}."
    if checked.endpoints is None:
        if checked.silence is not None and not checked.account_hidden:
            return []  # the key's line says it
        look = f"See in Stripe’s Dashboard (Developers, Webhooks) that {wanted} is there, with the events {events}."
        return [Finding("stripe_webhook", "warn", "The endpoints can’t be listed with this key.", look)]
    ours = [endpoint for endpoint in checked.endpoints if _is_ours(settings, endpoint)]
    if not ours:
        return [Finding("stripe_webhook", "fail", f"Stripe sends nothing to {wanted}.", make)]
    return [_endpoint_line(endpoint) for endpoint in ours]


def _is_ours(settings: Settings, endpoint: EndpointSnapshot) -> bool:
    here = endpoint.url == f"{settings.public_url}{WEBHOOK_PATH}" if settings.public_url else (
        endpoint.url.endswith(WEBHOOK_PATH)
    )  # fmt: skip
    return here and endpoint.livemode == settings.livemode


def _endpoint_line(endpoint: EndpointSnapshot) -> Finding:
    missing = [] if "*" in endpoint.events else [event for event in NEEDED_EVENTS if event not in endpoint.events]
    where = "in Stripe’s Dashboard (Developers, Webhooks)"
    if not endpoint.enabled:
        return Finding("stripe_webhook", "fail", f"{endpoint.url} is disabled.", f"Enable it {where}.")
    if missing:
        todo = f"Add {'this event' if len(missing) == 1 else 'these events'} to the endpoint {where}."
        return Finding("stripe_webhook", "fail", f"{endpoint.url} doesn’t get {', '.join(missing)}.", todo)
    return Finding("stripe_webhook", "ok", f"{endpoint.url} gets every event that is needed.")


async def _find_undelivered(
    settings: Settings, gateway: Gateway, checked: StripeChecked, now: datetime
) -> list[StripeEventData] | None:
    """Return the events of late that Stripe couldn't deliver, newest first; None where it tells none of that.

    What Stripe sends right now isn't delivered yet either.
    """
    if not any(_is_ours(settings, endpoint) and endpoint.enabled for endpoint in checked.endpoints or ()):
        return None  # the endpoint's line says it
    try:
        events = gateway.events_since(now - DELIVERED_SINCE, NEEDED_EVENTS, only_undelivered=True)
        return [event async for event in events if now - event.created > DELIVERY_TAKES]
    except StripeSilent:
        return None  # the line about permissions says it


def _delivery_lines(
    settings: Settings, checked: StripeChecked, undelivered: list[StripeEventData] | None
) -> list[Finding]:
    if undelivered is None:
        return []
    if not undelivered:
        return [Finding("stripe_deliveries", "ok", "Stripe could deliver the events of the last hour.")]
    # Where Stripe calls others as well, it doesn't tell who of them takes nothing.
    others = [one for one in checked.endpoints or () if one.enabled and not _is_ours(settings, one)]
    first = min(event.created for event in undelivered)
    message = f"Stripe could not deliver {pluralize(len(undelivered), 'event')} since {first:%H:%M} UTC."
    todo = (
        "Copy the endpoint’s signing secret to STRIPE_WEBHOOK_SECRET, see that its address leads here, and read its "
        "attempts in Stripe’s Dashboard (Developers, Webhooks). A worker pulls the events meanwhile."
    )
    return [Finding("stripe_deliveries", "warn" if others else "fail", message, todo)]


def _secret_lines(settings: Settings) -> list[Finding]:
    todo = "Copy the endpoint’s signing secret to STRIPE_WEBHOOK_SECRET=whsec_…"
    secrets = [secret.get_secret_value() for secret in settings.stripe_webhook_secret]
    if not secrets:
        return [Finding("stripe_webhook_secret", "fail", "No signing secret is set: every webhook is refused.", todo)]
    if all(secret.startswith("whsec_") for secret in secrets):
        return []
    message = "STRIPE_WEBHOOK_SECRET is no signing secret of Stripe’s: these begin with whsec_."
    return [Finding("stripe_webhook_secret", "fail", message, todo)]


# --- our own data ----------------------------------------------------------------------------------------------------


async def _database_lines(database: Database) -> list[Finding]:
    kind = "PostgreSQL" if database.postgresql else "SQLite"
    if not database.postgresql and not _file_of(database).exists():  # to look would make an empty one
        todo = "Nothing: `returns-service serve` makes it."
        return [Finding("database", "warn", f"There is no file {_file_of(database)} yet.", todo)]
    disk = [] if database.postgresql else [_disk_line(_file_of(database).parent)]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            began = elapsed_seconds()
            async with database.reading() as tx:
                writable = await takes_writes(tx)
            took = elapsed_seconds() - began
            if not writable:
                todo = "Let DATABASE_URL lead to the primary, or make room where it is kept: no write gets through."
                return [Finding("database", "fail", f"{kind} takes no writes.", todo), *disk]
            behind = await schema.is_behind(database)
            lines = [
                Finding("database", "ok", f"{kind} answers in {took * 1000:.0f} ms."),
                _schema_line(database, behind),
            ]
            if not behind:
                async with database.reading() as tx:
                    lines += [line async for line in _queue_lines(tx)]
                    lines.append(_sealing_line(await look_at_sealing(tx)))
            return [*lines, *(disk or [await _size_line(database)])]
    except (SQLAlchemyError, OSError) as error:  # a timeout is an OSError
        why = f"{type(error).__name__}: {getattr(error, 'orig', error)}".splitlines()[0]
        todo = "Check that DATABASE_URL is right and that the database runs."
        if any(finding.level == "fail" for finding in disk):
            todo = "Make room on the disk, then run doctor again: SQLite can’t be read without room."
        return [Finding("database", "fail", f"{kind} can’t be reached ({why}).", todo), *disk]


def _sealing_line(sealing: Sealing) -> Finding:
    if sealing.lost:
        message = f"The signing secrets of {', '.join(sealing.lost)} can’t be opened."
        todo = "Add the key that sealed them to RETURNS_SECRETS_KEY and restart, or rotate these endpoints’ secrets."
        return Finding("secrets", "fail", message, todo)
    if sealing.outdated:
        message = f"Sealed by an older key: {sealing.outdated} of {pluralize(sealing.secrets, 'signing secret')}."
        return Finding("secrets", "warn", message, "Restart `returns-service serve` or `worker`: it seals them anew.")
    return Finding("secrets", "ok", f"{pluralize(sealing.secrets, 'signing secret')}, sealed by the key in force.")


def _schema_line(database: Database, behind: bool) -> Finding:
    if behind and not database.postgresql:
        return Finding("schema", "warn", "Older than this release.", "Nothing: `returns-service serve` brings it up.")
    if behind:
        return Finding("schema", "fail", "Older than this release.", "Run: returns-service migrate")
    return Finding("schema", "ok", f"At {schema.head()}.")


async def _queue_lines(tx: Tx) -> AsyncIterator[Finding]:
    health = await system_health(tx)
    if health.calls_pause:
        why = f"Calls to Stripe pause after {health.call_failures} failures in a row: {health.call_problem}"
        yield Finding(
            "calls", "fail", why, "They are tried again by themselves; look at the key and at Stripe’s status."
        )
    if health.overdue:
        since = _age(tx, health.overdue_since)
        todo = "Start a worker: returns-service worker, or serve without --no-worker; if one runs, look at its log."
        waiting = f"Overdue for a worker: {pluralize(health.overdue, 'refund')}, the oldest for {since}."
        yield Finding("queue", "fail", waiting, todo)
    else:
        yield Finding("queue", "ok", "No refund waits for a worker.")
    oldest = await _time(tx, select(func.min(Refund.created_at)).where(col(Refund.status).in_(OPEN)))
    if oldest is not None and tx.now - oldest > OLD_REFUND:
        todo = "See what it waits for: returns-service desk"
        yield Finding("oldest_refund", "warn", f"The oldest open refund is {_age(tx, oldest)} old.", todo)
    else:
        age = f"The oldest open refund is {_age(tx, oldest)} old." if oldest is not None else "No refund is open."
        yield Finding("oldest_refund", "ok", age)
    newest = await _time(tx, select(func.max(StripeEvent.received_at)))
    arrived = f"the last one {_age(tx, newest)} ago" if newest is not None else "none yet"
    # Where no worker ever ran, the list was never read.
    read_at = health.events_read_at or await _time(tx, select(func.min(StripeEvent.received_at)))
    if read_at is not None and tx.now - read_at > QUIET_FOR:
        read = f"was read {_age(tx, read_at)} ago" if health.events_read_at else "was never read"
        message = f"Stripe’s list {read}; events: {arrived}."
        yield Finding("events", "warn", message, "Start a worker: it pulls what a webhook didn’t bring.")
    else:
        yield Finding("events", "ok", f"Events of Stripe’s: {arrived}.")


async def _time(tx: Tx, chosen: Any) -> datetime | None:
    at: datetime | None = (await tx.exec(chosen)).one()
    return at


def _age(tx: Tx, since: datetime | None) -> str:
    seconds = int((tx.now - since).total_seconds()) if since is not None else 0
    sizes = (("day", 86_400), ("hour", 3600), ("minute", 60))
    unit, size = next(((unit, size) for unit, size in sizes if seconds >= size), ("second", 1))
    return pluralize(max(0, seconds) // size, unit)


def _file_of(database: Database) -> Path:
    return Path(make_url(database.url).database or "").absolute()


def _disk_line(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    level: Level = "ok" if free > DISK_WARNS_BYTES else "warn" if free > DISK_FAILS_BYTES else "fail"
    todo = "" if level == "ok" else "Make room: a full disk stops every write."
    shown = f"{free / 1024**3:,.1f} GiB" if level == "ok" else f"{free / 1024**2:,.0f} MiB"
    return Finding("disk", level, f"{shown} are free in {folder}.", todo)


async def _size_line(database: Database) -> Finding:
    async with database.reading() as tx:
        size = (await tx.execute(text("SELECT pg_database_size(current_database())"))).scalar_one()
    return Finding("disk", "ok", f"The database takes {size / 1024**2:,.0f} MiB; watch the room on its own machine.")


# --- our own address -------------------------------------------------------------------------------------------------


async def _address_lines(settings: Settings) -> list[Finding]:
    if settings.public_url is None:
        level: Level = "warn" if settings.livemode else "ok"
        todo = (
            "Set RETURNS_PUBLIC_URL=https://… to the address that browsers and Stripe use." if settings.livemode else ""
        )
        return [Finding("public_url", level, "RETURNS_PUBLIC_URL is not set.", todo)]
    if settings.livemode and not settings.public_url.startswith("https://"):
        todo = "Put a proxy with TLS in front, and set RETURNS_PUBLIC_URL=https://…"
        return [Finding("public_url", "fail", f"{settings.public_url} is not encrypted.", todo)]
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            answer = await client.get(f"{settings.public_url}/healthz")
    except (httpx.HTTPError, OSError) as error:
        todo = "Check RETURNS_PUBLIC_URL, the proxy in front, and that `returns-service serve` runs."
        return [Finding("public_url", "warn", f"{settings.public_url}: no answer ({type(error).__name__}).", todo)]
    if answer.status_code != 200:
        todo = "Something else answers there: check RETURNS_PUBLIC_URL and the proxy in front."
        return [Finding("public_url", "warn", f"{settings.public_url} answers {answer.status_code}.", todo)]
    return [Finding("public_url", "ok", f"{settings.public_url} answers.")]


# --- the sign-in provider --------------------------------------------------------------------------------------------


async def _provider_lines(provider: IdentityProvider | None) -> list[Finding]:
    if provider is None:
        return []
    try:
        keys = await provider.check()
    except ProviderError as error:
        todo = f"Check the way from this machine to {provider.issuer}, and that its server runs."
        if error.fault == "misconfigured":
            todo = (
                "Set RETURNS_OIDC_ISSUER to the issuer exactly as the provider calls itself, a / at its end included; "
                "see that it publishes its endpoints and keys by https."
            )
        return [Finding("sign_in_provider", "fail", f"Nobody can sign in by the provider: {error}.", todo)]
    home = f"it has to send people back to {provider.redirect_uri}"
    return [Finding("sign_in_provider", "ok", f"{provider.issuer} answers, with {pluralize(keys, 'key')}; {home}.")]
