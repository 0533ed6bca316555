"""Intents to move money: decided and reserved here, under the payment's lock; sent later, by the worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlmodel import col, select

from returns_service.commands.refund_metadata import check_metadata
from returns_service.domain import money, return_machine
from returns_service.domain.money_open import subtract
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem, ProblemCode
from returns_service.domain.refund_mark import write_mark
from returns_service.domain.refund_status import FINAL, RefundStatus
from returns_service.domain.refund_windows import NEEDS_EMAIL
from returns_service.domain.stripe_objects import describe_unpaid, has_captured
from returns_service.domain.vocabulary import (
    STRIPE_REASONS,
    AdjustmentKind,
    RefundSource,
    StripeReason,
)
from returns_service.return_case import order_shipping
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.decided_alone import decided_alone, set_decided
from returns_service.return_case.events import Actor, record
from returns_service.return_case.loader import case_under_lock, lock_case
from returns_service.return_case.locked_payment import LockedPayment, is_held, lock_payment_of_refund
from returns_service.return_case.overpaid import note_overpaid
from returns_service.return_case.rows import holds_decision, is_paid_by_second
from returns_service.return_case.transition import (
    PAYING,
    fire,
    follow_rule,
    record_return,
    record_transition,
    tell_what_followed,
)
from returns_service.return_case.views import show_refund
from returns_service.return_case.waiting import set_waiting
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund, ReturnAuthorization

BARRED_RETRY_SECONDS = 3600  # only a safety net: what frees a barred refund tries it again at once
SEND_AGAIN_MINUTES = 15  # a call that hangs somewhere on the way has long ended by then
TAKEN_OFF = "Somebody took it off, in a refund that failed since: it is paid if a person decides so."
SHIPPING_CHANGED = "Another return of the order changed what is due for shipping."
ORDER_CHANGED = "Another return of the order changed what is due for shipping before it was sent; no money has moved."


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A person's decision beside what is due. `kind`: goodwill, shipping (add), deduction (take away)."""

    kind: AdjustmentKind
    amount: int
    description: str
    line: str | None = None

    def row(self) -> money.Row:
        """Return it as a row of the breakdown; the kind decides the sign."""
        amount = -self.amount if self.kind == "deduction" else self.amount
        return money.Row(self.kind, amount, self.line, 0, self.description, adjustment=True)


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """What a person asks of a manual refund. `amount` in minor units, None: all that is due."""

    amount: int | None = None
    reason: str | None = None
    note: str | None = None
    adjustments: Sequence[Adjustment] = ()
    override_reason: str | None = None


def breakdown(case: ReturnCase, asked: RefundRequest) -> list[money.Row]:
    """Return the rows that a refund with `asked` would pay; they sum to its amount."""
    rows = case.due_rows().refund
    base = rows if money.total(rows) > 0 else []
    decided = sum(adjustment.amount for adjustment in asked.adjustments if adjustment.kind == "shipping")
    if decided:  # shipping that a person decides is paid instead of what is due for it, not beside it
        base = subtract(base, [money.Row("shipping", decided)])
    rows = [*base, *(adjustment.row() for adjustment in asked.adjustments)]
    if asked.amount is None:
        return rows
    return money.adjust_to(rows, asked.amount, asked.override_reason or asked.note or asked.reason or "Decided by hand")


async def refund(tx: Tx, by: Actor, policy: Policy, return_id: str, asked: RefundRequest) -> tuple[Refund, Payment]:
    """Decide a refund by hand. Raises Problem where a guard bars it."""
    case = await lock_case(tx, by, policy, return_id)
    check_reason(asked.reason, case.policy, case.policy_in_force)
    for number, adjustment in enumerate(asked.adjustments):
        if adjustment.line is not None and adjustment.line not in {line.id for line in case.lines}:
            detail = f"This return has no line {adjustment.line}."
            raise Problem("unknown_line", detail, param=f"adjustments[{number}].line")
        check_step(adjustment.amount, case.row.currency, f"adjustments[{number}].amount")
    rows, overpaid_before = breakdown(case, asked), case.overpaid_amount
    amount = money.total(rows)
    check_step(amount, case.row.currency)
    if case.row.state in ("approved", "refunding", "refunded") and amount > case.due and not asked.override_reason:
        if asked.amount and not case.due:
            raise Problem("nothing_due", amount=amount, due=0)
        more = money.format_amount(amount - case.due, case.row.currency)
        raise Problem("override_required", f"{more} more than is due.", amount=amount, due=case.due)
    override, why = bool(asked.override_reason), asked.override_reason or asked.note or asked.reason
    decided = max(0, amount - max(0, case.due))
    before = fire(case, "refund", why=why, amount=amount, override=override)
    reason = stripe_reason(case, asked.reason)
    queued = queue_refund(case, rows, reason=reason, note=asked.note, override=override, decided=decided)
    note_overpaid(case, overpaid_before)
    await record_transition(case, "refund", before, why)
    await record_created(case.lock, by, queued, case)
    await follow_order(case)
    return queued, case.payment


def check_reason(reason: str | None, *policies: Policy) -> None:
    """Raise Problem unknown_reason unless a refund's reason is one of Stripe's or of a policy's catalogue."""
    known = list(dict.fromkeys([*(word for policy in policies for word in policy.reasons), *STRIPE_REASONS]))
    if reason is not None and reason not in known:
        raise Problem("unknown_reason", f"There is no reason {reason!r}.", param="reason", reasons=known)


def stripe_reason(case: ReturnCase, reason: str | None) -> StripeReason:
    """Return Stripe's code for why: the caller's word, else the return's reason, as the policy maps it.

    A word that only the policy in force has was added after the approval.
    """
    word = reason or case.row.reason
    policy = case.policy if word is None or word in case.policy.reasons else case.policy_in_force
    return policy.stripe_reason(word)


def check_step(amount: int, currency: str, param: str = "amount") -> None:
    """Raise Problem for an amount that Stripe can't move in this currency."""
    if amount % money.step(currency):
        raise Problem("amount_not_a_step", param=param, step=money.step(currency))


def queue_refund(
    case: ReturnCase,
    rows: Sequence[money.Row],
    *,
    reason: str,
    note: str | None = None,
    delay_seconds: int = 0,
    override: bool = False,
    supersedes: str | None = None,
    decided: int = 0,
) -> Refund:
    """Add the intent to its payment, with its key's exact parameters; the caller records it (`record_created`).

    `supersedes`: the failed refund that it takes the place of, whole or in part. `decided`: what a person decides with
    it beyond what is due, minor units.
    """
    policy, returns = case.policy_in_force, (case, *case.payment_returns)
    before = decided_alone(policy, returns, case.payment_refunds, case.tx.now) if decided else 0
    positions = {line.id: line.position for line in case.lines}
    row = new_refund(case.tx, case.by, case.payment, money.total(rows), source="return")
    row.return_id, row.reason, row.note, row.overrides_hold = case.row.id, reason, note, override
    case.write_breakdown(row, rows)
    row.supersedes = supersedes
    row.details = dict(case.row.details)
    mark = write_mark(row.id, case.row.id, money.encode_breakdown(rows, positions))
    named = {"return_id": case.row.id, "order_id": case.row.order_id}  # unless the caller's own metadata says else
    metadata = {**named, **case.row.details, "refund_id": row.id, "lines": mark}
    row.parameters = parameters(row, case.payment, metadata, email=case.row.customer_email)
    row.next_attempt_at = case.tx.now + timedelta(seconds=delay_seconds)
    set_decided(row, policy, decided, before)
    case.row.follow_up_at = case.row.follow_up_barred = None
    case.lock.add(row)
    return row


def new_refund(
    tx: Tx, by: Actor, payment: Payment, amount: int, *, source: RefundSource, status: RefundStatus = "queued"
) -> Refund:
    """Return a refund row; the caller fills in the rest."""
    return Refund(
        id=tx.new_id("rfd"),
        payment_id=payment.id,
        source=source,
        status=status,
        amount=amount,
        currency=payment.currency,
        livemode=payment.livemode,
        created_by=by.actor,
        created_at=tx.now,
        updated_at=tx.now,
    )


def parameters(
    row: Refund, payment: Payment, metadata: Mapping[str, str], *, email: str | None = None
) -> dict[str, Any]:
    """Return exactly what Stripe is asked under this generation's key. The amount is always explicit.

    `email`: the customer's, sent only where Stripe has to ask them where the money shall go.
    """
    target = {"payment_intent": payment.payment_intent} if payment.payment_intent else {"charge": payment.charge}
    reason = {"reason": row.reason} if row.reason else {}
    ask = {"instructions_email": email} if email and payment.method_type in NEEDS_EMAIL else {}
    return {**target, "amount": row.amount, **reason, **ask, "metadata": dict(metadata)}


async def add_refund(locked: LockedPayment, by: Actor, row: Refund, case: ReturnCase | None) -> None:
    """Add a refund to its payment and record that it was created."""
    locked.add(row)
    await record_created(locked, by, row, case)


async def record_created(locked: LockedPayment, by: Actor, row: Refund, case: ReturnCase | None) -> None:
    """Record that a refund was created, and wake the workers where it can be sent."""
    shown = {"object": show_refund(row, locked.row)}
    of = case.row if case else None
    await record(locked.tx, by, "refund.created", row=of, refund=row, payment=locked.row, data=shown)
    if row.status == "queued" and not row.unapproved:
        locked.tx.wake_workers()


async def follow_up(case: ReturnCase) -> None:
    """Pay what is due now, then let the order's other returns follow: shipping is theirs together."""
    await pay_what_is_due(case)
    await follow_order(case)


async def follow_order(case: ReturnCase) -> None:
    """Let the order's other returns follow what changed here: shipping may be due there now, or no more.

    A return that was paid shipping goes to the desk as overpaid once that is due no more.
    """
    for other in case.siblings:
        shares = other.row.shipping_amount and other.policy.shipping_refunded != "never"
        if not shares or other.row.state not in return_machine.LIVE:
            continue
        sibling = await case_under_lock(case.lock, case.by, case.policy_in_force, other.row.id)
        for refund in sibling.refunds:
            if refund.status == "queued" and order_shipping.pays_undue_shipping(sibling, refund):
                await withdraw_or_supersede(sibling, refund, "order_changed", ORDER_CHANGED)
        await follow_rule(sibling)
        await pay_what_is_due(sibling)
        await tell_what_followed(sibling, SHIPPING_CHANGED)
    for other in case.siblings:
        is_told = other.row.overpaid_since == case.tx.now
        if not is_told and other.overpaid_amount > case.overpaid_before.get(other.row.id, 0):
            sibling = await case_under_lock(case.lock, case.by, case.policy_in_force, other.row.id)
            sibling.row.overpaid_since = case.tx.now
            await record_return(sibling, "return.updated", {"overpaid_amount": sibling.overpaid_amount})


async def pay_what_is_due(case: ReturnCase) -> None:
    """Refund what is due now, unless the policy leaves it to people.

    Where a guard bars it, or a person took it off before, the reason is kept.
    """
    row = case.row
    facts = case.facts()
    waits = facts.refund_unanswered or facts.refund_failed
    if row.state not in PAYING or case.policy.refund_on == "manual" or not facts.amount or waits:
        row.follow_up_at = row.follow_up_barred = None
    elif barring := return_machine.unmet("refund", row.state, facts):
        await _record_bar(case, facts, barring[0].code, barring[0].reason)
    elif case.due_was_taken_off():
        await _record_bar(case, facts, "failed_refund_open", TAKEN_OFF)
    else:
        overpaid_before = case.overpaid_amount
        before, reason = fire(case, "refund"), case.policy.stripe_reason(row.reason)
        queued = queue_refund(case, case.due_rows().refund, reason=reason, delay_seconds=case.policy.refund_delay)
        note_overpaid(case, overpaid_before)  # one made outside may have paid more for some of the units
        await record_transition(case, "refund", before, None)
        await record_created(case.lock, case.by, queued, case)


async def _record_bar(case: ReturnCase, facts: return_machine.Facts, code: ProblemCode, reason: str) -> None:
    """Keep the reason why a guard bars a refund of what is due, and record each reason once; a worker tries again."""
    said = {"code": code, "reason": reason, "due": facts.amount, "refundable": facts.refundable}
    case.row.follow_up_at = case.tx.now + timedelta(seconds=BARRED_RETRY_SECONDS)
    if case.row.follow_up_barred != said:
        case.row.follow_up_barred = said
        await record_transition(case, "refund_barred", case.row.state, reason)


async def refund_payment(
    locked: LockedPayment,
    by: Actor,
    policy: Policy,
    *,
    amount: int | None,
    reason: StripeReason | None,
    metadata: Mapping[str, str],
    note: str | None = None,
    description: str | None = None,
    override_reason: str | None = None,
    rows: Sequence[money.Row] = (),
    decided: int | None = None,
) -> Refund:
    """Decide a refund of no return; no amount: all that is left of the payment. Raises Problem.

    `rows`: the rows of a failed refund that it pays, where it takes the place of one. `decided`: the part of it, minor
    units, that was not decided with the failed one.
    """
    check_metadata(metadata)
    payment, left = locked.row, locked.refundable
    if payment.connect:
        raise Problem("connect_not_supported")
    if not has_captured(payment.status, payment.captured):
        raise Problem("payment_not_succeeded", describe_unpaid(payment.status), payment_status=payment.status)
    if payment.disputed:
        raise Problem("payment_disputed")
    if is_held(payment) and not override_reason:
        raise Problem("external_refund_open")
    if left <= 0:
        raise Problem("charge_already_refunded", refundable=max(0, left))
    asked = left if amount is None else amount
    if asked > left:
        raise Problem("amount_exceeds_refundable", amount=asked, refundable=left, param="amount")
    check_step(asked, payment.currency)
    row = new_refund(locked.tx, by, payment, asked, source="standalone")
    row.reason, row.note = reason, note
    row.details, row.overrides_hold = dict(metadata), bool(override_reason)
    said = override_reason or note or description or "Refund"
    whole = money.Row("standalone", asked, description=said, adjustment=True)
    row.breakdown = [one.to_dict() for one in rows or [whole]]
    row.parameters = parameters(row, payment, {**metadata, "refund_id": row.id})
    row.next_attempt_at = locked.tx.now
    returns = await _returns_on(locked, by, policy) if policy.second_person_above else []
    before = decided_alone(policy, returns, locked.refunds, locked.tx.now)
    set_decided(row, policy, asked if decided is None else decided, before)
    await add_refund(locked, by, row, None)
    return row


async def _returns_on(locked: LockedPayment, by: Actor, policy: Policy) -> list[ReturnCase]:
    """Return all returns of a locked payment."""
    chosen = select(ReturnAuthorization.id).where(col(ReturnAuthorization.payment_id) == locked.row.id)
    first = (await locked.tx.exec(chosen.order_by(col(ReturnAuthorization.id)).limit(1))).first()
    if first is None:
        return []
    case = await case_under_lock(locked, by, policy, first)
    return [case, *case.payment_returns]


async def lock_refund(tx: Tx, refund_id: str) -> tuple[LockedPayment, Refund]:
    """Lock a refund's payment; return the lock and the refund. Raises Problem not_found."""
    try:
        locked = await lock_payment_of_refund(tx, refund_id)
    except LookupError:
        raise Problem("not_found", f"There is no refund {refund_id}.") from None
    row = locked.refund(refund_id)
    if row is None:
        raise LookupError(f"{refund_id} is not among its payment's refunds.")
    return locked, row


def withdraw_unsent(row: Refund, tx: Tx, failure: Mapping[str, Any]) -> None:
    """Withdraw a queued intent: Stripe was not asked for it, or has answered that it holds nothing of it.

    Raises Problem refund_not_cancelable for an intent in any other status.
    """
    if row.status != "queued":
        raise Problem("refund_not_cancelable", refund_status=row.status)
    row.status, row.next_attempt_at, row.failure, row.updated_at = "withdrawn", None, dict(failure), tx.now
    set_waiting(row, None)


async def supersede(tx: Tx, old: Refund, new: Refund | None) -> None:
    """Mark a refund as dealt with: it stays as history, and counts for nothing."""
    await tx.flush()  # the new row must be there before anything points at it
    old.superseded_at, old.superseded_by = tx.now, new.id if new else None
    old.updated_at, old.next_attempt_at, old.amount_open = tx.now, None, 0


async def withdraw_or_supersede(case: ReturnCase, refund: Refund, code: str, message: str) -> None:
    """Take a queued or failed refund out of the way, since its units are due anew; a new refund pays what they are due.

    A refund in which people decided something is never superseded here, it waits for a person: nothing they took off is
    paid, and nothing they gave is dropped. Nor is one superseded that a second refund at Stripe may have paid.
    """
    tx, by = case.tx, case.by
    waits = holds_decision(refund) or is_paid_by_second(refund, case.payment_refunds)
    if refund.status == "queued":
        before = refund.status
        withdraw_unsent(refund, tx, {"code": code, "message": message, "by": by.actor})
        if not waits:
            await supersede(tx, refund, None)
        shown = {"from": before, "to": refund.status, "object": show_refund(refund, case.payment)}
        await record(tx, by, "refund.status_changed", row=case.row, refund=refund, payment=case.payment, data=shown)
        for other in case.payment_returns:
            if other.row.follow_up_at is not None:
                other.row.follow_up_at = tx.now  # the payment has more left now: a worker tries again
    elif refund.status in (*FINAL, "withdrawn") and not waits:
        await supersede(tx, refund, None)
