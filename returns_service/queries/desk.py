"""The desk: everything that waits for a person, found in rows that are there anyway.

Each kind is one condition over a small set: the refunds that are not settled, returns whose refund a guard bars, events
whose fold raised, rows of the last comparison with Stripe, and what stands still as a whole. A thing is on the desk as
long as its condition holds: nobody puts it there and nobody has to take it off. How long a wait is normal:
https://docs.stripe.com/refunds, https://support.stripe.com/questions/customer-refund-processing-time
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, and_, case, cast, func, literal, literal_column, or_, select, true, tuple_, union_all
from sqlalchemy.orm import aliased, defer
from sqlmodel import col

from returns_service.commands.stripe_inbox import ON_THE_DESK_AFTER
from returns_service.domain.refund_attempt import STUCK_AFTER
from returns_service.domain.refund_status import ENDED, OPEN, WAITING, RefundStatus
from returns_service.domain.vocabulary import DESK_KINDS, DeskKind
from returns_service.queries.desk_columns import HELD, before_now, entry_head, moment_name
from returns_service.queries.desk_dock import of_the_dock
from returns_service.queries.desk_news import MAIL_SHOWN, RATE_SHOWN, of_news
from returns_service.queries.system_health import BEFORE_ALL, FAR_BACK, HEALTH, OVERDUE_FOR, SystemHealth
from returns_service.return_case.case import ReturnCase
from returns_service.store.columns import Utc, among
from returns_service.store.database import Tx
from returns_service.store.stripe_throttle import BREAK_AFTER
from returns_service.store.tables import (
    Event,
    Payment,
    Receipt,
    ReceiptLine,
    ReconciliationDifference,
    Refund,
    ReturnAuthorization,
    ReturnLine,
    StripeEvent,
    StripeRefusal,
    UndeclaredItem,
    UnmatchedReceipt,
    WebhookEndpoint,
)
from returns_service.store.tables.core import PARCEL_HERE_STATES

PENDING_FOR = timedelta(days=14)  # banks take 5 to 10 business days
ACTION_FOR = timedelta(days=7)  # the customer has 45 days to answer Stripe's e-mail; a reminder helps before that
UNSENT_FOR = timedelta(hours=1)  # an outage of minutes is the worker's own business
SILENT_FOR = timedelta(hours=1)  # the sweep reads Stripe's list every five minutes
UNCOMPARED_FOR = timedelta(days=1)  # a comparison that is interrupted is tried again every ten minutes


@dataclass(frozen=True, slots=True)
class DeskEntry:
    """One thing on the desk, with the rows it is about."""

    kind: DeskKind
    since: datetime
    subject: str
    refund: Refund | None
    case: ReturnAuthorization | None
    payment: Payment | None
    stripe_event: StripeEvent | None
    difference: ReconciliationDifference | None
    endpoint: WebhookEndpoint | None
    refusal: StripeRefusal | None
    undeclared: UndeclaredItem | None
    unmatched: UnmatchedReceipt | None
    event: Event | None
    left: int  # of the payment, minor units
    whole: ReturnCase | None = None  # the return with all that decides about it
    payment_refunds: Sequence[Refund] = ()  # all refunds of its payment

    @property
    def id(self) -> str:
        """What a page's cursor names."""
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True, slots=True)
class DeskTotal:
    """How many things of a kind there are, and since when the oldest waits."""

    kind: DeskKind
    number: int
    oldest: datetime | None


def _status(*words: RefundStatus) -> Any:
    return among(Refund.status, words)


DISPUTE = func.coalesce(col(Payment.dispute)["status"].as_string(), "")
LOST = or_(DISPUTE == "lost", and_(DISPUTE == "prevented", col(Payment.disputed)))  # as `gave_money_back` says
# A sentence that an older release wrote stands for no code of ours.
WAITS_FOR = case(
    (col(Refund.waits_for).is_not(None), "unknown_reason"), else_=func.coalesce(col(Refund.waiting_code), "")
)
MISSING_AT_STRIPE = or_(WAITS_FOR == "payment_missing", WAITS_FOR == "refund_missing")
UNRESOLVED = and_(
    among(Refund.status, ENDED),
    col(Refund.superseded_at).is_(None),
    func.coalesce(col(Refund.amount_open), col(Refund.amount)) > 0,
    # One made outside that pays nothing of ours is its maker's business.
    or_(col(Refund.source) != "external", col(Refund.return_id).is_not(None), col(Refund.supersedes).is_not(None)),
    # A person who cancels a refund of no return before it is sent has decided all there is to decide.
    or_(
        col(Refund.return_id).is_not(None),
        col(Refund.status) != "withdrawn",
        col(Refund.failure)["code"].as_string().in_(("dispute_lost", "dispute_won", "paid_beside")),
    ),
)
LEFT = cast(
    col(Payment.captured)
    - func.coalesce(
        select(func.sum(col(Refund.amount)))
        .where(col(Refund.payment_id) == col(Payment.id), _status(*OPEN, "succeeded"))
        .correlate(Payment)
        .scalar_subquery(),
        0,
    ),
    BigInteger,
)


@dataclass(frozen=True, slots=True)
class DeskFigures:
    """How the whole is doing, and how much of each kind waits on the desk."""

    health: SystemHealth
    totals: Sequence[DeskTotal]  # every kind, most urgent first


async def read_figures(tx: Tx) -> DeskFigures:
    """Read the desk's figures in one statement, so that they agree with each other."""
    rows = (await tx.execute(_figures(), moments(tx.now))).all()
    found = {row[-3]: DeskTotal(*row[-3:]) for row in rows}
    totals = [found.get(kind, DeskTotal(kind, 0, None)) for kind in DESK_KINDS]
    return DeskFigures(SystemHealth(*rows[0][:-3]), totals)


@cache
def _figures() -> Any:
    entry = _entry()
    total = select(entry.c.kind, func.count().label("number"), func.min(entry.c.since).label("oldest"))
    by_kind = total.group_by(entry.c.kind).subquery("total")
    return select(*HEALTH.c, *by_kind.c).select_from(HEALTH).outerjoin(by_kind, true())


async def entries(
    tx: Tx,
    *,
    limit: int,
    kinds: Sequence[DeskKind] | None = None,
    cursor: tuple[str, bool] | None = None,
    only: str | None = None,
) -> list[DeskEntry] | None:
    """Return up to `limit` things, most urgent first, then oldest; None where the cursor's is no longer on the desk.

    `cursor`: an entry's id and whether to go back from it; going back, the nearest comes first. `only`: one's id.
    """
    entry, values = _entry(), moments(tx.now)
    page: Any = select(entry)
    back = cursor is not None and cursor[1]
    if kinds is not None:
        page = page.where(entry.c.kind.in_(kinds))
    if only is not None:
        of, _, subject = only.partition(":")
        page = page.where(entry.c.kind == of, entry.c.subject == subject)
    if cursor is not None:
        of, _, subject = cursor[0].partition(":")
        at = select(entry.c.urgency, entry.c.since).where(entry.c.kind == of, entry.c.subject == subject)
        place = (await tx.execute(at, values)).first()
        if place is None:
            return None
        mine = tuple_(entry.c.urgency, entry.c.since, entry.c.subject)
        edge = tuple_(literal(place[0]), literal(place[1], Utc()), literal(subject))
        page = page.where(mine < edge if back else mine > edge)
    order = [entry.c.urgency, entry.c.since, entry.c.subject]
    page = page.order_by(*(c.desc() if back else c.asc() for c in order)).limit(limit).subquery("page")
    rows = (await tx.execute(_with_rows(page, back=back), values)).all()
    return [DeskEntry(*row) for row in rows]


def _with_rows(page: Any, *, back: bool) -> Any:
    """Return the statement for a page's entries with all rows they are about: one, however long the page is."""
    order = [page.c.urgency, page.c.since, page.c.subject]
    return (
        select(
            page.c.kind, page.c.since, page.c.subject,
            Refund, ReturnAuthorization, Payment, StripeEvent, ReconciliationDifference, WebhookEndpoint,
            StripeRefusal, UndeclaredItem, UnmatchedReceipt, Event, func.coalesce(LEFT, 0),
        )
        .outerjoin(Refund, col(Refund.id) == page.c.refund_id)
        .outerjoin(ReturnAuthorization, col(ReturnAuthorization.id) == page.c.return_id)
        .outerjoin(Payment, col(Payment.id) == page.c.payment_id)
        .outerjoin(StripeEvent, col(StripeEvent.id) == page.c.stripe_event_id)
        .outerjoin(ReconciliationDifference, col(ReconciliationDifference.id) == page.c.difference_id)
        .outerjoin(WebhookEndpoint, col(WebhookEndpoint.id) == page.c.endpoint_id)
        .outerjoin(StripeRefusal, col(StripeRefusal.subject) == page.c.refusal_id)
        .outerjoin(UndeclaredItem, col(UndeclaredItem.id) == page.c.undeclared_id)
        .outerjoin(UnmatchedReceipt, col(UnmatchedReceipt.id) == page.c.unmatched_id)
        .outerjoin(Event, col(Event.id) == page.c.event_id)
        .order_by(*(c.desc() if back else c.asc() for c in order))
        .options(defer(StripeEvent.payload))  # type: ignore[arg-type]  # a mapped column, which SQLModel types as str
    )  # fmt: skip


def moments(now: datetime) -> dict[str, datetime]:
    """Return the moments that the desk's statements compare with."""
    return {moment_name(age): now - age for age in _AGES}


@cache
def _entry() -> Any:
    """Return the statement for all that is on the desk, by ENTRY's columns: built once, it is longer than any other."""
    return union_all(*_standing_still(), *_of_refunds(), *_of_returns(), *of_the_dock(), *_of_others()).subquery(
        "entry"
    )


def _standing_still() -> Sequence[Any]:
    """Return what stops everything, where something does: the health's figures, as rows of their own."""
    health = HEALTH.c

    def of_all(kind: DeskKind, since: Any, subject: str) -> Any:
        return entry_head(kind, since, literal_column(f"'{subject}'"))

    silent: DeskKind = "stripe_silent"
    return [
        of_all(silent, health.events_read_at, "events").where(health.events_read_at < before_now(SILENT_FOR)),
        of_all(silent, health.unanswered_since, "calls").where(
            health.unanswered_since.is_not(None), health.call_failures >= BREAK_AFTER
        ),
        of_all(silent, health.uncompared_since, "comparison").where(
            health.uncompared_since < before_now(UNCOMPARED_FOR)
        ),
        of_all("work_overdue", health.overdue_since, "refunds").where(health.overdue_since.is_not(None)),
    ]


def _of_refunds() -> Sequence[Any]:
    changed, decided = col(Refund.updated_at), col(Refund.created_at)
    refused_for_now = WAITS_FOR == "refused_for_now"
    unsent = and_(_status("queued", "submitted"), col(Refund.attempts) > 0, ~col(Payment.disputed))
    late = or_(decided <= before_now(UNSENT_FOR), refused_for_now, MISSING_AT_STRIPE)
    for_people = or_(MISSING_AT_STRIPE, WAITS_FOR == "paid_beside")
    stuck = or_(col(Refund.failures_in_a_row) >= STUCK_AFTER, col(Refund.lookups_only), for_people)
    pending = or_(changed <= before_now(PENDING_FOR), WAITS_FOR == "balance_too_low")
    return [
        _refund("refund_unknown", func.coalesce(col(Refund.first_attempt_at), decided))
        .where(_status("unknown"), stuck),
        _refund("refund_missing", changed)
        .where(col(Refund.next_attempt_at).is_not(None), col(Refund.stripe_refund).is_not(None), MISSING_AT_STRIPE),
        _refund("external_refund", decided).where(
            literal_column("payment.external_open"),  # as the index has it: SQLite's would be `external_open = 1`
            col(Refund.source) == "external", _status(*OPEN, "succeeded"),
            col(Refund.return_id).is_(None), col(Refund.acknowledged_at).is_(None), col(Refund.duplicate_of).is_(None),
        ),
        _refund("refund_failed", changed).where(UNRESOLVED, ~LOST),
        _refund("dispute_lost", changed).where(UNRESOLVED, LOST),
        _refund("refund_unsent", decided).where(unsent, late),
        _refund("second_person", decided).where(_status("queued"), col(Refund.unapproved)),
        _refund("refund_held", changed).where(HELD, ~col(Refund.unapproved)),
        _refund("refund_requires_action", changed)
        .where(~MISSING_AT_STRIPE, _status("requires_action"), changed <= before_now(ACTION_FOR)),
        _refund("refund_pending", changed).where(~MISSING_AT_STRIPE, _status("pending"), pending),
        _overpaid(),
    ]  # fmt: skip


def _refund(kind: DeskKind, since: Any) -> Any:
    chosen = entry_head(
        kind, since, col(Refund.id),
        refund_id=col(Refund.id), return_id=col(Refund.return_id), payment_id=col(Refund.payment_id),
    )  # fmt: skip
    return chosen.join(Payment, col(Payment.id) == col(Refund.payment_id))


def _overpaid() -> Any:
    """Return second refunds for one intent that stand: found by their event, since no index leads to them."""
    first = aliased(Refund)
    chosen = entry_head(
        "payment_overpaid", col(Event.created_at), col(Refund.id),
        refund_id=col(Refund.id), return_id=col(first.return_id), payment_id=col(Refund.payment_id),
    )  # fmt: skip
    chosen = chosen.join(Event, col(Event.refund_id) == col(Refund.id))
    return chosen.join(first, col(first.id) == col(Refund.duplicate_of), isouter=True).where(
        col(Event.type) == "payment.overpaid",
        _status(*WAITING, "succeeded"),
        col(Refund.superseded_at).is_(None),
        col(Refund.duplicate_of).is_not(None),
    )


def _of_returns() -> Sequence[Any]:
    """Return returns with something due that a guard bars, and those that only a person can bring to an end."""

    def barred(kind: DeskKind) -> Any:
        row_id = col(ReturnAuthorization.id)
        payment_id = col(ReturnAuthorization.payment_id)
        chosen = entry_head(
            kind, col(ReturnAuthorization.updated_at), row_id, return_id=row_id, payment_id=payment_id
        ).join(Payment, col(Payment.id) == payment_id)
        return chosen.where(col(ReturnAuthorization.follow_up_at).is_not(None))

    return [barred("refund_barred").where(~LOST), barred("dispute_lost").where(LOST), _to_decide()]


def _to_decide() -> Any:
    """Return approved returns that nothing will move by itself.

    Either something is due, and the policy leaves it to people. Or all units are counted, so nothing more comes, and
    nothing is due: the return has to be closed. Or some units came that a manual policy's last refund didn't know.
    """
    row, row_id = ReturnAuthorization, col(ReturnAuthorization.id)

    def of_return(kind: Any, figure: Any) -> Any:
        return select(figure).select_from(kind).where(col(kind.return_id) == row_id).correlate(ReturnAuthorization)

    counted = of_return(Receipt, func.sum(col(ReceiptLine.quantity) - col(ReceiptLine.uncounted)))
    counted = counted.join(ReceiptLine, col(ReceiptLine.receipt_id) == col(Receipt.id))
    counted = counted.where(col(Receipt.reversed_at).is_(None))
    authorized = of_return(ReturnLine, func.sum(col(ReturnLine.quantity)))
    inspecting = of_return(ReturnLine, func.sum(col(ReturnLine.inspecting)))
    complete = and_(
        counted.scalar_subquery() >= authorized.scalar_subquery(),
        inspecting.scalar_subquery() == 0,  # the dock's turn
    )
    accepted = of_return(Receipt, func.max(col(Receipt.created_at)))
    accepted = accepted.join(ReceiptLine, col(ReceiptLine.receipt_id) == col(Receipt.id))
    accepted = accepted.where(col(Receipt.reversed_at).is_(None), col(ReceiptLine.accepted))
    refunded = of_return(Refund, func.max(col(Refund.created_at))).where(~among(Refund.status, ENDED))
    manual = and_(
        func.coalesce(col(row.policy)["refund_on"].as_string(), "") == "manual",
        accepted.scalar_subquery() > func.coalesce(refunded.scalar_subquery(), literal(BEFORE_ALL, Utc())),
    )
    return entry_head(
        "return_to_decide", col(row.updated_at), row_id, return_id=row_id, payment_id=col(row.payment_id)
    ).where(
        # Of the few whose parcel is here; in both conditions' words, so that the index of these serves.
        among(row.state, PARCEL_HERE_STATES),
        col(row.arrived_at).is_not(None),
        col(row.state) == "approved",
        col(row.follow_up_at).is_(None),
        col(row.due_outside_since).is_(None),  # else it is on the desk for that
        # In this order: sums are worked out only for returns of which something came.
        or_(
            func.coalesce(col(row.amount_due), 0) > 0,
            case((counted.scalar_subquery() > 0, or_(complete, manual)), else_=literal(False)),
        ),
    )


def _of_others() -> Sequence[Any]:
    event_id, row_id, endpoint_id = col(StripeEvent.id), col(ReconciliationDifference.id), col(WebhookEndpoint.id)
    subject = col(StripeRefusal.subject)
    differs = entry_head("difference", col(ReconciliationDifference.created_at), row_id, difference_id=row_id)
    return [
        entry_head("stripe_refuses", col(StripeRefusal.since), subject, refusal_id=subject),
        entry_head("stripe_event", col(StripeEvent.received_at), event_id, stripe_event_id=event_id).where(
            col(StripeEvent.next_attempt_at).is_not(None), col(StripeEvent.attempts) >= ON_THE_DESK_AFTER
        ),
        entry_head("webhook_disabled", col(WebhookEndpoint.disabled_at), endpoint_id, endpoint_id=endpoint_id).where(
            col(WebhookEndpoint.status) == "disabled", func.coalesce(col(WebhookEndpoint.disabled_by), "") != "person"
        ),
        *of_news(),
        differs.where(
            col(ReconciliationDifference.run_id) == select(HEALTH.c.last_run).scalar_subquery(),
            col(ReconciliationDifference.differs),
            col(ReconciliationDifference.outcome) != "fixed",
        ),
    ]


_AGES = (
    PENDING_FOR, ACTION_FOR, UNSENT_FOR, SILENT_FOR, UNCOMPARED_FOR, OVERDUE_FOR, FAR_BACK, MAIL_SHOWN, RATE_SHOWN
)  # fmt: skip
