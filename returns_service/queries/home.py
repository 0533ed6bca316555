"""What the home page shows: how much waits at the dock, how the whole is doing, how far the first steps are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, func, select
from sqlmodel import col

from returns_service.store.columns import among
from returns_service.store.database import Tx
from returns_service.store.tables import (
    ApiKey,
    Delivery,
    Receipt,
    ReconciliationRun,
    ReturnAuthorization,
    StaffUser,
    StripeEvent,
    UndeclaredItem,
    UnmatchedReceipt,
    WebhookEndpoint,
)


@dataclass(frozen=True, slots=True)
class PutAside:
    """What the dock put aside and nobody has decided about."""

    items: int
    parcels: int  # of nobody


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """How far a new installation is."""

    event_at: datetime | None  # Stripe's last webhook
    keys: int  # that are not revoked
    people: int
    any_return: bool


@dataclass(frozen=True, slots=True)
class Listeners:
    """How the shop's webhook endpoints are doing."""

    enabled: int
    disabled: int  # not by a person
    failing: int  # that have something undelivered, after a failure
    failing_since: datetime | None
    waiting: int  # calls to those


async def count_put_aside(tx: Tx) -> PutAside:
    """Return how much the dock put aside."""
    standing = exists().where(col(Receipt.id) == col(UndeclaredItem.receipt_id), col(Receipt.reversed_at).is_(None))
    items = select(func.count()).select_from(UndeclaredItem).where(col(UndeclaredItem.decision).is_(None), standing)
    parcels = select(func.count()).select_from(UnmatchedReceipt).where(col(UnmatchedReceipt.receipt_id).is_(None))
    return PutAside(*(await tx.execute(select(items.scalar_subquery(), parcels.scalar_subquery()))).one())


async def any_return(tx: Tx) -> bool:
    """Return whether there is any return yet."""
    return (await tx.execute(select(col(ReturnAuthorization.id)).limit(1))).first() is not None


async def first_steps(tx: Tx) -> FirstSteps:
    """Return how far a new installation is."""
    event_at = select(func.max(col(StripeEvent.received_at))).scalar_subquery()
    keys = select(func.count()).select_from(ApiKey).where(col(ApiKey.revoked_at).is_(None)).scalar_subquery()
    people = select(func.count()).select_from(StaffUser).where(col(StaffUser.disabled_at).is_(None)).scalar_subquery()
    heard_at, key_number, people_number = (await tx.execute(select(event_at, keys, people))).one()
    return FirstSteps(heard_at, key_number, people_number, await any_return(tx))


async def last_comparison(tx: Tx) -> ReconciliationRun | None:
    """Return the last comparison with Stripe that came to its end."""
    chosen = select(ReconciliationRun).where(col(ReconciliationRun.finished_at).is_not(None))
    return (await tx.execute(chosen.order_by(col(ReconciliationRun.id).desc()).limit(1))).scalars().first()


async def listeners(tx: Tx) -> Listeners:
    """Return how the shop's webhook endpoints are doing."""
    by_person = func.coalesce(col(WebhookEndpoint.disabled_by), "") == "person"
    enabled = select(func.count()).where(col(WebhookEndpoint.status) == "enabled").scalar_subquery()
    disabled = select(func.count()).where(col(WebhookEndpoint.status) == "disabled", ~by_person).scalar_subquery()
    late = (among(Delivery.status, ["pending"]), col(Delivery.next_attempt_at).is_not(None))
    failing = select(
        func.count(func.distinct(col(Delivery.endpoint_id))), func.min(col(Delivery.failing_since)), func.count(),
        enabled, disabled,
    ).where(*late, col(Delivery.failures) > 0)  # fmt: skip
    endpoints, since, calls, on, off = (await tx.execute(failing)).one()
    return Listeners(on, off, endpoints, since, calls)
