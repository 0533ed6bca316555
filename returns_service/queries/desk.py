"""The desk: everything that waits for a person, found in rows that are there anyway.

Each kind is one condition over a small set: the refunds that are not settled, returns whose refund a guard bars, events
whose fold raised, rows of the last comparison with Stripe, and what stands still as a whole. A thing is on the desk as
long as its condition holds: nobody puts it there and nobody has to take it off. How long a wait is normal:
https://docs.stripe.com/refunds, https://support.stripe.com/questions/customer-refund-processing-time
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, and_, case, cast, func, literal, literal_column, or_, select, tuple_, union_all
from sqlalchemy.orm import defer
from sqlmodel import col

from returns_service.commands.mail import TOLD_AT
from returns_service.commands.stripe_inbox import ON_THE_DESK_AFTER
from returns_service.domain.refund_attempt import STUCK_AFTER
from returns_service.domain.refund_status import ENDED, OPEN, UNANSWERED, WAITING, RefundStatus
from returns_service.domain.vocabulary import DESK_KINDS, DeskKind
from returns_service.queries.desk_columns import entry_head
from returns_service.queries.desk_dock import of_the_dock
from returns_service.return_case.case import ReturnCase
from returns_service.store.columns import Utc, among
from returns_service.store.database import Tx
from returns_service.store.stripe_throttle import BREAK_AFTER
from returns_service.store.tables import (
    Event,
    Mail,
    Payment,
    Receipt,
    ReceiptLine,
    ReconciliationDifference,
    ReconciliationRun,
    Refund,
    ReturnAuthorization,
    ReturnLine,
    StripeEvent,
    StripePace,
    StripeRefusal,
    Sweep,
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
OVERDUE_FOR = timedelta(minutes=10)  # a worker looks at what is due within seconds
FAR_BACK = timedelta(days=29)  # each day's comparison looks back 30 days
MAIL_SHOWN = timedelta(days=14)  # then the return's own page has told the customer, or nobody will
BEFORE_ALL = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SystemHealth:
    """What single rows say about the whole: is Stripe's list read, do calls get through, is work done in time."""

    events_read_at: datetime | None  # None: not once yet
    call_failures: int  # in a row
    call_problem: str | None
    unanswered_since: datetime | None  # the oldest intent that was tried and has no answer
    overdue_since: datetime | None
    overdue: int  # refunds whose moment is past by more than OVERDUE_FOR
    uncompared_since: datetime | None  # the begin of a comparison with Stripe that was not finished, nor one since
    last_run: str | None  # the newest finished comparison with Stripe that looked far back, if there is one

    @property
    def calls_pause(self) -> bool:
        """Whether the breaker is open."""
        return self.call_failures >= BREAK_AFTER


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
    left: int  # of the payment, minor units
    whole: ReturnCase | None = None  # the return with all that decides about it

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
    return col(Refund.status).in_(words)


# By a dispute, or by a refund made outside that waits for a person: due, and not to be sent.
HELD_BY_EXTERNAL = and_(col(Payment.external_open), ~col(Refund.overrides_hold))
HELD = and_(col(Refund.status) == "queued", or_(col(Payment.disputed), HELD_BY_EXTERNAL))
LOST = func.coalesce(col(Payment.dispute)["status"].as_string(), "") == "lost"
# A sentence that an older release wrote stands for no code of ours.
WAITS_FOR = case(
    (col(Refund.waits_for).is_not(None), "unknown_reason"), else_=func.coalesce(col(Refund.waiting_code), "")
)
MISSING_AT_STRIPE = WAITS_FOR.in_(("payment_missing", "refund_missing"))
UNRESOLVED = and_(
    among(Refund.status, ENDED),
    col(Refund.superseded_at).is_(None),
    # One made outside that pays nothing of ours is its maker's business.
    or_(col(Refund.source) != "external", col(Refund.return_id).is_not(None), col(Refund.supersedes).is_not(None)),
    # A person who cancels a refund of no return before it is sent has decided all there is to decide.
    or_(
        col(Refund.return_id).is_not(None),
        col(Refund.status) != "withdrawn",
        col(Refund.failure)["code"].as_string() == "dispute_lost",
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


async def system_health(tx: Tx) -> SystemHealth:
    """Read how the whole is doing, in one statement."""
    late = and_(col(Refund.next_attempt_at) <= tx.now - OVERDUE_FOR, ~HELD)
    due = select(func.min(col(Refund.next_attempt_at))).join(Payment, col(Payment.id) == col(Refund.payment_id))
    count = select(func.count()).select_from(Refund).join(Payment, col(Payment.id) == col(Refund.payment_id))
    tried = select(func.min(col(Refund.created_at))).join(Payment, col(Payment.id) == col(Refund.payment_id))
    run = select(col(ReconciliationRun.id)).where(col(ReconciliationRun.finished_at).is_not(None))
    far = col(ReconciliationRun.since) <= tx.now - FAR_BACK  # a shorter one says nothing of what is older
    ended = select(func.max(col(ReconciliationRun.finished_at))).scalar_subquery()
    begun = select(func.min(col(ReconciliationRun.created_at))).where(col(ReconciliationRun.finished_at).is_(None))
    begun = begun.where(col(ReconciliationRun.created_at) > func.coalesce(ended, literal(BEFORE_ALL, Utc())))
    found = await tx.execute(
        select(
            select(col(Sweep.done_at)).where(col(Sweep.name) == "events").scalar_subquery(),
            select(col(StripePace.failures)).where(col(StripePace.id) == 1).scalar_subquery(),
            select(col(StripePace.open_reason)).where(col(StripePace.id) == 1).scalar_subquery(),
            tried.where(_status(*UNANSWERED), col(Refund.attempts) > 0, ~HELD).scalar_subquery(),
            due.where(late).scalar_subquery(),
            count.where(late).scalar_subquery(),
            begun.scalar_subquery(),
            run.order_by(case((far, 0), else_=1), col(ReconciliationRun.id).desc()).limit(1).scalar_subquery(),
        )
    )
    read_at, failures, problem, unanswered_since, overdue_since, overdue, uncompared_since, last_run = found.one()
    return SystemHealth(
        read_at, failures or 0, problem, unanswered_since, overdue_since, overdue, uncompared_since, last_run
    )


async def totals(tx: Tx, health: SystemHealth) -> list[DeskTotal]:
    """Return every kind with its figures, most urgent first."""
    entry = desk_statement(tx, health).subquery("entry")
    chosen = select(entry.c.kind, func.count(), func.min(entry.c.since)).group_by(entry.c.kind)
    found = {row[0]: DeskTotal(row[0], row[1], row[2]) for row in (await tx.execute(chosen)).all()}
    return [found.get(kind, DeskTotal(kind, 0, None)) for kind in DESK_KINDS]


async def entries(
    tx: Tx,
    health: SystemHealth,
    *,
    limit: int,
    kinds: Sequence[DeskKind] | None = None,
    cursor: tuple[str, bool] | None = None,
) -> list[DeskEntry] | None:
    """Return up to `limit` things, most urgent first, then oldest; None where the cursor's is no longer on the desk.

    `cursor`: an entry's id and whether to go back from it; going back, the nearest comes first.
    """
    entry = desk_statement(tx, health).subquery("entry")
    page: Any = select(entry)
    back = cursor is not None and cursor[1]
    if kinds is not None:
        page = page.where(entry.c.kind.in_(kinds))
    if cursor is not None:
        of, _, subject = cursor[0].partition(":")
        at = select(entry.c.urgency, entry.c.since).where(entry.c.kind == of, entry.c.subject == subject)
        place = (await tx.execute(at)).first()
        if place is None:
            return None
        mine = tuple_(entry.c.urgency, entry.c.since, entry.c.subject)
        edge = tuple_(literal(place[0]), literal(place[1], Utc()), literal(subject))
        page = page.where(mine < edge if back else mine > edge)
    order = [entry.c.urgency, entry.c.since, entry.c.subject]
    page = page.order_by(*(c.desc() if back else c.asc() for c in order)).limit(limit).subquery("page")
    rows = (await tx.execute(_with_rows(page, back=back))).all()
    return [DeskEntry(*row) for row in rows]


def _with_rows(page: Any, *, back: bool) -> Any:
    """Return the statement for a page's entries with all rows they are about: one, however long the page is."""
    order = [page.c.urgency, page.c.since, page.c.subject]
    return (
        select(
            page.c.kind, page.c.since, page.c.subject,
            Refund, ReturnAuthorization, Payment, StripeEvent, ReconciliationDifference, WebhookEndpoint,
            StripeRefusal, UndeclaredItem, UnmatchedReceipt, func.coalesce(LEFT, 0),
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
        .order_by(*(c.desc() if back else c.asc() for c in order))
        .options(defer(StripeEvent.payload))  # type: ignore[arg-type]  # a mapped column, which SQLModel types as str
    )  # fmt: skip


def desk_statement(tx: Tx, health: SystemHealth) -> Any:
    """Return the statement for all that is on the desk, by ENTRY's columns."""
    return union_all(
        *_standing_still(tx, health), *_of_refunds(tx), *_of_returns(), *of_the_dock(), *_of_others(tx, health)
    )


def _standing_still(tx: Tx, health: SystemHealth) -> Sequence[Any]:
    """Return what stops everything, where something does: figures that were read before, as rows of their own."""
    found: list[tuple[DeskKind, datetime, str]] = []
    if health.events_read_at is not None and tx.now - health.events_read_at > SILENT_FOR:
        found.append(("stripe_silent", health.events_read_at, "events"))
    if health.unanswered_since is not None and health.calls_pause:
        found.append(("stripe_silent", health.unanswered_since, "calls"))
    if health.uncompared_since is not None and tx.now - health.uncompared_since > UNCOMPARED_FOR:
        found.append(("stripe_silent", health.uncompared_since, "comparison"))
    if health.overdue_since is not None:
        found.append(("work_overdue", health.overdue_since, "refunds"))
    return [entry_head(kind, literal(since, Utc()), literal_column(f"'{subject}'")) for kind, since, subject in found]


def _of_refunds(tx: Tx) -> Sequence[Any]:
    changed, decided = col(Refund.updated_at), col(Refund.created_at)
    refused_for_now = WAITS_FOR == "refused_for_now"
    unsent = and_(_status("queued", "submitted"), col(Refund.attempts) > 0, ~col(Payment.disputed))
    late = or_(decided <= tx.now - UNSENT_FOR, refused_for_now, MISSING_AT_STRIPE)
    stuck = or_(col(Refund.failures_in_a_row) >= STUCK_AFTER, col(Refund.lookups_only), MISSING_AT_STRIPE)
    pending = or_(changed <= tx.now - PENDING_FOR, WAITS_FOR == "balance_too_low")
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
        _refund("refund_held", changed).where(HELD),
        _refund("refund_requires_action", changed)
        .where(~MISSING_AT_STRIPE, _status("requires_action"), changed <= tx.now - ACTION_FOR),
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
    chosen = entry_head(
        "payment_overpaid", col(Event.created_at), col(Refund.id),
        refund_id=col(Refund.id), payment_id=col(Refund.payment_id),
    )  # fmt: skip
    return chosen.join(Event, col(Event.refund_id) == col(Refund.id)).where(
        col(Event.type) == "payment.overpaid", _status(*WAITING, "succeeded"), col(Refund.superseded_at).is_(None)
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

    Either all units are counted, so nothing more comes, and nothing is refunded: the policy leaves that to people, or
    nothing is due, and the return has to be closed. Or some units came that a manual policy's last refund didn't know.
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
    refunded = of_return(Refund, func.max(col(Refund.created_at))).where(col(Refund.status).not_in(ENDED))
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
        case((counted.scalar_subquery() > 0, or_(complete, manual)), else_=literal(False)),
    )


def _of_others(tx: Tx, health: SystemHealth) -> Sequence[Any]:
    event_id, row_id, endpoint_id = col(StripeEvent.id), col(ReconciliationDifference.id), col(WebhookEndpoint.id)
    subject = col(StripeRefusal.subject)
    found = [
        entry_head("stripe_refuses", col(StripeRefusal.since), subject, refusal_id=subject),
        entry_head("stripe_event", col(StripeEvent.received_at), event_id, stripe_event_id=event_id).where(
            col(StripeEvent.next_attempt_at).is_not(None), col(StripeEvent.attempts) >= ON_THE_DESK_AFTER
        ),
        entry_head("webhook_disabled", col(WebhookEndpoint.disabled_at), endpoint_id, endpoint_id=endpoint_id).where(
            col(WebhookEndpoint.status) == "disabled", func.coalesce(col(WebhookEndpoint.disabled_by), "") != "person"
        ),
        entry_head("mail_failed", col(Mail.created_at), col(Mail.id), return_id=col(Mail.return_id)).where(
            literal_column("mail.failures > 0 AND mail.status <> 'sent'"),  # as the index has it
            col(Mail.failures) >= TOLD_AT,
            col(Mail.created_at) > tx.now - MAIL_SHOWN,
        ),
    ]
    if health.last_run is not None:
        differs = entry_head("difference", col(ReconciliationDifference.created_at), row_id, difference_id=row_id)
        found.append(
            differs.where(
                col(ReconciliationDifference.run_id) == health.last_run,
                col(ReconciliationDifference.differs),
                col(ReconciliationDifference.outcome) != "fixed",
            )
        )
    return found
