"""The feed of events: one order for all readers, and no event that they could skip.

Why readers give the positions: a number drawn inside a writing transaction could be committed after a higher one that
was read already. So readers number what is committed, one reader at a time; a late commit gets a later number.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlmodel import col, func, select

from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import EventType
from returns_service.store.database import Database, Tx
from returns_service.store.ids import first_id, last_id
from returns_service.store.tables import Event

BEFORE_ALL = "evt_0"  # stands for the place before the first event, where there is none yet
PLACED_WITHIN = timedelta(hours=1)
LOCK = 7_263_845_002  # any number, the same for all: one transaction numbers events at a time
PLACED_AT_ONCE = 5000  # by one statement: a shop whose feed nobody read for a year has millions that wait
# Events of one return keep their sequence, whatever their ids say of clocks; the rest go by id.
PLACE = """
WITH oldest AS (
    SELECT id, return_id, sequence FROM event WHERE position IS NULL ORDER BY id LIMIT :most
),
latest AS (
    SELECT return_id, max(sequence) AS sequence FROM oldest WHERE return_id IS NOT NULL GROUP BY return_id
),
unplaced AS (
    SELECT id, return_id, sequence FROM oldest
    UNION
    SELECT event.id, event.return_id, event.sequence
    FROM latest JOIN event ON event.return_id = latest.return_id AND event.sequence < latest.sequence
    WHERE event.position IS NULL
),
ordered AS (
    SELECT id, sequence,
           max(id) OVER (PARTITION BY coalesce(return_id, id) ORDER BY coalesce(sequence, 0), id) AS after_id
    FROM unplaced
),
numbered AS (
    SELECT id, row_number() OVER (ORDER BY after_id, coalesce(sequence, 0), id)
               + (SELECT coalesce(max(position), 0) FROM event) AS place
    FROM ordered
)
UPDATE event SET position = numbered.place FROM numbered WHERE event.id = numbered.id RETURNING 1
"""


async def place_events(tx: Tx) -> None:
    """Give every committed event that has none its place in the feed."""
    while await _place_some(tx):
        pass


async def _place_some(tx: Tx) -> bool:
    """Place the oldest events that wait; return whether more may."""
    if tx.postgresql:
        await tx.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    placed = (await tx.execute(text(PLACE), {"most": PLACED_AT_ONCE})).all()
    return len(placed) >= PLACED_AT_ONCE


async def feed_is_placed(tx: Tx) -> bool:
    """Return whether no event waits for its place."""
    waiting = select(Event.id).where(col(Event.position).is_(None)).limit(1)
    return (await tx.exec(waiting)).first() is None


async def bring_up_to_date(database: Database) -> None:
    """Place what waits, so many a transaction; where nothing does, only look."""
    async with database.reading() as tx:
        more = not await feed_is_placed(tx)
    while more:
        more = await database.run(_place_some)


def filter_events(
    chosen: Any, *, return_id: str | None, refund_id: str | None, kinds: Sequence[EventType] | None = None
) -> Any:
    """Narrow a statement over events."""
    for column, value in ((Event.return_id, return_id), (Event.refund_id, refund_id)):
        if value is not None:
            chosen = chosen.where(col(column) == value)
    return chosen if kinds is None else chosen.where(col(Event.type).in_(kinds))


def placed_from(moment: datetime) -> Any:
    """Return the condition that the feed's place meets for all events from `moment` on, and for few before it.

    Events are placed within seconds of their time (a transaction lasts no longer), so an hour earlier none is missed.
    """
    first = select(Event.position).where(col(Event.id) >= first_id("evt", moment, earlier=PLACED_WITHIN))
    first = first.where(col(Event.position).is_not(None)).order_by(col(Event.id)).limit(1)
    return col(Event.position) >= first.scalar_subquery()


def placed_until(moment: datetime) -> Any:
    """Return the condition that the feed's place meets for all events up to `moment`, and for few after it."""
    last = select(Event.position).where(col(Event.id) < last_id("evt", moment, later=PLACED_WITHIN))
    last = last.where(col(Event.position).is_not(None)).order_by(col(Event.id).desc()).limit(1)
    return col(Event.position) <= last.scalar_subquery()


async def position_of(tx: Tx, event_id: str, param: str) -> int:
    """Return an event's place. Raises Problem invalid_request where there is no such event."""
    if event_id == BEFORE_ALL:
        return 0
    position = (await tx.exec(select(Event.position).where(col(Event.id) == event_id))).first()
    if position is None:
        said = {"param": param, "code": "invalid", "message": "Must be the id of an event"}
        raise Problem("invalid_request", f"{param}: there is no event with this id.", param=param, errors=[said])
    return position


async def last_position(tx: Tx) -> int:
    """Return the place of the newest event, 0 where there is none."""
    return (await tx.exec(select(func.max(Event.position)))).first() or 0


async def last_place(tx: Tx) -> tuple[int, str]:
    """Return the place and the id of the newest event."""
    chosen = select(Event.position, Event.id).where(col(Event.position).is_not(None))
    newest = (await tx.exec(chosen.order_by(col(Event.position).desc()).limit(1))).first()
    return (newest[0] or 0, newest[1]) if newest else (0, BEFORE_ALL)


async def events_after(tx: Tx, position: int, limit: int, **narrow: Any) -> Sequence[Event]:
    """Return the events behind a place, oldest first."""
    chosen = filter_events(select(Event).where(col(Event.position) > position), **narrow)
    found: Sequence[Event] = (await tx.execute(chosen.order_by(col(Event.position)).limit(limit))).scalars().all()
    return found
