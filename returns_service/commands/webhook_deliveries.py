"""Deliveries of events to webhook endpoints: made from the feed, recorded, given up, and sent again by hand.

An endpoint keeps its place in the feed. Its deliveries are written and its place moves on in one transaction, so no
event is missed, whoever dies when; a request that makes an event pays nothing for its listeners.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import and_, exists, update
from sqlalchemy import select as columns
from sqlmodel import col, select

from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import DeliveryStatus, DisabledBy
from returns_service.domain.webhook_signature import GIVE_UP_AFTER, HTTP_GONE, Attempt, delay_after
from returns_service.return_case.event_feed import last_position
from returns_service.return_case.views.fields import EndpointId, EventId, HttpStatus, Time, id_of, rfc3339
from returns_service.store.database import Tx, insert_ignore_all, select_for_update
from returns_service.store.delivery_claims import DeliveryClaim
from returns_service.store.tables import Delivery, Event, WebhookEndpoint

AT_ONCE = 200  # events of one look: few enough that nobody waits for the transaction
MOST_ATTEMPTS_KEPT = 50  # three days of failing are 18; people may ask for more
BY_HAND = "It was asked for by hand, and the endpoint is disabled."
DISABLED = {
    "person": "Disabled by {detail}.",
    "http_gone": "It answered 410 Gone: it wants no more events.",
    "nothing_arrived": "Nothing arrived for 3 days. The last call: {detail}",
    "unknown_reason": "{detail}",
}


async def fan_out(tx: Tx) -> list[str]:
    """Write the next deliveries of every enabled endpoint that is behind the feed; return the endpoints.

    An endpoint that another worker holds is passed over.
    """
    last = await last_position(tx)
    behind = select(WebhookEndpoint).where(
        col(WebhookEndpoint.status) == "enabled", col(WebhookEndpoint.position) < last
    )
    chosen = behind.order_by(col(WebhookEndpoint.id)).with_for_update(key_share=True, skip_locked=True)
    endpoints = (await tx.exec(chosen)).all()
    for endpoint in endpoints:
        about = (col(Event.return_id), col(Event.refund_id), col(Event.payment_id))
        events: Any = columns(col(Event.id), col(Event.type), col(Event.position), *about)
        events = events.where(col(Event.position) > endpoint.position).order_by(col(Event.position)).limit(AT_ONCE)
        rows = []
        for event_id, kind, position, *names in (await tx.execute(events)).all():
            endpoint.position = position
            if kind in endpoint.events or ("*" in endpoint.events and kind != "ping"):
                stream = next((name for name in names if name is not None), event_id)
                rows.append(_row(tx, endpoint, event_id, stream, position))
        await insert_ignore_all(tx, Delivery, rows)
    return [endpoint.id for endpoint in endpoints]


def _row(tx: Tx, endpoint: WebhookEndpoint, event_id: str, stream: str, position: int) -> dict[str, Any]:
    return {
        "id": tx.new_id("dlv"), "event_id": event_id, "endpoint_id": endpoint.id, "stream": stream,
        "position": position, "status": "pending", "attempts": [], "failures": 0, "lease_token": 0,
        "next_attempt_at": tx.now, "created_at": tx.now,
    }  # fmt: skip


async def deliver_alone(tx: Tx, endpoint: WebhookEndpoint, event: Event) -> Delivery:
    """Write a delivery of one event to one endpoint, outside the order of all others; return it."""
    row = Delivery(**_row(tx, endpoint, event.id, event.id, 0))
    tx.add(row)
    await tx.flush()
    return row


async def record_delivery(tx: Tx, claim: DeliveryClaim, attempt: Attempt) -> str | None:
    """Write down what became of a call. Returns why the endpoint was disabled, where this has just disabled it.

    A claim that another worker has taken over changes nothing.
    """
    endpoint = None
    if not attempt.arrived:  # locked before the delivery, as by everybody who may change both
        endpoint = await lock_endpoint(tx, claim.endpoint_id)
    found = await select_for_update(tx, select(Delivery).where(col(Delivery.id) == claim.delivery_id), Delivery)
    if not found or found[0].lease_token != claim.token:
        return None
    row = found[0]
    entry = {"at": rfc3339(claim.claimed_at), "status": attempt.status, "error": attempt.error}
    row.attempts = [*row.attempts, entry][-MOST_ATTEMPTS_KEPT:]
    if attempt.arrived:
        row.status, row.reason, row.failures, row.failing_since = "delivered", None, 0, None
        row.next_attempt_at, row.ended_at = None, tx.now
        await _release_stream(tx, row)
        return None
    row.failures += 1
    row.failing_since = row.failing_since or claim.claimed_at
    if endpoint is None or row.status != "pending":
        return None  # it ended while the call was under way
    return await _record_failure(tx, endpoint, row, attempt)


async def _record_failure(tx: Tx, endpoint: WebhookEndpoint, row: Delivery, attempt: Attempt) -> str | None:
    since = row.failing_since or tx.now
    if attempt.status == HTTP_GONE and endpoint.status == "enabled":
        return await disable(tx, endpoint, "http_gone")
    if endpoint.status == "disabled":
        _give_up(tx, row, f"{attempt.error} {BY_HAND}")
        return None
    if tx.now - since < GIVE_UP_AFTER:
        row.next_attempt_at = tx.now + delay_after(row.failures)
        await _put_off_stream(tx, row)
        return None
    days = GIVE_UP_AFTER.days
    if not await _arrived_since(tx, row):
        return await disable(tx, endpoint, "nothing_arrived", attempt.error)
    _give_up(tx, row, f"It failed for {days} days while others arrived. The last call: {attempt.error}")
    await _release_stream(tx, row)
    return None


def _give_up(tx: Tx, row: Delivery, reason: str) -> None:
    row.status, row.reason, row.next_attempt_at, row.ended_at = "dead", reason, None, tx.now


async def _arrived_since(tx: Tx, row: Delivery) -> bool:
    """Return whether the endpoint took anything while this delivery was failing: then it is not the endpoint."""
    taken = exists().where(
        col(Delivery.endpoint_id) == row.endpoint_id,
        col(Delivery.status) == "delivered",
        col(Delivery.ended_at) >= row.failing_since,
    )
    return bool((await tx.execute(select(taken))).scalar_one())


def _behind(row: Delivery) -> Any:
    """Return the condition that picks what waits for this delivery."""
    return and_(
        col(Delivery.endpoint_id) == row.endpoint_id,
        col(Delivery.stream) == row.stream,
        col(Delivery.status) == "pending",
        col(Delivery.position) > row.position,
    )


async def _release_stream(tx: Tx, row: Delivery) -> None:
    """Make the deliveries due that waited for this one: the claim keeps their order."""
    later = update(Delivery).where(_behind(row), col(Delivery.next_attempt_at) > tx.now)
    await tx.execute(later.values(next_attempt_at=tx.now).execution_options(synchronize_session=False))


async def _put_off_stream(tx: Tx, row: Delivery) -> None:
    """Put off the deliveries that wait for this one: they tell their real time, and no worker looks at them in vain."""
    sooner = update(Delivery).where(_behind(row), col(Delivery.next_attempt_at) < row.next_attempt_at)
    await tx.execute(sooner.values(next_attempt_at=row.next_attempt_at).execution_options(synchronize_session=False))


async def disable(tx: Tx, endpoint: WebhookEndpoint, by: DisabledBy, detail: str | None = None) -> str:
    """Stop telling a locked endpoint; return why. What it has not got is dead until the endpoint is enabled again."""
    await tx.flush()  # or what was changed here would be written over it
    endpoint.status, endpoint.disabled_at = "disabled", tx.now
    endpoint.disabled_by, endpoint.disabled_detail, endpoint.disabled_reason = by, detail, None
    reason = describe_disabled(endpoint) or by
    left = update(Delivery).where(col(Delivery.endpoint_id) == endpoint.id, col(Delivery.status) == "pending")
    dead = {"status": "dead", "reason": f"The endpoint was disabled. {reason}", "next_attempt_at": None}
    await tx.execute(left.values(**dead, ended_at=tx.now).execution_options(synchronize_session=False))
    return reason


def describe_disabled(endpoint: WebhookEndpoint) -> str | None:
    """Return in plain words why a webhook endpoint is disabled, None where it is enabled."""
    if endpoint.disabled_reason is not None:
        return endpoint.disabled_reason
    if endpoint.disabled_by is None:
        return None
    return DISABLED.get(endpoint.disabled_by, "{detail}").format(detail=endpoint.disabled_detail or "")


async def send_again(tx: Tx, endpoint: WebhookEndpoint, *, dead: bool) -> None:
    """Make due at once, in order and on a new schedule, what a locked endpoint has not got.

    `dead`: also what was given up. A call under way went to the endpoint as it was before: its answer (410 Gone, say)
    changes nothing any more.
    """
    statuses = ("pending", "dead") if dead else ("pending",)
    left = update(Delivery).where(col(Delivery.endpoint_id) == endpoint.id, col(Delivery.status).in_(statuses))
    anew = {"status": "pending", "reason": None, "failures": 0, "failing_since": None, "ended_at": None}
    again = left.values(**anew, next_attempt_at=tx.now, lease_token=col(Delivery.lease_token) + 1)
    await tx.execute(again.execution_options(synchronize_session=False))


async def retry_delivery(tx: Tx, delivery_id: str) -> Delivery:
    """Send a delivery again now, whatever its status. Raises Problem not_found."""
    row = await get_delivery(tx, delivery_id)
    await lock_endpoint(tx, row.endpoint_id)
    found = await select_for_update(tx, select(Delivery).where(col(Delivery.id) == delivery_id), Delivery)
    if not found:
        raise Problem("not_found", f"There is no delivery {delivery_id}.")
    row = found[0]
    if row.status != "pending":
        row.status, row.reason, row.failures, row.failing_since, row.ended_at = "pending", None, 0, None, None
    row.next_attempt_at = tx.now
    await tx.flush()
    return row


async def get_delivery(tx: Tx, delivery_id: str) -> Delivery:
    """Return a delivery, to look at. Raises Problem not_found."""
    row = await tx.get(Delivery, delivery_id)
    if row is None:
        raise Problem("not_found", f"There is no delivery {delivery_id}.")
    return row


async def lock_endpoint(tx: Tx, endpoint_id: str) -> WebhookEndpoint | None:
    """Lock an endpoint and return it; None where it is deleted."""
    chosen = select(WebhookEndpoint).where(col(WebhookEndpoint.id) == endpoint_id)
    found: Sequence[WebhookEndpoint] = await select_for_update(tx, chosen, WebhookEndpoint)
    return found[0] if found else None


class DeliveryAttemptView(Struct, kw_only=True):
    """One call."""

    at: Time
    status: HttpStatus | None
    error: str | None


class DeliveryView(Struct, kw_only=True, tag_field="object", tag="delivery"):
    """One event on its way to one endpoint."""

    id: Annotated[str, id_of("dlv")]
    created: Time
    event: EventId
    endpoint: EndpointId
    status: DeliveryStatus
    reason: Annotated[str | None, Meta(description="Why it is dead.")]
    attempts: list[DeliveryAttemptView]
    next_attempt_at: Time | None
    ended_at: Time | None


def show_delivery(row: Delivery) -> DeliveryView:
    """Return one event on its way to one endpoint."""
    return DeliveryView(
        id=row.id,
        created=rfc3339(row.created_at),
        event=row.event_id,
        endpoint=row.endpoint_id,
        status=row.status,
        reason=row.reason,
        attempts=msgspec.convert(row.attempts, list[DeliveryAttemptView]),
        next_attempt_at=rfc3339(row.next_attempt_at),
        ended_at=rfc3339(row.ended_at),
    )
