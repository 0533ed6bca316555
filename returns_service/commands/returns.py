"""What people decide about a return: create, approve, decline, cancel, close, reopen, correct."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from returns_service.commands.counting import recount
from returns_service.commands.refund_metadata import merge_metadata
from returns_service.commands.refunds import follow_order, follow_up
from returns_service.commands.return_lines import (
    NewLine,
    as_requested_line,
    check_lines,
    check_tax,
    keep_numbers,
    new_line,
)
from returns_service.commands.search_index import free_slip_code, index_return
from returns_service.commands.staff_users import persons_of
from returns_service.commands.undue_refunds import follow_withdrawal, withdraw_undue
from returns_service.domain import money, return_machine
from returns_service.domain.policy import Decision, Policy, decide, to_dict, version_of
from returns_service.domain.problems import Problem
from returns_service.domain.search_text import normalise
from returns_service.domain.stripe_objects import describe_unpaid, has_captured
from returns_service.domain.vocabulary import Resolution
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.decided_alone import decided_alone
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import case_of_draft, case_of_new_return, lock_case
from returns_service.return_case.locked_payment import LockedPayment
from returns_service.return_case.overpaid import note_overpaid, overpaid_amounts
from returns_service.return_case.rows import rows_of
from returns_service.return_case.transition import (
    check_edge,
    fire,
    follow_rule,
    record_return,
    record_transition,
    transition,
)
from returns_service.return_case.views import rfc3339
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund, ReturnAuthorization

CHANGES_ALWAYS = frozenset(("metadata", "internal_note", "tracking_numbers", "customer_name"))
SEARCHED = frozenset(("lines", "customer_email", "customer_name", "tracking_numbers", "metadata"))


@dataclass(frozen=True, slots=True)
class NewReturn:
    """A return authorization as the shop asks for it."""

    order_id: str
    currency: str
    lines: Sequence[NewLine]
    reason: str | None = None
    shipping_amount: int = 0
    shipping_tax_amount: int | None = None  # of it
    order_units: int | None = None  # of the whole order, over all its returns
    resolution: Resolution = "refund"
    customer_email: str | None = None
    customer_name: str | None = None
    tracking_numbers: Sequence[str] = ()
    purchased_at: datetime | None = None
    delivered_at: datetime | None = None
    requested_at: datetime | None = None  # where the customer asked another system, before; UTC
    metadata: Mapping[str, str] = field(default_factory=dict)


async def create(locked: LockedPayment, by: Actor, policy: Policy, asked: NewReturn) -> ReturnCase:
    """Open a return on a locked payment. Raises Problem before anything is written."""
    tx, payment = locked.tx, locked.row
    check_payment(payment, asked.currency)
    metadata = merge_metadata({}, asked.metadata)
    check_not_ahead(tx, "purchased_at", asked.purchased_at)
    check_not_ahead(tx, "delivered_at", asked.delivered_at)
    check_not_ahead(tx, "requested_at", asked.requested_at)
    lines = await check_lines(tx, payment, asked.order_id, asked.lines, asked.shipping_amount)
    check_tax(asked.shipping_amount, asked.shipping_tax_amount, "shipping_tax_amount")
    units = sum(line.quantity for line in lines)
    if asked.order_units is not None and units > asked.order_units:
        raise Problem(
            "quantity_exceeds_ordered", param="order_units", quantity=units, quantity_ordered=asked.order_units
        )
    row = _new_row(tx, payment, asked)
    row.slip_code, row.details = await free_slip_code(tx, row.id), metadata
    new_lines = [new_line(tx, row, position, line) for position, line in enumerate(lines)]
    tx.add_all([row, *new_lines])
    case = await case_of_new_return(locked, by, policy, row, new_lines)
    await index_return(tx, row, case.lines, is_new=True)
    decision = decision_on(case)
    row.approvals_required = decision.approvals_required
    case.recorded_units = {}  # no event has shown any of it yet
    await record_return(case, "return.created", {"from": None, "to": "requested", "trigger": "create"})
    if approves_itself(case, decision):
        case.by = Actor("policy", by.request_id)
        await _record_approval(case, note="Below the policy's limit.", override_reason=None)
        case.by = by
    if row.order_units is not None:  # the order's other returns may not have known it
        case.overpaid_before = _overpaid_without_size(case)
        await follow_order(case)
    return case


def _overpaid_without_size(case: ReturnCase) -> dict[str, int]:
    """Return what the order's returns were overpaid before a new one told how many units the order has."""
    units, case.row.order_units = case.row.order_units, None
    before = overpaid_amounts(case)
    case.row.order_units = units
    return before


async def draft(tx: Tx, policy: Policy, payment: Payment, asked: NewReturn) -> ReturnCase:
    """Return the return that `create` would open, as far as policy and money go; nothing is checked or kept."""
    row = _new_row(tx, payment, asked)
    lines = [new_line(tx, row, position, line) for position, line in enumerate(asked.lines)]
    return await case_of_draft(tx, policy, payment, row, lines)


def _new_row(tx: Tx, payment: Payment, asked: NewReturn) -> ReturnAuthorization:
    requested_at = min(asked.requested_at or tx.now, tx.now)
    return ReturnAuthorization(
        id=tx.database.ids.new("ret", requested_at),  # lists go by ids, and tell the request's time
        order_id=asked.order_id,
        payment_id=payment.id,
        currency=payment.currency,
        livemode=payment.livemode,
        state="requested",
        reason=asked.reason,
        customer_email=asked.customer_email,
        email_text=normalise(asked.customer_email) if asked.customer_email else None,
        customer_name=asked.customer_name,
        tracking_numbers=list(asked.tracking_numbers),
        delivered_at=asked.delivered_at,
        purchased_at=asked.purchased_at,
        shipping_amount=asked.shipping_amount,
        shipping_tax_amount=asked.shipping_tax_amount,
        order_units=asked.order_units,
        resolution=asked.resolution,
        created_at=requested_at,
        updated_at=tx.now,
    )


def approves_itself(case: ReturnCase, decision: Decision) -> bool:
    """Return whether a request is approved without a person. If a guard bars that, it waits for people."""
    alone = decision.auto_approve and decision.approvals_required == 1
    return alone and not return_machine.unmet("approve", case.row.state, case.facts())


def check_payment(payment: Payment, currency: str) -> None:
    """Raise Problem where a return can't be made on this payment."""
    if payment.connect:
        raise Problem("connect_not_supported")
    if not has_captured(payment.status, payment.captured):
        raise Problem("payment_not_succeeded", describe_unpaid(payment.status), payment_status=payment.status)
    if payment.currency != currency:
        raise Problem("currency_mismatch", f"The payment is in {payment.currency}.", param="currency")


def check_not_ahead(tx: Tx, param: str, time: datetime | None) -> None:
    """Raise Problem invalid_request for a time ahead by more than a day: less may be a clock or a zone."""
    if time is not None and time > tx.now + timedelta(days=1):
        message = "Must not be in the future"
        error = {"param": param, "code": "too_large", "message": message}
        raise Problem("invalid_request", f"{param}: {message}", param=param, errors=[error])


def decision_on(case: ReturnCase) -> Decision:
    """Return what the policy in force says about a request."""
    return decide(
        case.policy_in_force,
        currency=case.row.currency,
        estimate=case.value,
        purchased_at=case.row.purchased_at,
        delivered_at=case.row.delivered_at,
        requested_at=case.row.created_at,
        skus=[line.sku for line in case.lines],
        reasons=[line.reason or case.row.reason for line in case.lines],
        warning=case.refund_warning,
        decided_alone=_decided_before(case),
    )


def _decided_before(case: ReturnCase) -> int:
    """Return what single persons have decided on the payment beside this request, minor units."""
    if case.now is None:
        raise LookupError(f"{case.row.id} was put together without the time.")
    return decided_alone(case.policy_in_force, case.payment_returns, case.payment_refunds, case.now)


async def approve(
    tx: Tx, by: Actor, policy: Policy, return_id: str, *, note: str | None, override_reason: str | None
) -> ReturnCase:
    """Give one approval; the last one that the policy asks for approves the return. A person with two keys counts once.

    Raises Problem.
    """
    case = await lock_case(tx, by, policy, return_id)
    if case.row.state == "requested" and case.row.approvals:
        persons = await persons_of(tx, [by.actor, *(given["by"] for given in case.row.approvals)])
        if any(persons[given["by"]] == persons[by.actor] for given in case.row.approvals):
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
    check_edge(case, "approve")
    approvals = [*row.approvals, {key: value for key, value in given.items() if value is not None}]
    missing = len(approvals) < decision.approvals_required
    return_machine.check("approve", row.state, case.facts(approvals_missing=missing))
    row.approvals, row.approvals_required = approvals, decision.approvals_required
    if not missing:
        row.policy = to_dict(case.policy_in_force)
        row.policy_version = version_of(row.policy)
        await _count_earlier_receipts(case)
    await transition(case, "approve", why=override_reason or note, approvals_missing=missing)
    if not missing:  # a refund made outside may be assigned already: it decides the state, or has paid too much
        note_overpaid(case)
        await follow_rule(case)
    await follow_up(case)


async def _count_earlier_receipts(case: ReturnCase) -> None:
    """Count the receipts that came before the approval, by the policy that it has just stored."""
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
    await transition(case, "cancel", why=reason, in_spite=override_reason)
    await follow_order(case)
    return case


async def close(
    tx: Tx, by: Actor, policy: Policy, return_id: str, reason: str, override_reason: str | None = None
) -> ReturnCase:
    """Say that the rest is not coming; undeclared items bar it without an override reason. Raises Problem."""
    case = await lock_case(tx, by, policy, return_id)
    overpaid_before = case.overpaid_amount
    before = fire(case, "close", why=reason, closing=True, override=bool(override_reason))
    for receipt in case.receipts:
        receipt.unexpected = False  # only what comes after the closing is unexpected
    case.row.closed_at = tx.now
    withdrawn = await withdraw_undue(case)  # units paid ahead may not come
    note_overpaid(case, overpaid_before)
    await record_transition(case, "close", before, reason, override_reason)
    await (follow_withdrawal if withdrawn else follow_up)(case)
    return case


async def reopen(tx: Tx, by: Actor, policy: Policy, return_id: str, reason: str) -> ReturnCase:
    """Take back a decline, a cancellation or a close that was a mistake. Raises Problem.

    A request begins anew, without approvals and policy, if its units are not on another return by now.
    """
    case = await lock_case(tx, by, policy, return_id)
    row, before = case.row, case.row.state
    check_edge(case, "reopen")
    return_machine.check("reopen", before, case.facts(why=reason, reopening=True))
    if before in ("declined", "canceled"):
        asked = [as_requested_line(line) for line in case.lines]
        lines = await check_lines(tx, case.payment, row.order_id, asked, row.shipping_amount, besides=row.id)
        for line, checked in zip(case.lines, lines, strict=True):
            line.quantity_ordered = checked.quantity_ordered  # other returns of the order may have told it meanwhile
        row.approvals, row.policy, row.policy_version = [], None, None
    closed, row.closed_at = row.closed_at is not None, None
    case.forget_policy()
    # Units that came after the closing are due again: they decide the state.
    fire(case, "reopen", why=reason, reopening=True, closed=closed)
    if before in ("declined", "canceled"):
        row.approvals_required = decision_on(case).approvals_required
    await record_transition(case, "reopen", before, reason)
    await follow_up(case)
    return case


async def update(tx: Tx, by: Actor, policy: Policy, return_id: str, changes: Mapping[str, Any]) -> ReturnCase:
    """Correct a return. Raises Problem.

    `CHANGES_ALWAYS` whatever its state; lines, reason, e-mail and shipping while nobody has approved.
    """
    case = await lock_case(tx, by, policy, return_id)
    row = case.row
    early = sorted(changes.keys() - CHANGES_ALWAYS)
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
    metadata = merge_metadata(row.details, changes.get("metadata", {}))
    shipping_amount = changes.get("shipping_amount", row.shipping_amount)
    lines = keep_numbers(changes.get("lines") or [as_requested_line(line) for line in case.lines], case.lines)
    check_tax(shipping_amount, changes.get("shipping_tax_amount", row.shipping_tax_amount), "shipping_tax_amount")
    if "lines" in changes or "shipping_amount" in changes:
        lines = await check_lines(tx, case.payment, row.order_id, lines, shipping_amount, besides=row.id)
    row.details = metadata
    for name in (*CHANGES_ALWAYS - {"metadata"}, "reason", "customer_email", "shipping_amount", "shipping_tax_amount"):
        if name in changes:
            setattr(row, name, changes[name])
    if "customer_email" in changes:
        _set_email_text(row)
    if "lines" in changes:
        await _replace_lines(case, lines)
    if early:
        row.approvals_required = decision_on(case).approvals_required
    if changes.keys() & SEARCHED:
        await index_return(tx, row, case.lines)
    await record_return(case, "return.updated", {"changed": sorted(changes)})
    return case


def _set_email_text(row: ReturnAuthorization) -> None:
    """Keep a new address as it is compared, and the one before it: its person may ask to be forgotten."""
    before, row.email_text = row.email_text, normalise(row.customer_email) if row.customer_email else None
    known = row.past_email_texts or []
    if before is not None and before != row.email_text and before not in known:
        row.past_email_texts = [*known, before]


async def _replace_lines(case: ReturnCase, lines: Sequence[NewLine]) -> None:
    for old in case.lines:
        await case.tx.delete(old)
    await case.tx.flush()
    gone = {old.id for old in case.lines}
    case.lines = [new_line(case.tx, case.row, position, line) for position, line in enumerate(lines)]
    case.tx.add_all(case.lines)
    for refund in case.refunds:
        _keep_paid_beside_lines(case, refund, gone)


def _keep_paid_beside_lines(case: ReturnCase, refund: Refund, gone: Collection[str]) -> None:
    """Count against the sum what a refund made outside paid of lines that are gone: else it would be paid again."""
    rows = rows_of(refund)
    kept = [row for row in rows if row.line not in gone]
    if amount := money.total(rows) - money.total(kept):
        unknown = money.Row("unallocated", amount, description="Refunded before the return's lines were corrected")
        case.write_breakdown(refund, [*kept, unknown])
