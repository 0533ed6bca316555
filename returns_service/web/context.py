"""What all handlers work with: one object a process, made where the service is wired."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from litestar.connection import ASGIConnection

from returns_service.domain.policy import DEFAULT, Policy
from returns_service.settings import Settings
from returns_service.store.database import Database
from returns_service.store.stripe_refusals import StripeRefusals
from returns_service.stripe_gateway import Gateway
from returns_service.web.metrics import Metrics
from returns_service.web.rate_limit import REFUSALS_PER_SECOND, Limiter, RecentKeys
from returns_service.webhook_client import WebhookClient


@dataclass
class Context:
    """The database, the way to Stripe, the policy in force and the settings."""

    database: Database
    gateway: Gateway
    settings: Settings
    policy: Policy = field(default=DEFAULT)
    metrics: Metrics = field(default_factory=Metrics)
    closing: asyncio.Event = field(default_factory=asyncio.Event)  # set it to end live streams: a stop waits for them
    account: str | None = None  # ours at Stripe, once learnt
    line: WebhookClient = field(init=False)  # to hosts that callers name
    keys: Limiter = field(init=False)  # how fast each API key may ask
    failed_logins: Limiter = field(default_factory=lambda: Limiter(REFUSALS_PER_SECOND))  # of an address
    recent_keys: RecentKeys = field(default_factory=RecentKeys)
    # A password's hash takes 19 MiB and a core for a while: a crowd that signs in must not take all of both.
    password_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    def __post_init__(self) -> None:
        self.gateway.watch(StripeRefusals(self.database).note)
        self.line = WebhookClient(allow_private=self.settings.webhooks_allow_private)
        self.keys = Limiter(self.settings.rate_limit)


def context_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Context:
    """Return the context of the application that serves this connection."""
    found: Context = connection.app.state.context
    return found
