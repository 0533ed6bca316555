"""What the settings page shows: keys, people with their last sign-in, devices, webhook endpoints, last deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import col, func, select

from returns_service.commands.api_keys import list_keys
from returns_service.commands.sessions import SignedIn, sessions_by_person
from returns_service.commands.staff_users import list_users
from returns_service.store.database import Tx
from returns_service.store.tables import ApiKey, Delivery, Device, Event, StaffSession, StaffUser, WebhookEndpoint

LAST_DELIVERIES: Final = 20


@dataclass(frozen=True, slots=True)
class DeliveryShown:
    """A delivery with the type of its event and its endpoint's address."""

    delivery: Delivery
    event_type: str
    url: str

    @property
    def last_answer(self) -> str:
        """What its last attempt got."""
        if not self.delivery.attempts:
            return "not sent yet"
        last = self.delivery.attempts[-1]
        return str(last.get("status") or last.get("error") or "no answer")


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the page lists."""

    keys: Sequence[ApiKey]  # those not revoked first
    people: Sequence[StaffUser]
    seen_at: Mapping[str, datetime]  # of a person
    sessions: Sequence[SignedIn]  # in force, the last used first
    devices: Sequence[Device]  # those that wait for an approval first; none that is out of use
    endpoints: Sequence[WebhookEndpoint]
    deliveries: Sequence[DeliveryShown]


async def read_settings(tx: Tx) -> Settings:
    """Return all that the settings page lists."""
    seen = select(StaffSession.user_id, func.max(col(StaffSession.seen_at))).group_by(col(StaffSession.user_id))
    standing = select(Device).where(col(Device.revoked_at).is_(None)).order_by(col(Device.id).desc()).limit(100)
    devices = (await tx.exec(standing)).all()
    keys = await list_keys(tx)
    return Settings(
        keys=[key for key in keys if key.revoked_at is None],
        people=await list_users(tx),
        seen_at=dict((await tx.exec(seen)).all()),
        sessions=await sessions_by_person(tx),
        devices=[*(d for d in devices if d.approved_at is None), *(d for d in devices if d.approved_at is not None)],
        endpoints=(await tx.exec(select(WebhookEndpoint).order_by(col(WebhookEndpoint.id)).limit(100))).all(),
        deliveries=await _last_deliveries(tx),
    )


async def _last_deliveries(tx: Tx) -> list[DeliveryShown]:
    chosen = (
        select(Delivery, Event.type, WebhookEndpoint.url)
        .join(Event, col(Event.id) == col(Delivery.event_id))
        .join(WebhookEndpoint, col(WebhookEndpoint.id) == col(Delivery.endpoint_id))
        .order_by(col(Delivery.id).desc())
        .limit(LAST_DELIVERIES)
    )
    return [DeliveryShown(delivery, kind, url) for delivery, kind, url in (await tx.exec(chosen)).all()]
