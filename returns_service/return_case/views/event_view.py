"""An entry of the history as it is answered, streamed and delivered."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from returns_service.domain.vocabulary import RecordedEventType
from returns_service.return_case.views.fields import Count, EventId, PaymentId, RefundId, ReturnId, Time, rfc3339
from returns_service.store.tables import Event


class EventView(Struct, kw_only=True, tag_field="object", tag="event", rename={"return_": "return"}):
    """What happened to what, and who did it."""

    id: EventId
    created: Time
    type: RecordedEventType
    return_: ReturnId | None
    refund: RefundId | None
    payment: PaymentId | None
    actor: str
    request_id: str | None
    sequence: Annotated[Count | None, Meta(description="Counts the events of one return, from 1.")]
    data: dict[str, Any]


def show_event(event: Event) -> EventView:
    """Return one entry of the history."""
    return EventView(
        id=event.id,
        created=rfc3339(event.created_at),
        type=event.type,
        return_=event.return_id,
        refund=event.refund_id,
        payment=event.payment_id,
        actor=event.actor,
        request_id=event.request_id,
        sequence=event.sequence,
        data=event.data,
    )
