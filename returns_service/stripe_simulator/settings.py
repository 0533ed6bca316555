"""The simulator's settings. A caller may change them while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .versions import API_VERSION


@dataclass
class Settings:
    """The settings. All durations are in seconds."""

    settle_seconds: float = 1.0  # from a refund to its later change, and from a charge to its dispute
    latency_seconds: float = 0.0  # added to every call to the API; only a server waits it out
    retry_seconds: float = 1.0  # before a webhook's second attempt; doubles from there
    key_life_seconds: float = 86400.0  # an older idempotency key is forgotten
    clock_skew_seconds: float = 0.0  # the `Date` header is ahead of the simulator's clock by that much; may be < 0
    rate_limit: int | None = None  # calls a second on each endpoint; None: no limit
    lock_timeouts: bool = False  # parallel refunds of one charge answer 429 lock_timeout
    balance: Literal["enough", "short_waits", "short_refuses"] = "enough"
    failed_sends_updated: bool = True  # a failure sends `refund.updated` beside `refund.failed`
    foreign_webhooks: bool = False  # post webhooks to other hosts than this machine, too
    api_version: str = API_VERSION  # the account's default: of calls without `Stripe-Version`, and of its events
