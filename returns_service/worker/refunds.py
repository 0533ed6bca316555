"""Money out: claim in one transaction, speak with Stripe in none, write the answer back in another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from returns_service import tracing
from returns_service.commands.refund_attempts import AttemptOutcome, record_attempt
from returns_service.commands.undue_refunds import is_paid_otherwise
from returns_service.domain.policy import DEFAULT, Policy
from returns_service.domain.refund_attempt import REFUND_LEASE_SECONDS
from returns_service.domain.stripe_objects import Missing, PaymentSnapshot, RefundSnapshot, Refused, TryLater, Unknown
from returns_service.return_case.events import Actor
from returns_service.return_case.views import rfc3339
from returns_service.store import claims, stripe_throttle
from returns_service.store.claims import Claim
from returns_service.store.clock import elapsed_seconds
from returns_service.store.database import Database, Tx
from returns_service.store.stripe_refusals import StripeRefusals
from returns_service.store.tables import Refund
from returns_service.stripe_gateway import Gateway, as_refused
from returns_service.timings import CLAIMS, observe_seconds

BY = Actor("worker")
EARLY_SECONDS = 0.5  # by our clock a lease ends so much earlier: two clocks never run at quite the same speed
NOT_WORTH_SECONDS = 0.02  # by so much a moment may be missed: it evens out
PAYMENT_CHANGED = TryLater("payment_changed", "Stripe has refunded more or less of the payment than was known")
DEFAULT_BUDGET = 20.0  # writes a second: Stripe's own limit is 25 an endpoint unless raised
log = structlog.get_logger("returns.refunds")


@dataclass(frozen=True, slots=True)
class ScheduledCall:
    """A claim and when its call is made; `wait_seconds` counts from the claim."""

    claim: Claim
    wait_seconds: float
    not_after: float  # the end of its lease, on the monotonic clock
    writes: bool = True  # the call writes at Stripe, so that it keeps the pace
    moment: float = 0.0  # when the call is due, on the monotonic clock


@dataclass
class RefundExecutor:
    """Claims due refunds and speaks with Stripe about each; one a process."""

    db: Database
    gateway: Gateway
    budget: float = DEFAULT_BUDGET
    lease_seconds: float = REFUND_LEASE_SECONDS
    monotonic: Callable[[], float] = elapsed_seconds
    policy: Policy = DEFAULT  # in force: a return that a restore has put back may be adopted here
    by: Actor = BY
    failing: bool = field(default=False)  # the breaker had counted failures at the last claim
    ask_again_seconds: float = 0.0  # the wait before the next claim, where the pace left no room
    apart_seconds: float = 0.0  # the time between two writes of this process
    next_write_at: float = 0.0  # on the monotonic clock
    warm: bool = False  # the first call of a process loads and connects: it goes alone, or those behind it come late
    overran_seconds: float = 0.0  # the most by which a write missed its moment since the last claim
    done: Counter[tuple[str, str]] = field(default_factory=Counter)  # ("asked", status) and ("chore", name)

    def __post_init__(self) -> None:
        self.gateway.watch(StripeRefusals(self.db).note)

    async def claim(self, limit: int) -> list[ScheduledCall]:
        """Lease up to `limit` due refunds, each with the moment of its call."""
        started_at = self.monotonic()
        with observe_seconds(CLAIMS):
            async with self.db.transaction() as tx:
                late = max(0.0, self.next_write_at - self.monotonic())
                wanted = limit if self.warm else min(limit, 1)
                grant = await stripe_throttle.request_slots(tx, self.budget, wanted, late, self.overran_seconds)
                self.overran_seconds = 0.0
                self.failing, self.apart_seconds = grant.failing, grant.apart_seconds
                claimed = await claims.claim_refunds(tx, grant.allowed, self.lease_seconds) if grant.allowed else []
                writes = [claim.refund_id for claim in claimed if sends(claim, tx)]
                waits = dict(zip(writes, stripe_throttle.slots(grant, len(writes)), strict=True))
                granted_at = self.monotonic()
                self.ask_again_seconds = stripe_throttle.next_slot_seconds(grant)
        # The waits count from the grant, and the commit has taken a part of them.
        commit_seconds, not_after = self.monotonic() - granted_at, started_at + self.lease_seconds - EARLY_SECONDS
        self.warm = self.warm or bool(claimed)

        def schedule(claim: Claim) -> ScheduledCall:
            wait = waits.get(claim.refund_id, 0.0)
            return ScheduledCall(
                claim, max(0.0, wait - commit_seconds), not_after, claim.refund_id in waits, granted_at + wait
            )

        return [schedule(claim) for claim in claimed]

    def reserve_moment(self, scheduled: ScheduledCall) -> float:
        """Take this process's next moment for a write; return the wait for it, in seconds.

        After a hold-up the moments of many writes are past at once: they still go one after the other.
        """
        now = self.monotonic()
        if now >= scheduled.not_after:
            return 0.0  # its lease is over: it sends nothing, and takes nobody's moment
        at = max(now, self.next_write_at)
        self.next_write_at = at + self.apart_seconds
        self.overran_seconds = max(self.overran_seconds, at - scheduled.moment - NOT_WORTH_SECONDS)
        return at - now

    async def execute(self, scheduled: ScheduledCall) -> Refund | None:
        """Speak with Stripe about one claim and write the answer back; None if the claim was lost meanwhile."""
        claim = scheduled.claim
        with tracing.span("refund.execute", parent=claim.traceparent, refund=claim.refund_id) as span:
            outcome = await call_stripe(self.gateway, claim, scheduled.not_after, self.db)
            span.tell({"answer": type(outcome.answer).__name__})
            row = await self.db.run(
                lambda tx: record_attempt(tx, self.by, self.policy, claim, outcome), safe_to_repeat=True
            )
        await self._keep_pace(outcome)
        self.done["asked", claim.status] += 1
        self._log(claim, outcome, row)
        return row

    def _log(self, claim: Claim, outcome: AttemptOutcome, row: Refund | None) -> None:
        """Log one attempt: what Stripe answered, and what follows from it."""
        answer = type(outcome.answer).__name__
        fields: dict[str, Any] = {"refund": claim.refund_id, "answer": answer, "looked": outcome.looked}
        if (code := getattr(outcome.answer, "code", None)) is not None:
            fields["code"] = code
        if row is not None:
            fields |= {"return": row.return_id, "status": row.status, "next_attempt_at": rfc3339(row.next_attempt_at)}
        log.info("refund.asked", **fields)

    async def give_back(self, scheduled_calls: list[ScheduledCall]) -> None:
        """Return claims whose call was not begun."""

        async def work(tx: Tx) -> None:
            for scheduled in scheduled_calls:
                nothing_sent = TryLater("stopped", "The worker stopped before it was sent")
                await record_attempt(tx, self.by, self.policy, scheduled.claim, AttemptOutcome(nothing_sent))

        await self.db.run(work)

    async def _keep_pace(self, outcome: AttemptOutcome) -> None:
        """Tell the throttle, which all workers share, how Stripe bears the calls; it opens and closes the breaker."""
        answer = outcome.answer
        if isinstance(answer, TryLater) and answer.slow_down:
            await self.db.run(lambda tx: stripe_throttle.slow_down(tx, self.budget))
        silent = isinstance(answer, Unknown) and not answer.replayed
        if isinstance(answer, Unknown | TryLater) and (silent or getattr(answer, "everyone", False)):
            self.failing, why = True, f"{answer.code}: {answer.message}"
            await self.db.run(lambda tx: stripe_throttle.record_failure(tx, self.budget, why))
        elif self.failing and isinstance(answer, RefundSnapshot | Refused | Missing | type(None)):
            self.failing = False
            await self.db.run(lambda tx: stripe_throttle.record_success(tx, self.budget))


def sends(claim: Claim, tx: Tx) -> bool:
    """Return whether this claim's call writes at Stripe: then the pace gives it a moment of its own."""
    return claim.stripe_refund is None and not claim.must_look_first(tx.now)


async def call_stripe(gateway: Gateway, claim: Claim, not_after: float, db: Database) -> AttemptOutcome:
    """Send the claim's refund to Stripe, or read it there. A refund in doubt is looked for before it is sent again."""
    if claim.stripe_refund is not None:
        return AttemptOutcome(await gateway.retrieve_refund(claim.stripe_refund))
    if claim.must_look_first(db.now()):
        return await look_up(gateway, claim, None)
    if claim.must_look_before:
        looked = await look_up(gateway, claim, None)
        payment = looked.lookup
        if payment is None or any(refund.metadata.get("refund_id") == claim.refund_id for refund in payment.refunds):
            return looked
        if payment.amount_refunded != claim.payment_refunded or await _is_paid_otherwise(db, claim, payment):
            # Somebody may have refunded instead: that is written down before anything is sent.
            return looked if claim.ever_unknown else replace(looked, answer=PAYMENT_CHANGED)
    answer = await gateway.create_refund(claim.parameters, key=claim.key, not_after=not_after)
    if isinstance(answer, Refused) and (answer.reread or claim.ever_unknown or claim.generation > 1):
        return await look_up(gateway, claim, answer)
    return AttemptOutcome(answer)


async def _is_paid_otherwise(db: Database, claim: Claim, payment: PaymentSnapshot) -> bool:
    """Return whether another refund may have paid instead by now: a look-up may take long, and people act meanwhile."""
    async with db.reading() as tx:
        return await is_paid_otherwise(tx, claim.refund_id, payment.refunds)


async def look_up(gateway: Gateway, claim: Claim, refused: Refused | None) -> AttemptOutcome:
    """Read the payment with all its refunds, to see whether the claim's is among them.

    `refused`: the refusal that this look-up has to confirm. A payment that Stripe does not know can't be refunded: that
    is a refusal, too. A refund that Stripe may hold already still waits then: the key may be another account's, and
    nobody can tell whether its money has moved.
    """
    by_charge = None if claim.payment_intent else claim.charge
    read = await gateway.read_payment(payment_intent=claim.payment_intent, charge=by_charge)
    if isinstance(read, PaymentSnapshot):
        return AttemptOutcome(refused, lookup=read, looked=True)
    if isinstance(read, Missing) and claim.must_look_before:
        return AttemptOutcome(read, looked=True)
    if isinstance(read, Missing):
        return AttemptOutcome(as_refused(read))
    return AttemptOutcome(refused or read, looked=True)


async def renew_leases(db: Database, scheduled_calls: list[ScheduledCall], lease_seconds: float) -> None:
    """Extend the leases of calls in flight."""
    async with db.transaction() as tx:
        await claims.renew(tx, [scheduled.claim for scheduled in scheduled_calls], lease_seconds)
