"""Stripe's ledger against ours, both ways, page by page: the memory it takes is that of one page.

Stripe lists newest first. Each page of its list spans some seconds; our refunds with a place in the same seconds are
held against it, so both sides pass once and nothing has to be remembered. What looks wrong is read afresh, payment
by payment, with no transaction open, before anything is written down or repaired. The run's cursor is kept with each
page. https://docs.stripe.com/api/refunds/list
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import or_, select
from sqlmodel import col

from returns_service.commands import reconciliation_runs as runs
from returns_service.commands.found_refunds import REFUND_ID
from returns_service.commands.reconciliation import (
    Finding,
    Named,
    StandAtRead,
    agrees,
    examine,
    external,
    is_under_way,
    note_information,
    stand_of,
)
from returns_service.domain.policy import DEFAULT, Policy
from returns_service.domain.stripe_objects import Missing, PaymentSnapshot, RefundSnapshot
from returns_service.domain.vocabulary import RunPhase
from returns_service.return_case.events import Actor
from returns_service.return_case.locked_payment import find_payment_id
from returns_service.store.database import Database, Tx, insert_ignore
from returns_service.store.sweeps import is_waiting
from returns_service.store.tables import Payment, ReconciliationRun, Refund, Sweep
from returns_service.stripe_gateway import Gateway, StripeSilent

PAGE = 100  # Stripe's own: one query of ours for each call
WINDOW = timedelta(days=30)  # a refund may still fail about a month after it succeeded
EVERY_SECONDS = 86_400
FIRST_AFTER_SECONDS = 3600  # a new database has nothing to compare, a restarted service has other things to do
RESUME_SECONDS = 600  # after Stripe gave no answer
BEFORE_STRIPE = datetime(2010, 1, 1, tzinfo=UTC)  # nothing was refunded there before
OVERLAP = timedelta(hours=1)  # between two looks: Stripe's clock is not ours
MOST_EXTERNAL_ROWS = 1000  # listed in a report; all are counted
NAMES = (col(Payment.payment_intent), col(Payment.charge))
BY = Actor("reconcile")
log = structlog.get_logger("returns.reconcile")

Progress = Callable[[float, int], None]  # share of the window that is done, Stripe's refunds compared so far


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run. Its rows are read page by page: `reconciliation_runs.differences_after`."""

    run: ReconciliationRun

    @property
    def differs(self) -> bool:
        """Whether anything differs that was not repaired."""
        return bool(self.run.differing)


def ignore_progress(share: float, compared: int) -> None:
    """Watch no progress."""


async def reconcile(
    db: Database,
    gateway: Gateway,
    since: datetime,
    *,
    fix: bool,
    progress: Progress = ignore_progress,
    by: Actor = BY,
    policy: Policy = DEFAULT,
    sweep: str | None = None,
) -> Report:
    """Compare all refunds since with Stripe's, go on with an interrupted run first. `fix`: repair what is safe.

    Raises StripeSilent where Stripe gives no answer; the run then goes on at the next call.
    """
    since = max(since, BEFORE_STRIPE)  # a time before 1970 Stripe refuses, and one before 1000 SQLite can't keep
    run = await db.run(lambda tx: runs.begin_or_resume(tx, by, since, fix=fix))
    try:
        return Report(await Comparison(db, gateway, by, policy, run, progress, sweep).finish())
    except BaseException:
        await db.run(lambda tx: runs.release(tx, run.id))
        raise


async def reconcile_daily(db: Database, gateway: Gateway, by: Actor, policy: Policy) -> Report | None:
    """Compare, once a day over all workers; None where it is not yet time. Nothing is repaired unasked."""

    async def work(tx: Tx) -> bool:
        first_at = tx.now + timedelta(seconds=FIRST_AFTER_SECONDS)
        await insert_ignore(tx, Sweep, {"name": "reconciliation", "next_at": first_at})
        row = await tx.get_one(Sweep, "reconciliation", with_for_update=True)
        if is_waiting(row, tx.now, EVERY_SECONDS, runs.RUN_LEASE_SECONDS):
            return False
        row.lease_until = tx.now + timedelta(seconds=runs.RUN_LEASE_SECONDS)
        return True

    async def record_end(tx: Tx, again_seconds: float) -> None:
        row = await tx.get_one(Sweep, "reconciliation", with_for_update=True)
        row.lease_until, row.next_at = None, tx.now + timedelta(seconds=again_seconds)

    if not await db.run(work):
        return None
    try:
        report = await reconcile(
            db, gateway, db.now() - WINDOW, fix=False, by=by, policy=policy, sweep="reconciliation"
        )
    except BaseException as error:
        await db.run(lambda tx: record_end(tx, RESUME_SECONDS))
        if not isinstance(error, StripeSilent):
            raise
        log.warning("reconciliation.interrupted", answer=error.answer.code)
        return None
    await db.run(lambda tx: record_end(tx, EVERY_SECONDS))
    (log.warning if report.differs else log.info)(
        "reconciliation.finished", run=report.run.id, differing=report.run.differing, counts=report.run.counts
    )
    return report


@dataclass
class Comparison:
    """One run under way."""

    db: Database
    gateway: Gateway
    by: Actor
    policy: Policy
    run: ReconciliationRun
    progress: Progress
    sweep: str | None
    counts: Counter[str] = field(default_factory=Counter)

    async def finish(self) -> ReconciliationRun:
        """Do what is left of the run; return it, closed."""
        if self.run.cursor is not None:
            await self._compare_newer()
        if self.run.phase == "stripe":
            await self._lists()
        await self._check_unanswered()
        run = await self.db.run(lambda tx: runs.finish(tx, self.run.id))
        self.progress(1.0, run.counts.get("at_stripe", 0))
        return run

    # --- both lists ----------------------------------------------------------------------------------------------

    async def _compare_newer(self) -> None:
        """Compare what was refunded since the run began, before it goes on: the run may stand in a restored backup.

        These are not counted, since they are listed anew each time that it goes on.
        """
        async for _ in self._each_page(max(self.run.since, self.run.created_at - OVERLAP), None):
            self.counts.clear()
            await self._advance(self.run.phase, self.run.cursor)

    async def _lists(self) -> None:
        high = datetime.fromisoformat(self.run.cursor) if self.run.cursor else None
        since, whole = self.run.since, max(1.0, (self.run.created_at - self.run.since).total_seconds())
        async for low, is_last in self._each_page(since, high):
            await (self._advance("open", "") if is_last else self._advance("stripe", low.isoformat()))
            self.progress(min(1.0, 1 - (low - since).total_seconds() / whole), self.run.counts.get("at_stripe", 0))

    async def _each_page(self, since: datetime, high: datetime | None) -> AsyncIterator[tuple[datetime, bool]]:
        """Compare page by page; yield the time down to which all is compared, and whether that page was the last."""
        async for page, is_last in pages(self.gateway.refunds_since(since, high)):
            low = since if is_last else page[-1].created
            await self._page(page, low, high)
            high = low
            yield low, is_last

    async def _page(self, page: list[RefundSnapshot], low: datetime, high: datetime | None) -> None:
        """Compare one page of Stripe's with our refunds of the same seconds."""
        async with self.db.reading() as tx:
            suspects, known = await self._sift(tx, page)
        room = MOST_EXTERNAL_ROWS - self.run.counts.get("external", 0)
        self.counts["at_stripe"] += len(page)
        self.counts.update(one.code for one in known if one.code == "external")
        listed = [one for one in known if one.code != "external"]
        listed += [one for one in known if one.code == "external"][: max(0, room)]
        if listed:
            await self.db.run(lambda tx: note_information(tx, self.run.id, listed))
        await self._examine(suspects)
        at_stripe = {seen.id for seen in page}
        async for ours in self._ours_between(low, high):
            await self._examine([name for stripe_refund, name in ours if stripe_refund not in at_stripe])

    async def _sift(self, tx: Tx, page: list[RefundSnapshot]) -> tuple[list[Named], list[Finding]]:
        """Return the payments that look wrong, and what agrees but is worth knowing."""
        names = [word for seen in page if REFUND_ID.match(word := seen.metadata.get("refund_id", ""))]
        chosen = select(Refund).where(
            or_(col(Refund.stripe_refund).in_([seen.id for seen in page]), col(Refund.id).in_(names))
        )
        rows = (await tx.execute(chosen)).scalars().all()
        owners = {row.stripe_refund: row for row in rows if row.stripe_refund}
        named = {row.id: row for row in rows}
        payments = await _payments_here(tx, [seen for seen in page if seen.id not in owners])
        suspects, known = [], []
        for seen in page:
            row = owners.get(seen.id)
            word = seen.metadata.get("refund_id", "")
            of = payments.get(seen.payment_intent) or payments.get(seen.charge)
            if row is not None and agrees(row, seen):
                known += [external(row, seen)] if row.source == "external" else []
            elif row is None and word in named and is_under_way(named[word], tx) and of == named[word].payment_id:
                self.counts["under_way"] += 1
            elif row is None and not (seen.payment_intent or seen.charge):
                self.counts["unknown_payment"] += 1  # of a cash balance: there is no payment to read
            elif row is not None or REFUND_ID.match(word) or of is not None:
                suspects.append((seen.payment_intent, seen.charge))
            else:
                self.counts["unknown_payment"] += 1
        return suspects, known

    async def _ours_between(
        self, low: datetime, high: datetime | None
    ) -> AsyncIterator[list[tuple[str | None, Named]]]:
        """Yield our refunds that Stripe should list from `low` on and before `high`, page by page."""
        place, row_id = col(Refund.stripe_created_at), col(Refund.id)
        after: tuple[datetime, str] | None = None
        while True:
            chosen = select(place, row_id, col(Refund.stripe_refund), *NAMES)
            chosen = chosen.join(Payment, col(Payment.id) == col(Refund.payment_id)).where(place >= low)
            if high is not None:
                chosen = chosen.where(place < high)
            if after is not None:
                chosen = chosen.where(or_(place > after[0], (place == after[0]) & (row_id > after[1])))
            async with self.db.reading() as tx:
                found = (await tx.execute(chosen.order_by(place, row_id).limit(PAGE))).all()
            if found:
                yield [(row[2], (row[3], row[4])) for row in found]
            if len(found) < PAGE:
                return
            after = (found[-1][0] or low, found[-1][1])

    # --- what nobody knows -----------------------------------------------------------------------------------------

    async def _check_unanswered(self) -> None:
        """Look at every intent whose outcome is unknown, however old it is."""
        after = self.run.cursor or ""
        while True:
            async with self.db.reading() as tx:
                chosen = select(col(Refund.id), *NAMES).join(Payment, col(Payment.id) == col(Refund.payment_id))
                unknown = chosen.where(col(Refund.status) == "unknown", col(Refund.id) > after)
                found = (await tx.execute(unknown.order_by(col(Refund.id)).limit(PAGE))).all()
            if not found:
                return
            await self._examine((row[1], row[2]) for row in found)
            after = found[-1][0]
            await self._advance("open", after)

    # --- one payment ---------------------------------------------------------------------------------------------

    async def _examine(self, names: Iterable[Named]) -> None:
        """Read each payment afresh and write down what differs. Raises StripeSilent."""
        for payment_intent, charge in dict.fromkeys(names):
            name = (payment_intent, None if payment_intent else charge)
            stood = await self._stand_at_read(name)
            seen = await self.gateway.read_payment(payment_intent=name[0], charge=name[1])
            if not isinstance(seen, PaymentSnapshot | Missing):
                raise StripeSilent(seen)
            read = seen if isinstance(seen, PaymentSnapshot) else None
            if read is not None:
                read = await self._with_unlisted(read, [stand[2] for stand in stood.rows.values()])
            whole = (payment_intent, charge or (read.charge if read else None))

            async def work(
                tx: Tx, name: Named = whole, read: PaymentSnapshot | None = read, stood: StandAtRead = stood
            ) -> None:
                await examine(tx, self.by, self.policy, self.run.id, name, read, stood, fix=self.run.fix)

            await self.db.run(work)

    async def _stand_at_read(self, name: Named) -> StandAtRead:
        """Return where the payment and our rows of it stand before the read."""
        async with self.db.reading() as tx:
            payment_id = await find_payment_id(tx, payment_intent=name[0], charge=name[1])
            if payment_id is None:
                return StandAtRead()
            rows = (await tx.execute(select(Refund).where(col(Refund.payment_id) == payment_id))).scalars().all()
            news = (await tx.get_one(Payment, payment_id)).observations
            return StandAtRead(news, {row.id: stand_of(row) for row in rows})

    async def _with_unlisted(self, seen: PaymentSnapshot, claimed: Iterable[str | None]) -> PaymentSnapshot:
        """Ask by id for what the list lacks: lists may lag behind, a refund that can be read is not missing."""
        listed = {refund.id for refund in seen.refunds}
        for stripe_refund in claimed:
            if stripe_refund is None or stripe_refund in listed:
                continue
            answer = await self.gateway.retrieve_refund(stripe_refund)
            if isinstance(answer, RefundSnapshot):
                named = (answer.payment_intent, None if answer.payment_intent else answer.charge)
                same = named == (seen.payment_intent, None if seen.payment_intent else seen.charge)
                seen = replace(seen, refunds=(*seen.refunds, answer)) if same else seen
            elif not isinstance(answer, Missing):
                raise StripeSilent(answer)
        return seen

    async def _advance(self, phase: RunPhase, cursor: str | None) -> None:
        counts, self.counts = self.counts, Counter()
        self.run = await self.db.run(lambda tx: runs.advance(tx, self.run.id, phase, cursor, counts, sweep=self.sweep))


async def _payments_here(tx: Tx, page: list[RefundSnapshot]) -> dict[str | None, str]:
    """Return our ids of the payments of these refunds, by Stripe's."""
    if not page:
        return {}
    intents = [seen.payment_intent for seen in page if seen.payment_intent]
    charges = [seen.charge for seen in page if seen.charge]
    chosen = select(*NAMES, col(Payment.id)).where(or_(NAMES[0].in_(intents), NAMES[1].in_(charges)))
    return {name: row[2] for row in (await tx.execute(chosen)).all() for name in row[:2] if name}


async def pages(listed: AsyncIterator[RefundSnapshot]) -> AsyncIterator[tuple[list[RefundSnapshot], bool]]:
    """Yield what Stripe lists in pages that never part two refunds of one second, and whether it is the last.

    At least one page comes, if an empty one: our side has to be looked at all the same.
    """
    page: list[RefundSnapshot] = []
    async for seen in listed:
        if len(page) >= PAGE and seen.created != page[-1].created:
            yield page, False
            page = []
        page.append(seen)
    yield page, True
