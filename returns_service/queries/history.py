"""What happened, as people look at it: a return's timeline, the latest of all, and what one act of theirs did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, select

from returns_service.store.database import Tx
from returns_service.store.tables import ApiKey, Event, ReturnAuthorization, StaffUser

MOST_SHOWN = 200  # events of one return on its page
_NAMES = {"stripe": "Stripe", "worker": "the service", "policy": "the policy", "cli": "the command line"}


@dataclass(frozen=True, slots=True)
class Happening:
    """An event with the order of its return, where it is of one."""

    event: Event
    order_id: str | None


async def find_act(
    tx: Tx, actor: str, request_id: str, *, return_id: str | None = None, refund_id: str | None = None
) -> str | None:
    """Return the id of the event that a person's request wrote first; sent again, of the newest by that person.

    None where nothing was written: a look at Stripe that found nothing new, say.
    """
    if return_id is None and refund_id is None:
        return None
    of = col(Event.return_id) == return_id if return_id is not None else col(Event.refund_id) == refund_id
    mine = select(Event.id).where(of, col(Event.actor) == actor)
    first = mine.where(col(Event.request_id) == request_id).order_by(col(Event.sequence), col(Event.id)).limit(1)
    if (event_id := (await tx.exec(first)).first()) is not None:
        return event_id
    return (await tx.exec(mine.order_by(col(Event.id).desc()).limit(1))).first()


async def read_happening(tx: Tx, event_id: str) -> Happening | None:
    """Return one event to tell; None where there is none."""
    event = await tx.get(Event, event_id)
    if event is None:
        return None
    row = await tx.get(ReturnAuthorization, event.return_id) if event.return_id else None
    return Happening(event, row.order_id if row else None)


async def timeline_of(tx: Tx, return_id: str) -> Sequence[Event]:
    """Return a return's events, newest first, up to MOST_SHOWN."""
    chosen = select(Event).where(col(Event.return_id) == return_id).order_by(col(Event.sequence).desc())
    return (await tx.exec(chosen.limit(MOST_SHOWN))).all()


async def latest_happenings(tx: Tx, *, limit: int) -> list[Happening]:
    """Return what happened last to returns, newest first: each change of state."""
    chosen = (
        select(Event, ReturnAuthorization.order_id)
        .join(ReturnAuthorization, col(ReturnAuthorization.id) == col(Event.return_id))
        .where(col(Event.type).in_(("return.state_changed", "return.created")))
        .order_by(col(Event.id).desc())
        .limit(limit)
    )
    return [Happening(event, order_id) for event, order_id in (await tx.exec(chosen)).all()]


async def names_of(tx: Tx, actors: Sequence[str]) -> dict[str, str]:
    """Return what people call each actor: a colleague's name, a key's, or Stripe, the service, the policy."""
    users = select(StaffUser).where(col(StaffUser.id).in_([a for a in actors if a.startswith("usr_")]))
    keys = select(ApiKey).where(col(ApiKey.id).in_([a for a in actors if a.startswith("key_")]))
    names = {user.id: user.name or user.email for user in (await tx.exec(users)).all()}
    names |= {key.id: f"key {key.name}" for key in (await tx.exec(keys)).all()}
    names |= {actor: "the customer" for actor in actors if actor.startswith("pts_")}
    return {actor: names.get(actor) or _NAMES.get(actor, actor) for actor in actors}
