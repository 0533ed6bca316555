"""Questions to Stripe before a transaction begins, so that none is ever open meanwhile."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from pydantic import ConfigDict, JsonValue, ValidationError

from returns_service.commands.stripe_account import keep_account
from returns_service.domain.problems import Problem
from returns_service.domain.stripe_objects import Missing, PaymentSnapshot, RefundSnapshot, Refused, TryLater, Unknown
from returns_service.return_case.events import Actor
from returns_service.store.database import Database
from returns_service.store.tables import Payment
from returns_service.stripe_gateway import Gateway
from returns_service.web.context import Context
from returns_service.web.operations.bodies import Body, ChargeId, PaymentIntentId, Wrong
from returns_service.web.operations.operation import OperationCall, StripeRead

PATIENCE_SECONDS = 5  # the least `Retry-After`: Stripe's troubles rarely pass within a second

log = structlog.get_logger("returns.stripe")


def _requires(name: str) -> dict[str, JsonValue]:
    return {"properties": {name: {"not": {"type": "null"}}}, "required": [name]}


class Target(Body):
    """The payment that is meant: by `payment_intent`, or by `charge`."""

    # Not `anyOf`: the generators of clients make of it a union with anything, and lose the body's class.
    model_config = ConfigDict(json_schema_extra={"if": _requires("payment_intent"), "else": _requires("charge")})

    payment_intent: PaymentIntentId | None = None
    charge: ChargeId | None = None

    @classmethod
    def also_wrong(cls, found: Mapping[str, Any]) -> list[Wrong]:
        """Without either, nobody knows which payment is meant."""
        if found.get("payment_intent") is None and found.get("charge") is None:
            return [Wrong("payment_intent", "missing", "Name the payment: payment_intent or charge")]
        return []


def target_of(payment: Payment) -> Target:
    """Return how Stripe knows a payment on record: a charge that has a PaymentIntent is asked for by that."""
    intent = payment.payment_intent
    return Target(payment_intent=intent, charge=None if intent else payment.charge)


def target_named(name: str) -> Target | None:
    """Return the payment that an id of Stripe's names; None for any other word."""
    for field in ("payment_intent", "charge"):
        with contextlib.suppress(ValidationError):
            return Target.model_validate({field: name})
    return None


async def payment_at_stripe(context: Context, target: Target) -> PaymentSnapshot:
    """Read the payment at Stripe.

    Raises Problem payment_missing, charge_mismatch, stripe_unavailable, stripe_refuses_us.
    """
    intent, charge = target.payment_intent, target.charge
    seen = usable_or_503(await context.gateway.read_payment(payment_intent=None if charge else intent, charge=charge))
    if not isinstance(seen, PaymentSnapshot):
        raise Problem("payment_missing", param="charge" if charge else "payment_intent")
    if seen.livemode != context.settings.livemode:
        theirs, ours = ("live", "test") if seen.livemode else ("test", "live")
        detail = f"It is a {theirs} payment, and this service has a {ours} key: see STRIPE_API_BASE."
        raise Problem("payment_missing", detail, param="charge" if charge else "payment_intent")
    if intent is not None and seen.payment_intent != intent:
        raise Problem("charge_mismatch", f"{charge} is not of {intent}.", param="charge")
    return seen


def usable_or_503(
    read: PaymentSnapshot | RefundSnapshot | Refused | Missing | TryLater | Unknown,
) -> PaymentSnapshot | RefundSnapshot | Refused | Missing:
    """Return what Stripe said. Raises Problem stripe_unavailable, or stripe_refuses_us where the key is the reason."""
    if isinstance(read, TryLater | Unknown):
        wait = max(read.after_seconds or 0, PATIENCE_SECONDS)
        if isinstance(read, TryLater) and read.refuses_us:
            detail = f"Stripe says: {read.message}"
            raise Problem("stripe_refuses_us", detail, retry_after=math.ceil(wait), stripe_code=read.code)
        raise Problem("stripe_unavailable", retry_after=math.ceil(wait), stripe_code=read.code)
    return read


def stripe_of(call: OperationCall[Any]) -> Actor:
    """Return Stripe as the actor of what this request reads there."""
    return Actor("stripe", call.by.request_id)


async def learn_account(database: Database, gateway: Gateway, configured: str | None) -> str | None:
    """Keep the id of our Stripe account, as set or as the key tells; return it, None where neither says."""
    account = configured
    if account is None:
        read = await gateway.read_account()
        if not isinstance(read, str):
            log.warning("stripe.account_not_known", why=read.message, do="Set STRIPE_ACCOUNT=acct_…")
            return None
        account = read
    await database.run(partial(keep_account, account=account), safe_to_repeat=True)
    return account


def payment_in(read: StripeRead) -> PaymentSnapshot:
    """Return the payment that the operation's `before_transaction` has read. Raises TypeError for anything else."""
    if not isinstance(read, PaymentSnapshot):
        raise TypeError(f"no payment was read, but {read!r}")
    return read
