"""What happened, as people look at it: a return's timeline, the latest of all, and what one act of theirs did."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, or_
from sqlmodel import col, select

from returns_service.return_case.event_feed import BEFORE_ALL
from returns_service.store.database import Tx
from returns_service.store.tables import ApiKey, Event, Photo, ReturnAuthorization, StaffUser

MOST_OF_REQUEST = 10
LOOKED_AT = 500  # events, for the few that are told
MOST_SHOWN = 200  # events of one return on its page
_NAMES = {"stripe": "Stripe", "worker": "the service", "policy": "the policy", "cli": "the command line"}


@dataclass(frozen=True, slots=True)
class Happening:
    """An event with the order of its return, where it is of one."""

    event: Event
    order_id: str | None


async def events_of_request(tx: Tx, actor: str, request_id: str, subjects: Collection[str]) -> Sequence[Event]:
    """Return the events that a person's request wrote about returns or refunds, in their order.

    A request that was sent again wrote nothing: then it is their last request about them that counts.
    """
    mine = (
        or_(col(Event.return_id).in_(subjects), col(Event.refund_id).in_(subjects)),
        col(Event.actor) == actor,
    )
    last = select(Event.request_id).where(*mine).order_by(col(Event.id).desc()).limit(1)
    for wanted in (request_id, (await tx.exec(last)).first()):
        chosen = select(Event).where(*mine, col(Event.request_id) == wanted)
        events = (await tx.exec(chosen.order_by(col(Event.sequence), col(Event.id)).limit(MOST_OF_REQUEST))).all()
        if events:
            return events
    return []


async def read_happening(tx: Tx, event_id: str) -> Happening | None:
    """Return one event to tell; None where there is none."""
    event = await tx.get(Event, event_id)
    if event is None:
        return None
    row = await tx.get(ReturnAuthorization, event.return_id) if event.return_id else None
    return Happening(event, row.order_id if row else None)


@dataclass(frozen=True, slots=True)
class Timeline:
    """A return's events, newest first, up to MOST_SHOWN; and what its page shows beside them."""

    events: Sequence[Event]
    names: Mapping[str, str]  # actor -> name, of the people and programs among them
    last_event: str  # the newest of all that the feed has placed
    has_photos: bool


_LAST_EVENT = select(Event.id).where(col(Event.position).is_not(None)).order_by(col(Event.position).desc()).limit(1)
_PHOTO = select(Photo.id).where(col(Photo.return_id) == bindparam("return_id")).exists()
_OF_EVENT: Any = (Event, StaffUser.name, StaffUser.email, ApiKey.name, _LAST_EVENT.scalar_subquery(), _PHOTO)
_TIMELINE = (
    select(*_OF_EVENT)
    .outerjoin(StaffUser, col(StaffUser.id) == col(Event.actor))
    .outerjoin(ApiKey, col(ApiKey.id) == col(Event.actor))
    .where(col(Event.return_id) == bindparam("return_id"))
    .order_by(col(Event.sequence).desc())
    .limit(MOST_SHOWN)
)


async def timeline_of(tx: Tx, return_id: str) -> Timeline | None:
    """Read what happened to a return, in one statement; None where nothing did: there is no such return."""
    rows: Any = (await tx.execute(_TIMELINE, {"return_id": return_id})).all()
    if not rows:
        return None
    names = {event.actor: name or email for event, name, email, *_ in rows if email is not None}
    names |= {event.actor: name_of_key(key) for event, _, __, key, *_ in rows if key is not None}
    *_, last_event, has_photos = rows[0]
    return Timeline([row[0] for row in rows], names, last_event or BEFORE_ALL, bool(has_photos))


async def latest_happenings(tx: Tx, *, limit: int) -> list[Happening]:
    """Return what happened last to returns, newest first: each change of state among the last LOOKED_AT events."""
    last = select(Event.id, Event.type).order_by(col(Event.id).desc()).limit(LOOKED_AT).subquery("last")
    told = select(last.c.id).where(last.c.type.in_(("return.state_changed", "return.created")))
    chosen = (
        select(Event, ReturnAuthorization.order_id)
        .join(ReturnAuthorization, col(ReturnAuthorization.id) == col(Event.return_id))
        .where(col(Event.id).in_(told))
        .order_by(col(Event.id).desc())
        .limit(limit)
    )
    return [Happening(event, order_id) for event, order_id in (await tx.exec(chosen)).all()]


def name_of_key(name: str) -> str:
    """Return what people call an API key."""
    return f"{name} (API key)"


async def names_of(tx: Tx, actors: Sequence[str]) -> dict[str, str]:
    """Return what people call each actor: a colleague's name, a key's, or Stripe, the service, the policy."""
    names: dict[str, str] = {}
    if users := [a for a in actors if a.startswith("usr_")]:
        people = (await tx.exec(select(StaffUser).where(col(StaffUser.id).in_(users)))).all()
        names |= {user.id: user.name or user.email for user in people}
    if keys := [a for a in actors if a.startswith("key_")]:
        programs = (await tx.exec(select(ApiKey).where(col(ApiKey.id).in_(keys)))).all()
        names |= {key.id: name_of_key(key.name) for key in programs}
    names |= {actor: "the customer" for actor in actors if actor.startswith("pts_")}
    return {actor: names.get(actor) or _NAMES.get(actor, actor) for actor in actors}
