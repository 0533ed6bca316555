"""The columns that every kind of the desk's statement has."""

from __future__ import annotations

from typing import Any

from sqlalchemy import literal_column, select

from returns_service.domain.vocabulary import DESK_KINDS, DeskKind

IDS = (
    "refund_id", "return_id", "payment_id", "stripe_event_id", "difference_id", "endpoint_id", "refusal_id",
    "undeclared_id", "unmatched_id", "event_id",
)  # fmt: skip
ENTRY = ("kind", "urgency", "since", "subject", *IDS)


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
