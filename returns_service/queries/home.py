"""What the home page shows: how many returns wait in which state, and what happened last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, func, select

from returns_service.store.database import Tx
from returns_service.store.tables import Event, ReturnAuthorization


@dataclass(frozen=True, slots=True)
class StateNumber:
    """How many returns are in a state, and since when the oldest is."""

    number: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """A return that went into another state."""

    return_id: str
    order_id: str
    state: str
    at: datetime


async def returns_by_state(tx: Tx) -> dict[str, StateNumber]:
    """Return the numbers of returns by state; a state without any is left out."""
    row = ReturnAuthorization
    open_ones = col(row.closed_at).is_(None)
    chosen = select(row.state, func.count(), func.min(row.created_at)).where(open_ones).group_by(col(row.state))
    return {state: StateNumber(number, oldest) for state, number, oldest in (await tx.exec(chosen)).all()}


async def latest_changes(tx: Tx, *, limit: int) -> Sequence[Change]:
    """Return the last changes of state, newest first."""
    chosen = (
        select(Event, ReturnAuthorization.order_id)
        .join(ReturnAuthorization, col(ReturnAuthorization.id) == col(Event.return_id))
        .where(col(Event.type) == "return.state_changed")
        .order_by(col(Event.id).desc())
        .limit(limit)
    )
    rows = (await tx.exec(chosen)).all()
    return [Change(event.return_id or "", order, str(event.data.get("to")), event.created_at) for event, order in rows]
