"""A run of reconciliation from its begin to its report; an interrupted one goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct
from sqlmodel import col, func, select

from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import DifferenceCode, DifferenceOutcome, RunPhase, RunStatus
from returns_service.return_case.events import Actor
from returns_service.return_case.views.fields import Count, Currency, RunId, Time, id_of, minor_units, rfc3339
from returns_service.store.database import Tx
from returns_service.store.tables import ReconciliationDifference, ReconciliationRun, Sweep

RUN_LEASE_SECONDS = 120  # renewed with each page; one page with a few dozen suspects takes seconds
COUNTED = ("at_stripe", "external", "unknown_payment", "under_way")  # while the stream passes; the rest at its end
GOES_ON_WITHIN = timedelta(days=1)  # an older interrupted run compares a day that has passed: a new one is begun


async def begin_or_resume(tx: Tx, by: Actor, since: datetime, *, fix: bool) -> ReconciliationRun:
    """Return an interrupted run that covers `since`, or a new one; leased to the caller."""
    unfinished = select(ReconciliationRun).where(
        col(ReconciliationRun.finished_at).is_(None),
        col(ReconciliationRun.fix) == fix,
        col(ReconciliationRun.created_at) > tx.now - GOES_ON_WITHIN,
        col(ReconciliationRun.since) <= since,
        col(ReconciliationRun.since) > since - GOES_ON_WITHIN,
    )
    chosen = unfinished.order_by(col(ReconciliationRun.created_at).desc()).with_for_update(skip_locked=True)
    for run in (await tx.exec(chosen)).all():
        if run.lease_until is None or run.lease_until <= tx.now:
            run.lease_until = tx.now + timedelta(seconds=RUN_LEASE_SECONDS)
            return run
    run = ReconciliationRun(
        id=tx.new_id("rec"),
        since=since.replace(microsecond=0),
        fix=fix,
        started_by=by.actor,
        created_at=tx.now,
        lease_until=tx.now + timedelta(seconds=RUN_LEASE_SECONDS),
    )
    tx.add(run)
    return run


async def advance(
    tx: Tx, run_id: str, phase: RunPhase, cursor: str | None, counted: Mapping[str, int], *, sweep: str | None = None
) -> ReconciliationRun:
    """Write down how far the run has come, and keep it (and the sweep it belongs to) ours for the next page."""
    run = await tx.get_one(ReconciliationRun, run_id, with_for_update=True)
    run.phase, run.cursor = phase, cursor
    run.counts = {name: run.counts.get(name, 0) + counted.get(name, 0) for name in {**run.counts, **counted}}
    run.lease_until = tx.now + timedelta(seconds=RUN_LEASE_SECONDS)
    if sweep is not None:
        (await tx.get_one(Sweep, sweep)).lease_until = run.lease_until
    return run


async def release(tx: Tx, run_id: str) -> None:
    """End the lease of an interrupted run: the next comparison goes on with it."""
    run = await tx.get_one(ReconciliationRun, run_id)
    run.lease_until = None


async def finish(tx: Tx, run_id: str) -> ReconciliationRun:
    """Close the run with its counts: rows by code, and how many differ and are not repaired."""
    run = await tx.get_one(ReconciliationRun, run_id)
    code, outcome = col(ReconciliationDifference.code), col(ReconciliationDifference.outcome)
    differs = col(ReconciliationDifference.differs)
    rows = select(code, outcome, differs, func.count()).where(col(ReconciliationDifference.run_id) == run_id)
    groups = (await tx.execute(rows.group_by(code, outcome, differs))).all()
    counts = {name: number for name, number in run.counts.items() if name in COUNTED}
    for word, became, _, number in groups:
        if word != "external":  # counted as they passed: only so many are listed
            counts[word] = counts.get(word, 0) + number
        if became in ("fixed", "left"):
            counts[became] = counts.get(became, 0) + number
    run.counts = counts
    run.differing = sum(number for _, outcome, differs, number in groups if differs and outcome != "fixed")
    run.phase, run.cursor, run.lease_until, run.finished_at = "done", None, None, tx.now
    return run


async def get_run(tx: Tx, run_id: str) -> ReconciliationRun:
    """Return a run. Raises Problem not_found."""
    run = await tx.get(ReconciliationRun, run_id)
    if run is None:
        raise Problem("not_found", f"There is no reconciliation {run_id}.")
    return run


async def differences_after(tx: Tx, run_id: str, after: str, limit: int) -> Sequence[ReconciliationDifference]:
    """Return a page of a run's rows, in the order of their ids."""
    chosen = select(ReconciliationDifference).where(
        col(ReconciliationDifference.run_id) == run_id, col(ReconciliationDifference.id) > after
    )
    return (await tx.exec(chosen.order_by(col(ReconciliationDifference.id)).limit(limit))).all()


class ReconciliationView(Struct, kw_only=True, tag_field="object", tag="reconciliation"):
    """A comparison of Stripe's refunds with ours."""

    id: RunId
    created: Time
    since: Time
    finished_at: Time | None
    status: RunStatus
    fix: bool
    started_by: str
    differing: Annotated[Count | None, Meta(description="Rows that differ unrepaired; null until it is over.")]
    counts: dict[str, Count]


def show_run(run: ReconciliationRun, now: datetime) -> ReconciliationView:
    """Return a run as it is answered; amounts and rows are its differences'."""
    going_on = run.lease_until is not None and run.lease_until > now
    return ReconciliationView(
        id=run.id,
        created=rfc3339(run.created_at),
        since=rfc3339(run.since),
        finished_at=rfc3339(run.finished_at),
        status="finished" if run.finished_at else "running" if going_on else "interrupted",
        fix=run.fix,
        started_by=run.started_by,
        differing=run.differing,
        counts=run.counts,
    )


class ReconciliationDifferenceView(
    Struct, kw_only=True, tag_field="object", tag="reconciliation_difference", rename={"return_": "return"}
):
    """What a comparison met, and what became of it."""

    id: Annotated[str, id_of("dif")]
    created: Time
    code: DifferenceCode
    differs: bool
    outcome: DifferenceOutcome
    cause: str
    advice: str | None
    payment_intent: str | None
    charge: str | None
    stripe_refund: str | None
    refund: str | None
    return_: str | None
    currency: Currency | None
    amount_here: Annotated[int | None, minor_units("As it is here.")]
    amount_at_stripe: Annotated[int | None, minor_units("As Stripe says.")]
    status_here: str | None
    status_at_stripe: str | None


def show_difference(row: ReconciliationDifference) -> ReconciliationDifferenceView:
    """Return one row of a report."""
    return ReconciliationDifferenceView(
        id=row.id,
        created=rfc3339(row.created_at),
        code=row.code,
        differs=row.differs,
        outcome=row.outcome,
        cause=row.cause,
        advice=row.advice,
        payment_intent=row.payment_intent,
        charge=row.charge,
        stripe_refund=row.stripe_refund,
        refund=row.refund_id,
        return_=row.return_id,
        currency=row.currency,
        amount_here=row.amount_here,
        amount_at_stripe=row.amount_at_stripe,
        status_here=row.status_here,
        status_at_stripe=row.status_at_stripe,
    )
