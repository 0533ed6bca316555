"""How the whole is doing: is Stripe's list read, do calls get through, is work done in time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import and_, case, func, literal, select
from sqlmodel import col

from returns_service.domain.refund_status import UNANSWERED
from returns_service.queries.desk_columns import HELD, before_now, moment_name
from returns_service.store.columns import Utc, among
from returns_service.store.database import Tx
from returns_service.store.stripe_throttle import BREAK_AFTER
from returns_service.store.tables import Payment, ReconciliationRun, Refund, StripePace, Sweep

OVERDUE_FOR = timedelta(minutes=10)  # a worker looks at what is due within seconds
FAR_BACK = timedelta(days=29)  # each day's comparison looks back 30 days
BEFORE_ALL = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SystemHealth:
    """What single rows say about the whole; its fields are HEALTH's columns, in their order."""

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


_on_payment = col(Payment.id) == col(Refund.payment_id)
_late = and_(col(Refund.next_attempt_at) <= before_now(OVERDUE_FOR), ~HELD)
_due = select(func.min(col(Refund.next_attempt_at))).join(Payment, _on_payment)
_count = select(func.count()).select_from(Refund).join(Payment, _on_payment)
_tried = select(func.min(col(Refund.created_at))).join(Payment, _on_payment)
_run = select(col(ReconciliationRun.id)).where(col(ReconciliationRun.finished_at).is_not(None))
_far = col(ReconciliationRun.since) <= before_now(FAR_BACK)  # a shorter one says nothing of what is older
_ended = select(func.max(col(ReconciliationRun.finished_at))).scalar_subquery()
_begun = select(func.min(col(ReconciliationRun.created_at))).where(col(ReconciliationRun.finished_at).is_(None))
_begun = _begun.where(col(ReconciliationRun.created_at) > func.coalesce(_ended, literal(BEFORE_ALL, Utc())))
_failures = select(col(StripePace.failures)).where(col(StripePace.id) == 1).scalar_subquery()
HEALTH = select(
    select(col(Sweep.done_at)).where(col(Sweep.name) == "events").scalar_subquery().label("events_read_at"),
    func.coalesce(_failures, 0).label("call_failures"),
    select(col(StripePace.open_reason)).where(col(StripePace.id) == 1).scalar_subquery().label("call_problem"),
    _tried.where(among(Refund.status, UNANSWERED), col(Refund.attempts) > 0, ~HELD)
    .scalar_subquery()
    .label("unanswered_since"),
    _due.where(_late).scalar_subquery().label("overdue_since"),
    _count.where(_late).scalar_subquery().label("overdue"),
    _begun.scalar_subquery().label("uncompared_since"),
    _run.order_by(case((_far, 0), else_=1), col(ReconciliationRun.id).desc())
    .limit(1)
    .scalar_subquery()
    .label("last_run"),
).cte("health")
_ALONE = select(HEALTH)


async def system_health(tx: Tx) -> SystemHealth:
    """Read how the whole is doing, in one statement."""
    moments = {moment_name(age): tx.now - age for age in (OVERDUE_FOR, FAR_BACK)}
    return SystemHealth(*(await tx.execute(_ALONE, moments)).one())
