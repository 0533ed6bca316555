"""What the desk says about each thing: what happened in plain words, what can be done now, and what would work now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from returns_service.commands.refund_actions import sendable_again_at
from returns_service.domain import return_machine
from returns_service.domain.policy import Policy
from returns_service.domain.return_machine import Facts
from returns_service.domain.vocabulary import DESK_KINDS, DeskAction, DeskKind
from returns_service.queries.desk import DeskEntry, DeskTotal, SystemHealth
from returns_service.queries.desk_items_dock import (
    describe_overpaid,
    describe_to_decide,
    describe_undeclared,
    describe_unmatched,
)
from returns_service.queries.desk_said import Said
from returns_service.return_case.case import ReturnCase, is_unsent
from returns_service.return_case.loader import load_cases
from returns_service.return_case.views import rfc3339, show_failure
from returns_service.return_case.views.fields import (
    Count,
    Currency,
    EndpointId,
    PaymentId,
    RunId,
    Time,
    UndeclaredItemId,
    UnmatchedReceiptId,
    minor_units,
)
from returns_service.return_case.waiting import WAITING, describe_disabled, describe_waiting, waiting_code
from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund, ReturnAuthorization

OTHER_ACCOUNT = "Check which Stripe account and mode STRIPE_SECRET_KEY belongs to. It is asked again by itself."


class DeskItemView(Struct, kw_only=True, tag_field="object", tag="desk_item", rename={"return_": "return"}):
    """One thing that waits for a person.

    An action is POSTed to `/v1/refunds/{refund}/{action}`, or without a refund to `/v1/returns/{return}/{action}`.
    """

    id: str
    kind: DeskKind
    since: Time
    return_: str | None
    order_id: str | None
    refund: str | None
    payment: PaymentId | None
    amount: Annotated[int | None, minor_units("What it is about.")]
    currency: Currency | None
    answer_by: Annotated[Time | None, Meta(description="Until then the dispute has to be answered.")]
    code: str
    message: Annotated[str, Meta(description="What happened, in plain words.")]
    advice: Annotated[str, Meta(description="What can be done now.")]
    actions: list[DeskAction]
    attempts: Count | None
    next_attempt_at: Time | None
    stripe_event: str | None
    webhook_endpoint: EndpointId | None
    reconciliation: RunId | None
    undeclared_item: UndeclaredItemId | None
    unmatched_receipt: UnmatchedReceiptId | None


class DeskItemListView(Struct, kw_only=True, tag_field="object", tag="list"):
    """One page, most urgent first, then oldest."""

    url: str
    has_more: bool
    data: list[DeskItemView]
    totals: Annotated[
        dict[DeskKind, Count],
        Meta(description="How many there are in all, by kind.", extra_json_schema={"required": list(DESK_KINDS)}),
    ]


def show_entry(tx: Tx, entry: DeskEntry, health: SystemHealth, whole: ReturnCase | None) -> DeskItemView:
    """Return one thing on the desk. Amounts in minor units. `whole`: all about a return, for kinds that need it."""
    said = SAYS_OF_CASE[entry.kind](whole) if whole else SAYS[entry.kind](tx, entry, health)
    refund, case, event = entry.refund, entry.case, entry.stripe_event
    view = DeskItemView(
        id=entry.id,
        kind=entry.kind,
        since=rfc3339(entry.since),
        return_=case.id if case else None,
        order_id=case.order_id if case else None,
        refund=refund.id if refund else None,
        payment=entry.payment.id if entry.payment else None,
        amount=refund.amount if refund else None,
        currency=refund.currency if refund else case.currency if case else None,
        answer_by=None,
        code=said.code,
        message=said.message,
        advice=said.advice,
        actions=list(said.actions),
        attempts=refund.attempts if refund else event.attempts if event else None,
        next_attempt_at=rfc3339(refund.next_attempt_at if refund else event.next_attempt_at if event else None),
        stripe_event=event.id if event else None,
        webhook_endpoint=entry.endpoint.id if entry.endpoint else None,
        reconciliation=entry.difference.run_id if entry.difference else None,
        undeclared_item=entry.undeclared.id if entry.undeclared else None,
        unmatched_receipt=entry.unmatched.id if entry.unmatched else None,
    )
    return msgspec.structs.replace(view, **said.facts)


async def show_page(
    tx: Tx,
    policy: Policy,
    found: Sequence[DeskEntry],
    health: SystemHealth,
    sums: Sequence[DeskTotal],
    *,
    has_more: bool,
) -> DeskItemListView:
    """Return a page of the desk as it is answered, with how many things of each kind there are in all."""
    whole = sorted({entry.subject for entry in found if entry.kind in SAYS_OF_CASE})
    cases = {case.row.id: case for case in await load_cases(tx, policy, whole)} if whole else {}
    return DeskItemListView(
        url="/v1/desk",
        has_more=has_more,
        data=[show_entry(tx, entry, health, cases.get(entry.subject)) for entry in found],
        totals={total.kind: total.number for total in sums},
    )


def _of_refund(entry: DeskEntry) -> tuple[Refund, Payment]:
    if entry.refund is None or entry.payment is None:
        raise LookupError(f"{entry.id} is of a refund and came without it")
    return entry.refund, entry.payment


def _stripe_silent(_: Tx, entry: DeskEntry, health: SystemHealth) -> Said:
    if entry.subject == "calls":
        message = f"Stripe gives no answer ({health.call_problem}). Nothing is sent; it is tried every few seconds."
        return Said("calls_pause", message, "See status.stripe.com, and check STRIPE_SECRET_KEY and the way to Stripe.")
    if entry.subject == "comparison":
        return Said(
            "comparison_unfinished",
            "No comparison with Stripe has come to its end since: what differs there may not be known.",
            "Run `returns-service reconcile`: it says what Stripe does not answer.",
        )
    return Said(
        "events_not_listed",
        "Stripe's list of events has not been read since. A webhook that got lost is not made up for meanwhile.",
        "Check that a worker runs, and that STRIPE_SECRET_KEY may read events.",
    )


def _work_overdue(_: Tx, __: DeskEntry, health: SystemHealth) -> Said:
    if health.calls_pause:  # a worker sends but a probe now and then
        message = f"{health.overdue} refunds are due and not sent: Stripe gives no answer."
        return Said("refunds_overdue", message, "They are sent by themselves once it does, as long as a worker runs.")
    message = f"{health.overdue} refunds are due, and nobody has looked at them."
    return Said("refunds_overdue", message, "Check that a worker runs: `returns-service worker`, and what it logs.")


def _payment_overpaid(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    refund, _payment = _of_refund(entry)
    return Said(
        "second_refund",
        f"Stripe holds a second refund ({refund.stripe_refund}) for {refund.duplicate_of}: the customer may have been "
        "paid twice.",
        "Compare both in Stripe's Dashboard, settle it with the customer, then acknowledge it with what was agreed.",
        ["acknowledge"],
    )


def _difference(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    row = entry.difference
    if row is None:
        raise LookupError(f"{entry.id} is a difference and came without it")
    ours = {"refund": row.refund_id, "return_": row.return_id}
    amount = row.amount_here if row.amount_at_stripe is None else row.amount_at_stripe
    advice = row.advice or "Run `returns-service reconcile --fix`: it repairs what is safe."
    return Said(row.code, row.cause, advice, facts={**ours, "amount": amount, "currency": row.currency})


def _refund_unknown(tx: Tx, entry: DeskEntry, _: SystemHealth) -> Said:
    refund, payment = _of_refund(entry)
    possible = tx.now >= sendable_again_at(refund) and not payment.disputed
    again: list[DeskAction] = ["send_again"] if possible else []
    return Said(
        "stored_error" if refund.lookups_only else "no_answer",
        describe_waiting(refund) or "The money may or may not have moved; nobody knows yet.",
        "Look for it in Stripe's Dashboard. It is looked for again by itself; send it again only if Stripe's support "
        "says it was never made.",
        ["check", *again],
    )


def _refund_missing(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    refund, _payment = _of_refund(entry)
    return Said("refund_missing", describe_waiting(refund) or WAITING["refund_missing"], OTHER_ACCOUNT)


def _refund_failed(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    refund, payment = _of_refund(entry)
    failure = show_failure(refund)
    advice = failure.advice or "Retry it, or settle it outside."
    return Said(failure.code, failure.message, advice, _out_of_failure(entry.case, refund, payment, entry.left))


def _out_of_failure(case: ReturnAuthorization | None, refund: Refund, payment: Payment, left: int) -> list[DeskAction]:
    """Return what gets a failed refund on: the same guards as when it is asked."""
    if case is None:
        open_to_refunds = payment.status == "succeeded" and not payment.disputed and not payment.connect
        return ["retry", "settle_outside"] if open_to_refunds and refund.amount <= left else ["settle_outside"]
    facts = Facts(
        amount=refund.amount, refundable=left, settleable=refund.amount, disputed=payment.disputed, refund_failed=True
    )
    return [t for t in return_machine.available(case.state, facts) if t in ("retry", "settle_outside")]


def _dispute_lost(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    """Say it of a refund, or of a return whose refund can't even be decided any more."""
    due = _due(entry)
    facts: Mapping[str, Any] = {} if entry.refund else {"amount": due}
    if entry.refund:
        refund, payment = _of_refund(entry)
        actions = _out_of_failure(entry.case, refund, payment, entry.left)
    else:
        actions = _out_of_barred(entry, due)
    return Said(
        "dispute_lost",
        "The dispute is lost: the bank has given the customer the money back.",
        "Settle it outside with the method `dispute`: the customer has the money already.",
        [action for action in actions if action == "settle_outside"],
        facts,
    )


def _refund_barred(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    barred = (entry.case.follow_up_barred if entry.case else None) or {}
    due = _due(entry)
    facts: dict[str, Any] = {"amount": due}
    if entry.payment is not None and entry.payment.disputed:
        facts["answer_by"] = _answer_by(entry.payment)
        advice = f"{_on_the_dispute(entry.payment)} It is refunded by itself once the dispute is won."
    else:
        advice = (
            "It is tried again by itself when the payment has more left. Or refund what is left, or settle it outside."
        )
    return Said(
        barred.get("code", "barred"),
        barred.get("reason", "A refund is due and can't be made."),
        advice,
        _out_of_barred(entry, due),
        facts,
    )


def _answer_by(payment: Payment) -> str | None:
    """Return until when the payment's dispute waits for the shop's evidence; None: there is nothing to send."""
    by: str | None = (payment.dispute or {}).get("answer_by")
    return by


def _on_the_dispute(payment: Payment) -> str:
    by = _answer_by(payment)
    if by is None:
        return "The bank decides the dispute; see Stripe's Dashboard."
    return f"Answer the dispute in Stripe's Dashboard before {by[:10]}, {by[11:16]} UTC: without an answer it is lost."


def _due(entry: DeskEntry) -> int:
    barred = (entry.case.follow_up_barred if entry.case else None) or {}
    return int(barred.get("due", 0))


def _out_of_barred(entry: DeskEntry, due: int) -> list[DeskAction]:
    """Return what gets a barred refund on: less of it from the payment, or all of it by other means."""
    if entry.case is None or entry.payment is None:
        return []
    state, less = entry.case.state, min(due, entry.left)
    refund = Facts(due=due, amount=less, refundable=entry.left, disputed=entry.payment.disputed)
    outside = Facts(due=due, amount=due, settleable=due)
    ways: list[tuple[Literal["refund", "settle_outside"], Facts]] = [("refund", refund), ("settle_outside", outside)]
    return [way for way, facts in ways if way in return_machine.available(state, facts)]


def _refund_unsent(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    refund, _payment = _of_refund(entry)
    message = describe_waiting(refund) or "Stripe has not taken it yet; nothing has moved."
    gone = waiting_code(refund) == "payment_missing"
    advice = OTHER_ACCOUNT if gone else "It is sent again by itself. Do what the message says, or cancel it."
    code = "payment_missing" if gone else "not_taken"
    return Said(code, message, advice, ["cancel"] if is_unsent(refund) else [])


def _refund_held(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    refund, payment = _of_refund(entry)
    return Said(
        "payment_disputed",
        "The payment is disputed: this refund is held, and nothing has moved.",
        f"{_on_the_dispute(payment)} Won, it is sent by itself; lost, settle it outside as `dispute`.",
        ["cancel"] if is_unsent(refund) else [],
        {"answer_by": _answer_by(payment)},
    )


def _stripe_event(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    event = entry.stripe_event
    if event is None:
        raise LookupError(f"{entry.id} is an event and came without it")
    return Said(
        "fold_failed",
        f"Stripe's event {event.id} ({event.type}) can't be read, after {event.attempts} attempts: {event.error}",
        "It is kept and tried again by itself. See it in Stripe's Dashboard; a newer release may be able to read it.",
    )


def _webhook_disabled(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    endpoint = entry.endpoint
    if endpoint is None:
        raise LookupError(f"{entry.id} is an endpoint and came without it")
    return Said(
        "webhook_endpoint_disabled",
        f"{endpoint.id} is told nothing any more. {describe_disabled(endpoint)}",  # not its URL: that may hold a token
        f'POST {{"status": "enabled"}} to /v1/webhook_endpoints/{endpoint.id} once it works: it is sent all it missed.',
    )


def _refund_requires_action(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    refund, _payment = _of_refund(entry)
    return Said(
        "customer_must_act",
        describe_waiting(refund) or "The customer has to act.",
        "Remind the customer of Stripe's e-mail: without an answer within 45 days Stripe cancels the refund. "
        "Or cancel it, and pay another way.",
        ["check", "cancel"],
    )


def _refund_pending(_: Tx, entry: DeskEntry, __: SystemHealth) -> Said:
    refund, _payment = _of_refund(entry)
    too_low = waiting_code(refund) == "balance_too_low"
    return Said(
        "balance_too_low" if too_low else "bank_slow",
        describe_waiting(refund) or "The bank is processing it.",
        "Top up the Stripe balance; it is sent then by itself."
        if too_low
        else "Banks take 5 to 10 business days. Ask Stripe's support about it, and tell the customer.",
        ["check"],
    )


SAYS_OF_CASE: dict[DeskKind, Callable[[ReturnCase], Said]] = {
    "return_to_decide": describe_to_decide,
    "return_overpaid": describe_overpaid,
}
SAYS: dict[DeskKind, Callable[[Tx, DeskEntry, SystemHealth], Said]] = {
    "stripe_silent": _stripe_silent,
    "work_overdue": _work_overdue,
    "payment_overpaid": _payment_overpaid,
    "difference": _difference,
    "refund_unknown": _refund_unknown,
    "refund_missing": _refund_missing,
    "refund_failed": _refund_failed,
    "dispute_lost": _dispute_lost,
    "refund_barred": _refund_barred,
    "undeclared_item": describe_undeclared,
    "unmatched_receipt": describe_unmatched,
    "refund_unsent": _refund_unsent,
    "refund_held": _refund_held,
    "stripe_event": _stripe_event,
    "webhook_disabled": _webhook_disabled,
    "refund_requires_action": _refund_requires_action,
    "refund_pending": _refund_pending,
}
