"""What all handlers work with: one object a process, made where the service is wired."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from litestar.connection import ASGIConnection

from returns_service.domain.policy import DEFAULT, Policy
from returns_service.domain.signed_link import derive_key
from returns_service.identity_provider import IdentityProvider
from returns_service.queries.desk import DeskFigures
from returns_service.settings import Settings
from returns_service.store.database import Database
from returns_service.store.stripe_refusals import StripeRefusals
from returns_service.stripe_gateway import Gateway
from returns_service.web.health_views import ReadinessView
from returns_service.web.live_feed import LiveFeed
from returns_service.web.metrics import Metrics
from returns_service.web.rate_limit import REFUSALS_PER_SECOND, Limiter, RecentKeys
from returns_service.web.snapshot import Snapshot
from returns_service.webhook_client import WebhookClient

SNAPSHOT_SECONDS = 1.0  # well below any interval at which readiness and figures are asked for


@dataclass
class Context:
    """The database, the way to Stripe, the policy in force and the settings."""

    database: Database
    gateway: Gateway
    settings: Settings
    policy: Policy = field(default=DEFAULT)
    metrics: Metrics = field(default_factory=Metrics)
    closing: asyncio.Event = field(default_factory=asyncio.Event)  # set it to end live streams: a stop waits for them
    reusable_links: bool = False  # sign-in links that work more than once let somebody in: in the demo alone
    account: str | None = None  # ours at Stripe, once learnt
    provider: IdentityProvider | None = None  # that staff sign in with
    address: str = "http://127.0.0.1:8000"  # where this process listens: of links, unless the public one is set
    readiness: Snapshot[ReadinessView] = field(default_factory=lambda: Snapshot(SNAPSHOT_SECONDS))
    figures: Snapshot[bytes] = field(default_factory=lambda: Snapshot(SNAPSHOT_SECONDS))
    desk: Snapshot[DeskFigures] = field(default_factory=lambda: Snapshot(SNAPSHOT_SECONDS))
    approvals: Snapshot[int] = field(default_factory=lambda: Snapshot(SNAPSHOT_SECONDS))  # requests that wait
    line: WebhookClient = field(init=False)  # to hosts that callers name
    keys: Limiter = field(init=False)  # how fast each API key may ask
    failed_logins: Limiter = field(default_factory=lambda: Limiter(REFUSALS_PER_SECOND))  # of an address
    recent_keys: RecentKeys = field(default_factory=RecentKeys)
    # A password's hash takes 19 MiB and a core for a while: a crowd that signs in must not take all of both.
    password_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    # A photo takes up to 450 MB while it is decoded.
    photo_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    live_feed: LiveFeed = field(init=False)

    def __post_init__(self) -> None:
        self.gateway.watch(StripeRefusals(self.database).note)
        self.line = WebhookClient(allow_private=self.settings.webhooks_allow_private)
        self.live_feed = LiveFeed(
            self.database,
            self.closing,
            most=self.settings.streams,
            most_per_key=self.settings.streams_per_key,
        )
        self.keys = Limiter(self.settings.rate_limit)

    @property
    def public_url(self) -> str:
        """Where browsers reach the service, without a slash at the end."""
        return self.settings.public_url or self.address

    @property
    def link_keys(self) -> list[bytes]:
        """The keys of signed links: the first signs, all are believed."""
        return link_keys_of(self.settings)


def link_keys_of(settings: Settings) -> list[bytes]:
    """Return the keys of signed links, as set or derived; none without a Stripe key."""
    given = [key.get_secret_value().encode() for key in settings.portal_key]
    stripe_key = settings.stripe_secret_key
    return given or ([derive_key(stripe_key.get_secret_value())] if stripe_key else [])


def context_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Context:
    """Return the context of the application that serves this connection."""
    found: Context = connection.app.state.context
    return found
