"""What people decide about a return: create, approve, decline, cancel, close, settle outside, correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import col, select

from returns_service.commands.counting import recount
from returns_service.commands.refunds import check_metadata, check_step, choose_failed, follow_up, new_refund, supersede
from returns_service.domain import money, return_machine
from returns_service.domain.policy import Decision, Policy, decide, to_dict
from returns_service.domain.problems import Problem
from returns_service.domain.stripe_objects import describe_unpaid, has_captured
from returns_service.domain.vocabulary import SettlementMethod
from returns_service.return_case.case import ReturnCase, rows_of
from returns_service.return_case.events import Actor, record
from returns_service.return_case.loader import case_under_lock, lock_case
from returns_service.return_case.locked_payment import LockedPayment
from returns_service.return_case.transition import record_return, record_transition, transition
from returns_service.return_case.views import rfc3339, show_refund
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund, ReturnAuthorization, ReturnLine


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line as the shop asks for it; `total_amount` is what the customer paid for these units, minor units."""

    sku: str
    quantity: int
    total_amount: int
    title: str | None = None
    reason: str | None = None
    order_line: str | None = None
    quantity_ordered: int | None = None
    barcodes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class NewReturn:
    """A return authorization as the shop asks for it."""

    order_id: str
    currency: str
    lines: Sequence[NewLine]
    reason: str | None = None
    shipping_amount: int = 0
    customer_email: str | None = None
    purchased_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


async def create(locked: LockedPayment, by: Actor, policy: Policy, asked: NewReturn) -> ReturnCase:
    """Open a return on a locked payment. Raises Problem, nothing written."""
    tx, payment = locked.tx, locked.row
    check_payment(payment, asked.currency)
    check_metadata(asked.metadata)
    await check_lines(tx, payment, asked.order_id, asked.lines, asked.shipping_amount)
    row = ReturnAuthorization(
        id=tx.new_id("ret"),
        order_id=asked.order_id,
        payment_id=payment.id,
        currency=payment.currency,
        livemode=payment.livemode,
        state="requested",
        reason=asked.reason,
        customer_email=asked.customer_email,
        purchased_at=asked.purchased_at,
        shipping_amount=asked.shipping_amount,
        details=dict(asked.metadata),
        created_at=tx.now,
        updated_at=tx.now,
    )
    tx.add_all([row, *(new_line(tx, row.id, position, line) for position, line in enumerate(asked.lines))])
    case = await case_under_lock(locked, by, policy, row.id)
    decision = decision_on(case)
    row.approvals_required = decision.approvals_required
    await record_return(case, "return.created", {"from": None, "to": "requested", "trigger": "create"})
    # What a guard bars is no reason to refuse the request: it waits for people.
    alone = decision.auto_approve and decision.approvals_required == 1
    if alone and not return_machine.unmet("approve", row.state, case.facts()):
        case.by = Actor("policy", by.request_id)
        await _record_approval(case, note="Below the policy's limit.", override_reason=None)
        case.by = by
    return case


def check_payment(payment: Payment, currency: str) -> None:
    """Raise Problem where a return can't be made on this payment."""
    if payment.connect:
        raise Problem("connect_not_supported")
    if not has_captured(payment.status, payment.captured):
        raise Problem("payment_not_succeeded", describe_unpaid(payment.status), payment_status=payment.status)
    if payment.currency != currency:
        raise Problem("currency_mismatch", f"The payment is in {payment.currency}.", param="currency")


async def check_lines(
    tx: Tx, payment: Payment, order_id: str, lines: Sequence[NewLine], shipping_amount: int, besides: str | None = None
) -> None:
    """Raise Problem where the lines ask for more than was paid, or units that are on another return already."""
    asked = sum(line.total_amount for line in lines) + shipping_amount
    if asked > payment.captured:
        raise Problem("amount_exceeds_payment", amount=asked, captured=payment.captured, param="lines")
    smallest = money.step(payment.currency)
    for number, line in enumerate(lines):
        if line.total_amount % smallest:
            raise Problem("amount_not_a_step", param=f"lines[{number}].total_amount", step=smallest)
    wanted: dict[str, int] = {}
    ordered: dict[str, int] = {}
    for line in lines:
        if line.order_line is not None and line.quantity_ordered is not None:
            wanted[line.order_line] = wanted.get(line.order_line, 0) + line.quantity
            ordered[line.order_line] = line.quantity_ordered
    if not wanted:
        return
    if tx.postgresql:  # an order may have several payments: their locks don't meet
        await tx.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:order_id, 0))"), {"order_id": order_id})
    before = (
        select(ReturnLine.order_line, ReturnLine.quantity)
        .join(ReturnAuthorization, col(ReturnAuthorization.id) == col(ReturnLine.return_id))
        .where(
            col(ReturnAuthorization.order_id) == order_id,
            col(ReturnAuthorization.state).not_in(("declined", "canceled")),
            col(ReturnLine.order_line).in_(list(wanted)),
            col(ReturnAuthorization.id) != (besides or ""),
        )
    )
    for order_line, quantity in (await tx.exec(before)).all():
        wanted[order_line or ""] += quantity
    for order_line, units in wanted.items():
        if units > ordered[order_line]:
            raise Problem(
                "units_already_returned", order_line=order_line, quantity=units, quantity_ordered=ordered[order_line]
            )


def new_line(tx: Tx, return_id: str, position: int, line: NewLine) -> ReturnLine:
    """Return the row of a line."""
    return ReturnLine(
        id=tx.new_id("rli"),
        return_id=return_id,
        position=position,
        sku=line.sku,
        title=line.title,
        reason=line.reason,
        order_line=line.order_line,
        quantity_ordered=line.quantity_ordered,
        quantity=line.quantity,
        total_amount=line.total_amount,
        barcodes=list(line.barcodes) or None,
    )


def decision_on(case: ReturnCase) -> Decision:
    """Return what the policy in force says about a request."""
    return decide(
        case.policy_in_force,
        currency=case.row.currency,
        estimate=case.estimate,
        purchased_at=case.row.purchased_at,
        now=case.tx.now,
        skus=[line.sku for line in case.lines],
        reasons=[line.reason or case.row.reason for line in case.lines],
        warning=case.refund_warning,
    )


async def approve(
    tx: Tx, by: Actor, policy: Policy, return_id: str, *, note: str | None, override_reason: str | None
) -> ReturnCase:
    """Give one approval; the last one that the policy asks for approves. Raises Problem."""
    case = await lock_case(tx, by, policy, return_id)
    if case.row.state == "requested" and any(given["by"] == by.actor for given in case.row.approvals):
        raise Problem("second_person_required", required=case.row.approvals_required)
    await _record_approval(case, note=note, override_reason=override_reason)
    return case


async def _record_approval(case: ReturnCase, *, note: str | None, override_reason: str | None) -> None:
    row, decision = case.row, decision_on(case)
    if row.state == "requested" and not decision.allowed and not override_reason:
        said = [{"code": v.code, "message": v.message} for v in decision.violations]
        raise Problem("policy_violation", " ".join(v.message for v in decision.violations), violations=said)
    given = {"by": case.by.actor, "at": rfc3339(case.tx.now), "note": note, "override_reason": override_reason}
    given["warning"] = decision.warning.code if decision.warning else None
    approvals = [*row.approvals, {key: value for key, value in given.items() if value is not None}]
    missing = len(approvals) < decision.approvals_required
    return_machine.check("approve", row.state, case.facts(approvals_missing=missing))
    row.approvals, row.approvals_required = approvals, decision.approvals_required
    if not missing:
        row.policy = to_dict(case.policy_in_force)
        await _take_in(case)
    await transition(case, "approve", why=override_reason or note, approvals_missing=missing)
    await follow_up(case)


async def _take_in(case: ReturnCase) -> None:
    """Let what the dock counted before this decision count by the policy that holds now."""
    for receipt in case.receipts:
        receipt.unexpected = False
    if case.receipts:
        await recount(case)


async def decline(tx: Tx, by: Actor, policy: Policy, return_id: str, reason: str) -> ReturnCase:
    """Decline a request. Raises Problem."""
    case = await lock_case(tx, by, policy, return_id)
    await transition(case, "decline", why=reason)
    return case


async def cancel(
    tx: Tx, by: Actor, policy: Policy, return_id: str, reason: str, override_reason: str | None = None
) -> ReturnCase:
    """End a return before any money moved. Raises Problem."""
    case = await lock_case(tx, by, policy, return_id)
    await transition(case, "cancel", why=override_reason or reason, override=bool(override_reason))
    case.row.follow_up_at = case.row.follow_up_barred = None  # a refund that a guard bars is wanted no more
    return case


async def close(
    tx: Tx, by: Actor, policy: Policy, return_id: str, reason: str, override_reason: str | None = None
) -> ReturnCase:
    """Say that the rest is not coming; undeclared items bar it without an override reason. Raises Problem."""
    case = await lock_case(tx, by, policy, return_id)
    before = case.row.state
    return_machine.fire("close", case.row, case.facts(why=reason, closing=True, override=bool(override_reason)))
    for receipt in case.receipts:
        receipt.unexpected = False  # what comes from now on is
    case.row.closed_at = tx.now
    await record_transition(case, "close", before, override_reason or reason)
    await follow_up(case)
    return case


async def reopen(tx: Tx, by: Actor, policy: Policy, return_id: str, reason: str) -> ReturnCase:
    """Take back a decline, a cancellation or a close that was a mistake. Raises Problem.

    A request begins anew, without approvals and policy, if its units are not on another return by now.
    """
    case = await lock_case(tx, by, policy, return_id)
    row, before = case.row, case.row.state
    facts = case.facts(why=reason, reopening=True)
    return_machine.check("reopen", before, facts)
    if before in ("declined", "canceled"):
        lines = [as_requested_line(line) for line in case.lines]
        await check_lines(tx, case.payment, row.order_id, lines, row.shipping_amount, besides=row.id)
        row.approvals, row.policy = [], None
    return_machine.fire("reopen", row, facts)
    row.closed_at = None
    case.forget_policy()
    if before in ("declined", "canceled"):
        row.approvals_required = decision_on(case).approvals_required
    await record_transition(case, "reopen", before, reason)
    await follow_up(case)
    return case


@dataclass(frozen=True, slots=True)
class Outside:
    """Money that reached the customer by other means. `amount` in minor units, None: all of it."""

    method: SettlementMethod
    reference: str
    refund: str | None = None
    amount: int | None = None
    note: str | None = None


async def settle_outside(tx: Tx, by: Actor, policy: Policy, return_id: str, asked: Outside) -> ReturnCase:
    """Record that what is due, or a failed refund's amount, was paid by other means. Raises Problem."""
    case = await lock_case(tx, by, policy, return_id)
    failed: Refund | None = None
    if case.row.state == "failed" or asked.refund:
        failed = choose_failed(case, asked.refund)
    rows = rows_of(failed) if failed else case.unpaid()
    limit = failed.amount if failed else case.due
    amount = limit if asked.amount is None else asked.amount
    check_step(amount, case.row.currency)
    facts = {"amount": amount, "settleable": limit}
    return_machine.check("settle_outside", case.row.state, case.facts(**facts))
    if amount < limit:
        why = asked.note or f"Settled outside: {asked.method}"
        rows = money.adjust_to(rows, amount, why) if failed else money.take(rows, amount)
    settled = new_refund(tx, by, case.payment, amount, source="return", status="settled_outside")
    settled.return_id, settled.method, settled.reference = case.row.id, asked.method, asked.reference
    settled.note, settled.breakdown = asked.note, [row.to_dict() for row in rows]
    case.lock.add(settled)
    if failed:
        await supersede(tx, failed, settled)
    await transition(case, "settle_outside", why=asked.note or asked.method, **facts)
    shown = {"object": show_refund(settled, case.payment)}
    await record(tx, by, "refund.created", row=case.row, refund=settled, payment=case.payment, data=shown)
    await follow_up(case)
    return case


async def update(tx: Tx, by: Actor, policy: Policy, return_id: str, changes: Mapping[str, Any]) -> ReturnCase:
    """Correct a return: metadata and note always; lines, reason, e-mail, shipping while requested. Raises Problem."""
    case = await lock_case(tx, by, policy, return_id)
    row = case.row
    early = sorted(changes.keys() - {"metadata", "internal_note"})
    if early and (row.state != "requested" or row.approvals):
        raise Problem(
            "invalid_transition",
            f"{', '.join(early)} can only change while nobody has approved.",
            state=row.state,
            trigger="update",
            allowed=case.available(),
        )
    if "lines" in changes and case.receipt_lines:
        raise Problem("units_received", receipts=sorted({counts.receipt_id for counts in case.receipt_lines}))
    if "metadata" in changes:
        check_metadata(changes["metadata"])
    shipping_amount = changes.get("shipping_amount", row.shipping_amount)
    lines: Sequence[NewLine] = changes.get("lines") or [as_requested_line(line) for line in case.lines]
    if "lines" in changes or "shipping_amount" in changes:
        await check_lines(tx, case.payment, row.order_id, lines, shipping_amount, besides=row.id)
    if "metadata" in changes:
        row.details = dict(changes["metadata"])
    for name in ("internal_note", "reason", "customer_email", "shipping_amount"):
        if name in changes:
            setattr(row, name, changes[name])
    if "lines" in changes:
        await _replace_lines(case, lines)
    if "lines" in changes or "shipping_amount" in changes:
        row.approvals_required = decision_on(case).approvals_required
    await record_return(case, "return.updated", {"changed": sorted(changes)})
    return case


async def _replace_lines(case: ReturnCase, lines: Sequence[NewLine]) -> None:
    for old in case.lines:
        await case.tx.delete(old)
    await case.tx.flush()
    case.lines = [new_line(case.tx, case.row.id, position, line) for position, line in enumerate(lines)]
    case.tx.add_all(case.lines)


def as_requested_line(line: ReturnLine) -> NewLine:
    """Return a stored line as it was asked for."""
    return NewLine(
        line.sku, line.quantity, line.total_amount, line.title, line.reason, line.order_line, line.quantity_ordered,
        line.barcodes or (),
    )  # fmt: skip
