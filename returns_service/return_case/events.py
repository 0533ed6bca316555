"""The append-only history: an event in the transaction of what happened.

Listeners are told from the feed after the commit (`webhook_deliveries.py`): no request waits for them, and no event
can be missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog

from returns_service.domain.vocabulary import RecordedEventType
from returns_service.return_case.mail_outbox import queue_mail
from returns_service.store.database import Tx
from returns_service.store.tables import Event, Payment, Refund, ReturnAuthorization


@dataclass(frozen=True, slots=True)
class Actor:
    """The actor of an event (`key_…`, `usr_…`, a customer's `pts_…`, or a part of the service), and its request."""

    actor: str
    request_id: str | None = None


NOBODY = Actor("")  # the actor of a case that is only looked at
LOGGED: Final[frozenset[RecordedEventType]] = frozenset(
    ("return.state_changed", "return.updated", "refund.status_changed", "refund.attempt_failed", "refund.stuck")
)
log = structlog.get_logger("returns.history")


async def record(
    tx: Tx,
    by: Actor,
    kind: RecordedEventType,
    *,
    row: ReturnAuthorization | None = None,
    refund: Refund | None = None,
    payment: Payment | None = None,
    data: Mapping[str, Any],
) -> Event:
    """Write that `kind` happened. An event of a return is its next version: no change goes without one."""
    if row is not None:
        row.version += 1
        row.updated_at = tx.now
    event = Event(
        id=tx.new_id("evt"),
        type=kind,
        return_id=row.id if row else refund.return_id if refund else None,
        refund_id=refund.id if refund else None,
        payment_id=payment.id if payment else refund.payment_id if refund else row.payment_id if row else None,
        sequence=row.version if row else None,
        actor=by.actor,
        request_id=by.request_id,
        data=to_json_object(data),
        created_at=tx.now,
    )
    tx.add(event)
    queue_mail(tx, event)
    if kind in LOGGED:
        tx.after_commit(lambda: log_event(tx, event))
    return event


def log_event(tx: Tx, event: Event) -> None:
    """Log how money or a return moved, or why it didn't: ids, codes and our own sentences, no words of people."""
    if event not in tx:  # its savepoint was rolled back
        return
    data, stopped = event.data, event.data.get("trigger") == "refund_barred"
    if event.type == "return.updated" and not stopped:
        return
    failure = (data.get("object") or {}).get("failure") or {}
    fields = {
        "return": event.return_id,
        "refund": event.refund_id or failure.get("refund"),
        "payment": event.payment_id,
        **{name: data.get(name) for name in ("from", "to", "trigger", "next_attempt_at")},
        "code": data.get("code") or failure.get("code"),
        "why": data.get("message") or failure.get("message") or (data.get("reason") if stopped else None),
        "by": event.actor,
        "request_id": event.request_id,
    }
    fails = stopped or data.get("to") == "failed" or event.type in ("refund.attempt_failed", "refund.stuck")
    (log.warning if fails else log.info)(event.type, **{name: value for name, value in fields.items() if value})


def to_json_object(value: Mapping[str, Any] | msgspec.Struct) -> dict[str, Any]:
    """Return what an answer, or an event's data that holds views, is as JSON: what a column can store."""
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain
