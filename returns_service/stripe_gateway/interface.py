"""What the rest of the code sees of the gateway: its methods, its two exceptions, the doctor's findings."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from returns_service.domain.stripe_objects import (
    ListedCharge,
    Missing,
    PaymentSnapshot,
    RefundSnapshot,
    Refused,
    StripeEventData,
    TryLater,
    Unknown,
)

# Is told of each 2xx answer (None) and of each 401 or 403, with what was asked about: `refunds`, `disputes`, …
Watcher = Callable[[str, TryLater | None], Awaitable[None]]


class StripeSilent(Exception):
    """Stripe gave no answer that can be used; `answer` says which of its silences this is."""

    def __init__(self, answer: Refused | TryLater | Unknown) -> None:
        super().__init__(f"{answer.code}: {answer.message}")
        self.answer = answer


class InvalidSignature(Exception):
    """A webhook that nobody but a stranger, or a wrong secret, can have sent; `reason` is one plain sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class EndpointSnapshot:
    """A webhook endpoint as configured at Stripe."""

    id: str
    url: str
    enabled: bool
    livemode: bool
    events: tuple[str, ...]  # `*` for all
    api_version: str | None


@dataclass(frozen=True, slots=True)
class MissingPermission:
    """Something that a restricted key may not do, and Stripe's sentence about it."""

    name: str  # "Refunds: write"
    message: str
    needed: bool  # False: only something beside the refunds goes without it


@dataclass(frozen=True, slots=True)
class StripeChecked:
    """What a doctor wants to know."""

    account: str | None
    livemode: bool | None  # as the key says
    silence: Refused | TryLater | Unknown | None = None  # why the account can't be read
    endpoints: tuple[EndpointSnapshot, ...] | None = None  # None: this key can't list them
    api_version: str | None = None  # that we ask for
    stripe_time: datetime | None = None  # Stripe's `Date`, carried on to the end of the check; None where it told none
    missing: tuple[MissingPermission, ...] = ()

    @property
    def account_hidden(self) -> bool:
        """Whether the key is in force and may not see its account, as a restricted one."""
        return isinstance(self.silence, TryLater) and self.silence.refuses_us and not self.silence.key_refused


class Gateway(Protocol):
    """What worker and http depend on. No method raises anything but StripeSilent where it says so."""

    async def create_refund(
        self, parameters: Mapping[str, Any], *, key: str, not_after: float | None
    ) -> RefundSnapshot | Refused | TryLater | Unknown:
        """Send exactly `parameters` under idempotency `key`; send nothing once `not_after` (monotonic) is over."""

    async def retrieve_refund(self, stripe_refund: str) -> RefundSnapshot | Missing | TryLater | Unknown:
        """Read one refund afresh."""

    async def cancel_refund(self, stripe_refund: str, *, key: str) -> RefundSnapshot | Refused | TryLater | Unknown:
        """Cancel a refund that waits for the customer (`requires_action`); Stripe refuses all others."""

    async def read_payment(
        self, *, payment_intent: str | None = None, charge: str | None = None
    ) -> PaymentSnapshot | Missing | TryLater | Unknown:
        """Read a payment with all its refunds; a charge that has a PaymentIntent is that PaymentIntent's."""

    def refunds_since(self, since: datetime, before: datetime | None = None) -> AsyncIterator[RefundSnapshot]:
        """Yield all refunds created since (and before, whole seconds), newest first. Raises StripeSilent."""

    def charges_between(self, since: datetime, before: datetime) -> AsyncIterator[ListedCharge]:
        """Yield all charges created since and before (whole seconds), newest first. Raises StripeSilent."""

    def events_since(
        self, since: datetime, types: Sequence[str], *, only_undelivered: bool = False
    ) -> AsyncIterator[StripeEventData]:
        """Yield the events of up to 20 types since, newest first; Stripe keeps 30 days. Raises StripeSilent."""

    async def read_account(self) -> str | Missing | TryLater | Unknown:
        """Return the id of the account that the key belongs to; a restricted key may not be allowed to read it."""

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` from now on which calls Stripe lets this key make."""

    async def check(self) -> StripeChecked:
        """Try the key and list the webhook endpoints."""

    async def close(self) -> None:
        """Close all connections."""


def endpoint_of(thing: Mapping[str, Any]) -> EndpointSnapshot:
    """Return the WebhookEndpoint in `thing`, as far as it tells; https://docs.stripe.com/api/webhook_endpoints/object."""
    version = thing.get("api_version")
    return EndpointSnapshot(
        id=str(thing.get("id")),
        url=str(thing.get("url")),
        enabled=thing.get("status") == "enabled",
        livemode=thing.get("livemode") is True,
        events=tuple(str(name) for name in thing.get("enabled_events") or ()),
        api_version=version if isinstance(version, str) else None,
    )


def livemode_of(secret_key: str) -> bool | None:
    """Say whether a secret or restricted key is a live one; None where its form doesn't tell."""
    kind = secret_key.split("_")[1:2]
    return {"live": True, "test": False}.get(kind[0]) if kind else None


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_refund(parameters: Mapping[str, Any], key: str) -> None:
    """Raise ValueError for a refund that must never reach Stripe.

    Without a key the SDK would make one up, without an amount Stripe would refund all that is left.
    """
    amount = parameters.get("amount")
    if not key or type(amount) is not int or amount < 1:
        raise ValueError("a refund needs its key and a whole amount in minor units")
    if bool(parameters.get("payment_intent")) == bool(parameters.get("charge")):
        raise ValueError("a refund needs a payment_intent or a charge, and not both")
