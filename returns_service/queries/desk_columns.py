"""What the statements of the desk's kinds share: their columns, the moments that conditions compare with, `HELD`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import and_, bindparam, literal_column, or_, select
from sqlmodel import col

from returns_service.domain.vocabulary import DESK_KINDS, DeskKind
from returns_service.store.columns import Utc
from returns_service.store.tables import Payment, Refund

IDS = (
    "refund_id", "return_id", "payment_id", "stripe_event_id", "difference_id", "endpoint_id", "refusal_id",
    "undeclared_id", "unmatched_id", "event_id",
)  # fmt: skip
ENTRY = ("kind", "urgency", "since", "subject", *IDS)
# By a dispute, by a read that is still to come, or by a refund made outside that waits for a person: not to be sent.
HELD_BY_EXTERNAL = and_(col(Payment.external_open), ~col(Refund.overrides_hold))
HELD = and_(col(Refund.status) == "queued", or_(col(Payment.disputed), col(Payment.held_until_read), HELD_BY_EXTERNAL))


def entry_head(kind: DeskKind, since: Any, subject: Any, **ids: Any) -> Any:
    """Return the head of one kind's statement."""
    columns = {
        "kind": literal_column(f"'{kind}'"),
        "urgency": literal_column(str(DESK_KINDS.index(kind))),
        "since": since,
        "subject": subject,
    }
    nothing: Any = literal_column("CAST(NULL AS VARCHAR)")
    return select(*((columns | ids).get(name, nothing).label(name) for name in ENTRY))


def before_now(age: timedelta) -> Any:
    """Return the moment that lies `age` back when the statement runs: it is built once and given each run's values."""
    return bindparam(moment_name(age), type_=Utc())


def moment_name(age: timedelta) -> str:
    """Return the name under which the statement is given that moment."""
    return f"before_{age // timedelta(seconds=1)}_seconds"
