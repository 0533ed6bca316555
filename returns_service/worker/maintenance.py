"""What else is due: folds that raised, payments to read again, refunds that a guard barred.

Each chore takes one thing and is safe to do twice. The thing is put off before it is done, so that a bad one comes
back later, and keeps nothing behind it waiting.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, get_args

import structlog
from msgspec.structs import asdict
from sqlalchemy import Text, and_, bindparam, cast, delete, exists, func, inspect, select, tuple_, update
from sqlmodel import SQLModel, col

from returns_service.commands.external_refunds import follow_policy, payments_held_otherwise
from returns_service.commands.mail import GIVE_UP_AFTER, TOLD_AT
from returns_service.commands.refunds import follow_up
from returns_service.commands.search_index import complete, index_refunds
from returns_service.commands.stripe_fold import apply_payment, note_missing
from returns_service.commands.stripe_inbox import fold_again
from returns_service.commands.webhook_endpoints import DEAD_KEPT_DAYS
from returns_service.domain.policy import Policy
from returns_service.domain.stripe_objects import Missing, PaymentSnapshot
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import lock_case
from returns_service.return_case.locked_payment import lock_payment
from returns_service.store.columns import Utc
from returns_service.store.database import Database, Tx
from returns_service.store.ids import first_id
from returns_service.store.tables import (
    Delivery,
    IdempotencyKey,
    Mail,
    Payment,
    Photo,
    PortalSession,
    Receipt,
    Refund,
    RefundWord,
    ReturnAuthorization,
    SignInLink,
    SignInThrottle,
    StaffMail,
    StaffSession,
    StripeEvent,
)
from returns_service.stripe_gateway import Gateway, event_data_from_payload
from returns_service.worker.missed_events import is_time_to_pull

AGAIN_SECONDS = 60  # before a fold that raised, or a read that got no answer, is tried again
BATCH = 500  # rows a cleaning transaction takes at once
SESSION_KEPT_DAYS = 30  # after its end: people see where they were signed in, and late scans find their name
PORTAL_KEPT = timedelta(days=30)  # after its link's end, where nothing was sent by it
ROLLOUT = timedelta(days=2)  # processes of two releases run side by side for less
STRIPE_KEEPS_DAYS = 35  # longer than Stripe lists its events or tries to deliver them
Chore = Literal["fold_event", "read_payment", "follow_up", "complete_return", "pull_event"]
CHORES: tuple[Chore, ...] = get_args(Chore)
log = structlog.get_logger("returns.chores")


def _find() -> Any:
    """Return the statement that tells which chores are due at `now`, but for the pull of missed events."""
    now = bindparam("now", type_=Utc())

    def is_due(moment: Any) -> Any:
        # The soonest, not any: without knowing `now` PostgreSQL expects any soon enough to read the table for it.
        soonest = select(moment).where(moment.is_not(None)).order_by(moment).limit(1)
        return soonest.scalar_subquery() <= now

    return select(
        is_due(col(StripeEvent.next_attempt_at)).label("fold_event"),
        is_due(col(Payment.read_at)).label("read_payment"),
        is_due(col(ReturnAuthorization.follow_up_at)).label("follow_up"),
        exists().where(col(ReturnAuthorization.slip_code).is_(None)).label("complete_return"),
    )


FIND_DUE = _find()  # built once: a worker runs it twice a second


async def find_due_chores(tx: Tx) -> list[Chore]:
    """Return the chores that have something to do: mostly none, and then no transaction is begun for them."""
    found = (await tx.execute(FIND_DUE, {"now": tx.now})).one()._asdict()
    found["pull_event"] = await is_time_to_pull(tx)
    return [chore for chore in CHORES if found[chore]]


async def _put_off(db: Database, row_id: Any, moment: Any) -> str | None:
    """Put off the row whose moment came first, and that no worker holds; return its id, None where none is due."""

    async def work(tx: Tx) -> str | None:
        due = select(col(row_id)).where(col(moment) <= tx.now).order_by(col(moment)).limit(1)
        found: str | None = (await tx.execute(due.with_for_update(key_share=True, skip_locked=True))).scalars().first()
        if found is not None:
            later = update(row_id.class_).where(col(row_id) == found)
            later = later.values({col(moment): tx.now + timedelta(seconds=AGAIN_SECONDS)})
            await tx.execute(later.execution_options(synchronize_session=False))
        return found

    return await db.run(work, safe_to_repeat=True)


async def refold_event(db: Database, by: Actor, policy: Policy, *, livemode: bool) -> bool:
    """Fold one stored event whose fold raised before; return whether there was one."""
    found = await _put_off(db, StripeEvent.id, StripeEvent.next_attempt_at)
    if found is None:
        return False

    async def work(tx: Tx) -> bool:
        chosen = select(StripeEvent).where(col(StripeEvent.id) == found).with_for_update()
        row = (await tx.execute(chosen)).scalars().one()
        if row.next_attempt_at is None:
            return False  # somebody else has folded it meanwhile
        event = event_data_from_payload(row.payload)
        folded = await fold_again(tx, by, policy, event, attempts=row.attempts + 1, livemode=livemode)
        for name, value in asdict(folded).items():
            setattr(row, name, value)
        return True

    return await db.run(work)


async def reread_payment(db: Database, gateway: Gateway, by: Actor, policy: Policy) -> bool:
    """List one payment's refunds at Stripe, where something didn't add up; return whether there was one."""
    async with db.transaction() as tx:
        chosen = select(Payment).where(col(Payment.read_at) <= tx.now).order_by(col(Payment.read_at)).limit(1)
        payment = (await tx.execute(chosen.with_for_update(key_share=True, skip_locked=True))).scalars().first()
        if payment is None:
            return False
        again = tx.now + timedelta(seconds=AGAIN_SECONDS)
        payment.read_at = again
        names, observations = (payment.payment_intent, payment.charge), payment.observations
    seen = await gateway.read_payment(payment_intent=names[0], charge=None if names[0] else names[1])
    if not isinstance(seen, PaymentSnapshot):
        log.warning("payment.not_read", payment=payment.id, answer=type(seen).__name__)
        if isinstance(seen, Missing):
            await db.run(lambda tx: note_missing(tx, payment.id), safe_to_repeat=True)
        return True

    async def work(tx: Tx) -> None:
        locked = await lock_payment(tx, payment.id)
        if locked.row.read_at == again:  # else something asked for another look meanwhile
            locked.row.read_at = None
        await apply_payment(locked, by, policy, seen, observations_at_start=observations)

    await db.run(work)
    return True


async def retry_follow_up(db: Database, by: Actor, policy: Policy) -> bool:
    """Try one refund again that a guard barred; return whether there was one."""
    found = await _put_off(db, ReturnAuthorization.id, ReturnAuthorization.follow_up_at)
    if found is None:
        return False

    async def work(tx: Tx) -> None:
        await follow_up(await lock_case(tx, by, policy, found))

    await db.run(work)
    return True


async def follow_policy_on_holds(db: Database, by: Actor, policy: Policy) -> int:
    """Hold and free payments as the policy in force says of refunds made outside; return how many.

    Without this, a new policy would reach a payment only with its next news.
    """
    found = await db.read(lambda tx: payments_held_otherwise(tx, policy))
    for payment_id in found:
        await db.run(partial(follow_policy, by=by, policy=policy, payment_id=payment_id), safe_to_repeat=True)
    return len(found)


async def complete_return(db: Database, by: Actor, policy: Policy) -> bool:
    """Complete one return that the release before made during a rollout; return whether there was one."""
    async with db.reading() as tx:
        chosen = select(col(ReturnAuthorization.id)).where(col(ReturnAuthorization.slip_code).is_(None)).limit(1)
        return_id = (await tx.execute(chosen)).scalars().first()
    if return_id is None:
        return False
    await db.run(lambda tx: complete(tx, by, policy, return_id))
    return True


async def index_late_refunds(db: Database) -> int:
    """Give refunds the words they are found by, where a release before made them in a rollout; return how many."""

    async def work(tx: Tx) -> int:
        lately = col(Refund.id) >= first_id("rfd", tx.now - ROLLOUT)
        has_words = exists().where(col(RefundWord.refund_id) == col(Refund.id))
        has_metadata = cast(col(Refund.details), Text) != "{}"
        chosen = select(Refund).where(lately, has_metadata, ~has_words).limit(BATCH)
        refunds = (await tx.execute(chosen)).scalars().all()
        await index_refunds(tx, refunds)
        return len(refunds)

    return await db.run(work, safe_to_repeat=True)


async def note_arrivals(db: Database) -> int:
    """Note on returns that the dock counted something of them, where a release before did so during a rollout.

    Returns how many returns that were. The desk and the lists find by this note what has a parcel here.
    """
    async with db.reading() as tx:
        lately = col(Receipt.id) >= first_id("rcp", tx.now - ROLLOUT)
        missed = select(col(ReturnAuthorization.id)).distinct()
        missed = missed.join(Receipt, col(Receipt.return_id) == col(ReturnAuthorization.id))
        ids = (await tx.execute(missed.where(lately, col(ReturnAuthorization.arrived_at).is_(None)))).scalars().all()
    first = select(func.min(col(Receipt.created_at))).where(col(Receipt.return_id) == col(ReturnAuthorization.id))
    if ids:
        noted = update(ReturnAuthorization).where(col(ReturnAuthorization.id).in_(ids))
        noted = noted.values(arrived_at=first.scalar_subquery()).execution_options(synchronize_session=False)
        await db.run(lambda tx: tx.execute(noted))
    return len(ids)


async def delete_expired(db: Database, *, idempotency_hours: int, inbox_days: int) -> int:
    """Delete answers, sessions, deliveries and events of Stripe's that nobody will ask for again; return how many rows.

    A folded event loses its body first and its row once Stripe can't tell it again (it keeps them for 30 days); one
    whose fold raised stays. A delivery that arrived goes with them; a delivery that was given up waits longer for a
    person. Mail that nobody tried to send for days, since mail was off, is given up. In small transactions: nobody
    waits for a cleaning.
    """
    now = db.now()
    old_event = _folded_before(now - timedelta(days=inbox_days))
    gone_event = _folded_before(now - timedelta(days=max(inbox_days, STRIPE_KEEPS_DAYS)))
    arrived = and_(col(Delivery.status) == "delivered", col(Delivery.ended_at) < now - timedelta(days=inbox_days))
    given_up = and_(col(Delivery.status) == "dead", col(Delivery.ended_at) < now - timedelta(days=DEAD_KEPT_DAYS))
    old_session = col(StaffSession.expires_at) < now - timedelta(days=SESSION_KEPT_DAYS)
    old_link = col(SignInLink.expires_at) < now - timedelta(days=1)
    old_try = col(SignInThrottle.tried_at) < now - timedelta(days=1)
    old_portal = and_(col(PortalSession.expires_at) < now - PORTAL_KEPT, col(PortalSession.return_id).is_(None))
    old_photo = col(Photo.portal_session_id).in_(select(col(PortalSession.id)).where(old_portal))
    stale = {"status": "dead", "reason": "too_old", "failures": TOLD_AT, "next_attempt_at": None, "ended_at": now}
    old_key = col(IdempotencyKey.created_at) < now - timedelta(hours=idempotency_hours)
    done = 0
    for kind, chosen, values in (
        (IdempotencyKey, old_key, None),
        (Mail, col(Mail.next_attempt_at) < now - GIVE_UP_AFTER, stale),
        (StaffMail, col(StaffMail.next_attempt_at) < now - GIVE_UP_AFTER, stale),
        (Mail, col(Mail.ended_at) < now - timedelta(days=inbox_days), None),
        (StaffMail, col(StaffMail.ended_at) < now - timedelta(days=inbox_days), None),
        (Photo, old_photo, None),
        (PortalSession, old_portal, None),
        (StaffSession, old_session, None),
        (SignInLink, old_link, None),
        (SignInThrottle, old_try, None),
        (Delivery, arrived, None),
        (Delivery, given_up, None),
        (StripeEvent, gone_event, None),
        (StripeEvent, and_(old_event, col(StripeEvent.payload) != ""), {"payload": ""}),
    ):
        while count := await _one_batch(db, kind, chosen, values):
            done += count
    return done


def _folded_before(moment: datetime) -> Any:
    # The time of arrival has an index, and is never the later one.
    return and_(col(StripeEvent.received_at) < moment, col(StripeEvent.processed_at) < moment)


async def _one_batch(db: Database, kind: type[SQLModel], chosen: Any, values: dict[str, Any] | None) -> int:
    keys = list(inspect(kind).primary_key)
    some = select(*keys).where(chosen).limit(BATCH).with_for_update(skip_locked=True)
    async with db.transaction() as tx:
        found = (await tx.execute(some)).all()
        if found:
            meant = tuple_(*keys).in_([tuple(row) for row in found])
            await tx.execute(
                delete(kind).where(meant) if values is None else update(kind).where(meant).values(**values)
            )
        return len(found)
