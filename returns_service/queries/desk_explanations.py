"""Why each thing is on the desk: the cause in plain words, the advice, and the actions that would work now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from returns_service.commands.refund_actions import what_bars_sending_again
from returns_service.commands.undue_refunds import has_second
from returns_service.commands.webhook_deliveries import describe_disabled
from returns_service.domain import return_machine
from returns_service.domain.money import format_amount
from returns_service.domain.plural import pluralize
from returns_service.domain.refund_windows import refund_warning
from returns_service.domain.stripe_objects import has_captured
from returns_service.domain.vocabulary import DeskAction, DeskKind
from returns_service.queries.desk import DeskEntry
from returns_service.queries.desk_explanation import Explanation
from returns_service.queries.desk_explanations_dock import (
    describe_overpaid,
    describe_resolution_due,
    describe_to_decide,
    describe_undeclared,
    describe_unmatched,
)
from returns_service.queries.desk_explanations_held import (
    OTHER_ACCOUNT,
    describe_barred,
    describe_held,
    due_amount,
    payment_of,
    refund_of,
    to_the_minute,
    ways_out,
)
from returns_service.queries.desk_news import describe_mail_failed, describe_refund_rate
from returns_service.queries.system_health import SystemHealth
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.locked_payment import describe_lost_dispute, is_held
from returns_service.return_case.rows import is_paid_by_second, open_amount
from returns_service.return_case.views import show_failure
from returns_service.return_case.waiting import WAITING, describe_waiting, waiting_code
from returns_service.store.database import Tx
from returns_service.store.stripe_refusals import EVERY_CALL
from returns_service.store.tables import Payment, Refund


def _stripe_refuses(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    refusal = entry.refusal
    if refusal is None:
        raise LookupError(f"{entry.id} is a refusal of Stripe's and came without it")
    what = "every call" if refusal.subject == EVERY_CALL else f"calls about {refusal.subject.replace('_', ' ')}"
    return Explanation(
        refusal.code,
        f"Stripe refuses {what}: {refusal.message}",
        "Give the key the missing permission in Stripe's Dashboard, or set another STRIPE_SECRET_KEY and restart. "
        "What waits is tried again by itself.",
    )


def _stripe_silent(_: Tx, entry: DeskEntry, health: SystemHealth) -> Explanation:
    if entry.subject == "calls":
        message = f"Stripe gives no answer ({health.call_problem}). Nothing is sent; it is tried every few seconds."
        return Explanation(
            "calls_pause", message, "See status.stripe.com, and check STRIPE_SECRET_KEY and the way to Stripe."
        )
    if entry.subject == "comparison":
        return Explanation(
            "comparison_unfinished",
            "No comparison with Stripe has come to its end since: what differs there may not be known.",
            "Run `returns-service reconcile`: it says what Stripe does not answer.",
        )
    return Explanation(
        "events_not_listed",
        "Stripe's list of events has not been read since. A webhook that got lost is not made up for meanwhile.",
        "Check that a worker runs, and that STRIPE_SECRET_KEY may read events.",
    )


def _work_overdue(_: Tx, __: DeskEntry, health: SystemHealth) -> Explanation:
    if health.calls_pause:  # a worker sends but a probe now and then
        message = f"Due and not sent: {pluralize(health.overdue, 'refund')}. Stripe gives no answer."
        return Explanation(
            "refunds_overdue", message, "They are sent by themselves once it does, as long as a worker runs."
        )
    message = f"Due, and nobody has looked at it: {pluralize(health.overdue, 'refund')}."
    return Explanation(
        "refunds_overdue", message, "Check that a worker runs: `returns-service worker`, and what it logs."
    )


def _payment_overpaid(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    refund, _payment = refund_of(entry)
    others = entry.payment_refunds
    first = next((other for other in others if other.id == refund.duplicate_of), None)
    if first is not None and is_paid_by_second(first, others):
        paid = (
            f"If it has, settle {first.id} outside as `dashboard_refund` with it"
            if first.return_id is None
            else "Assign it to the return"
        )
        return Explanation(
            "second_refund",
            f"{first.id} has failed, and Stripe holds a second refund for it ({refund.stripe_refund}): that one may "
            "have paid the customer instead.",
            f"{paid}, or acknowledge it with what was agreed: what is open can be retried then.",
            ["assign", "acknowledge"],
        )
    return Explanation(
        "second_refund",
        f"Stripe holds a second refund ({refund.stripe_refund}) for {refund.duplicate_of}: the customer may have been "
        "paid twice.",
        "Compare both in Stripe's Dashboard, settle it with the customer, then acknowledge it with what was agreed.",
        ["acknowledge"],
    )


def _difference(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    row = entry.difference
    if row is None:
        raise LookupError(f"{entry.id} is a difference and came without it")
    ours = {"refund": row.refund_id, "return_": row.return_id}
    amount = row.amount_here if row.amount_at_stripe is None else row.amount_at_stripe
    advice = row.advice or "Run `returns-service reconcile --fix`: it repairs what is safe."
    return Explanation(row.code, row.cause, advice, facts={**ours, "amount": amount, "currency": row.currency})


def _refund_unknown(tx: Tx, entry: DeskEntry, _: SystemHealth) -> Explanation:
    refund, payment = refund_of(entry)
    barring = what_bars_sending_again(tx, refund, payment, entry.payment_refunds, entry.whole)
    again: list[DeskAction] = [] if barring else ["send_again"]
    if waiting_code(refund) == "paid_beside":
        advice = "See in Stripe's Dashboard what that one was for. If it paid this one, wait: this one is withdrawn "
        advice += "after a day. Send it again only if that one paid something else, and Stripe has no such refund."
        if has_second(refund, entry.payment_refunds):
            advice = "Stripe holds that one in this one's name, so this one can't be sent again. Wait: it is withdrawn "
            advice += "after a day, and then retried or settled."
        return Explanation("paid_beside", WAITING["paid_beside"], advice, ["check", *again])
    return Explanation(
        "stored_error" if refund.lookups_only else "no_answer",
        describe_waiting(refund) or "The money may or may not have moved; nobody knows yet.",
        "Look for it in Stripe's Dashboard. It is looked for again by itself; send it again only if Stripe's support "
        "says it was never made.",
        ["check", *again],
    )


def _refund_missing(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    refund, _payment = refund_of(entry)
    return Explanation("refund_missing", describe_waiting(refund) or WAITING["refund_missing"], OTHER_ACCOUNT)


def _external_refund(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    refund, _payment = refund_of(entry)
    return Explanation(
        "external_refund_open",
        f"{refund.stripe_refund} was made outside this service, and nobody has said for what. It holds the other "
        "refunds of its payment.",
        "Assign it to the return that it paid, or acknowledge it where it paid none.",
        ["assign", "acknowledge"],
    )


def _refund_failed(tx: Tx, entry: DeskEntry, _: SystemHealth) -> Explanation:
    refund, payment = refund_of(entry)
    failure = show_failure(refund)
    warning = refund_warning(payment.method_type, payment.paid_at, tx.now)
    if warning is not None and warning.settle_outside:  # to retry it would fail again
        outside = [way for way in _out_of_failure(entry, refund, payment) if way == "settle_outside"]
        advice = f"{warning.message} Then settle it outside."
        return Explanation(warning.code, failure.message, advice, outside, _open(refund))
    message, advice = failure.message, failure.advice or "Retry it, or settle it outside."
    if is_paid_by_second(refund, entry.payment_refunds):
        advice = "Stripe holds a second refund for it: first assign that one to the return, or acknowledge it."
        if entry.whole is None:
            advice = "Stripe holds a second refund for it: settle it outside as `dashboard_refund` with that one, if "
            advice += "that one has paid; or first acknowledge that one."
    elif open_amount(refund) < refund.amount:
        open_, whole = (format_amount(amount, refund.currency) for amount in (open_amount(refund), refund.amount))
        message = f"{message} {open_} of {whole} are still open."
        advice = "Retry the rest, settle it outside, or give it up with `waive` and a reason."
    return Explanation(failure.code, message, advice, _out_of_failure(entry, refund, payment), _open(refund))


def _open(refund: Refund) -> Mapping[str, Any]:
    """Return the open amount of a failed refund, minor units."""
    return {"amount": open_amount(refund)}


def _out_of_failure(entry: DeskEntry, refund: Refund, payment: Payment) -> list[DeskAction]:
    """Return what gets a failed refund on: the same guards as when it is asked."""
    if entry.whole is not None:
        amount = open_amount(refund)
        facts = replace(entry.whole.facts(), amount=amount, settleable=amount)
        able = return_machine.available(entry.whole.row.state, facts)
        return [t for t in able if t in ("retry", "settle_outside")]
    barred = payment.disputed or payment.connect or is_held(payment)
    barred = barred or is_paid_by_second(refund, entry.payment_refunds)
    barred = barred or not has_captured(payment.status, payment.captured)
    return ["settle_outside"] if barred or open_amount(refund) > entry.left else ["retry", "settle_outside"]


def _dispute_lost(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    """Say it of a refund, or of a return whose refund can't even be decided any more."""
    payment, why = payment_of(entry), describe_lost_dispute(payment_of(entry))
    facts: Mapping[str, Any] = _open(entry.refund) if entry.refund else {"amount": due_amount(entry)}
    actions = _out_of_failure(entry, entry.refund, payment) if entry.refund else ways_out(entry)
    outside: list[DeskAction] = [action for action in actions if action == "settle_outside"]
    return Explanation("dispute_lost", why["message"], why["advice"], outside, facts)


def _second_person(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    refund, _payment = refund_of(entry)
    decided = format_amount(refund.decided_amount, refund.currency)
    return Explanation(
        "second_person",
        f"One person decided {decided}, and with that more on this payment within 30 days than one person may decide "
        "alone. It is not sent.",
        "Let another person approve it; or cancel it.",
        ["approve", "cancel"],
    )


def _refund_unsent(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    refund, _payment = refund_of(entry)
    message = describe_waiting(refund) or "Stripe has not taken it yet; nothing has moved."
    gone = waiting_code(refund) == "payment_missing"
    advice = OTHER_ACCOUNT if gone else "It is sent again by itself. Do what the message says, or cancel it."
    code = "payment_missing" if gone else "not_taken"
    return Explanation(code, message, advice, ["cancel"] if refund.status == "queued" else [])


def _stripe_event(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    event = entry.stripe_event
    if event is None:
        raise LookupError(f"{entry.id} is an event and came without it")
    return Explanation(
        "fold_failed",
        f"Stripe's event {event.id} ({event.type}) can't be read, after {event.attempts} attempts: {event.error}",
        "It is kept and tried again by itself. See it in Stripe's Dashboard; a newer release may be able to read it.",
    )


def _webhook_disabled(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    endpoint = entry.endpoint
    if endpoint is None:
        raise LookupError(f"{entry.id} is an endpoint and came without it")
    return Explanation(
        "webhook_endpoint_disabled",
        f"{endpoint.id} is told nothing any more. {describe_disabled(endpoint)}",  # not its URL: that may hold a token
        f'POST {{"status": "enabled"}} to /v1/webhook_endpoints/{endpoint.id} once it works: it is sent all it missed.',
    )


def _refund_requires_action(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    refund, _payment = refund_of(entry)
    expires_at = (refund.next_action or {}).get("expires_at")
    by = f"before {to_the_minute(expires_at)}" if expires_at else "within 45 days"
    return Explanation(
        "customer_must_act",
        describe_waiting(refund) or "The customer has to act.",
        f"Remind the customer of Stripe's e-mail: without an answer {by} Stripe cancels the refund. "
        "Or cancel it, and pay another way.",
        ["check", "cancel"],
    )


def _refund_pending(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
    refund, _payment = refund_of(entry)
    too_low = waiting_code(refund) == "balance_too_low"
    return Explanation(
        "balance_too_low" if too_low else "bank_slow",
        describe_waiting(refund) or "The bank is processing it.",
        "Top up the Stripe balance; it is sent then by itself."
        if too_low
        else "Banks take 5 to 10 business days. Ask Stripe's support about it, and tell the customer.",
        ["check"],
    )


def _of_case(explain: Callable[[ReturnCase], Explanation]) -> Callable[[Tx, DeskEntry, SystemHealth], Explanation]:
    """Return an explanation of a thing that needs all about its return."""

    def explained(_: Tx, entry: DeskEntry, __: SystemHealth) -> Explanation:
        if entry.whole is None:
            raise LookupError(f"{entry.id} is of a return and came without it")
        return explain(entry.whole)

    return explained


EXPLANATIONS: dict[DeskKind, Callable[[Tx, DeskEntry, SystemHealth], Explanation]] = {
    "stripe_refuses": _stripe_refuses,
    "stripe_silent": _stripe_silent,
    "work_overdue": _work_overdue,
    "payment_overpaid": _payment_overpaid,
    "difference": _difference,
    "refund_unknown": _refund_unknown,
    "refund_missing": _refund_missing,
    "external_refund": _external_refund,
    "refund_failed": _refund_failed,
    "dispute_lost": _dispute_lost,
    "refund_barred": describe_barred,
    "second_person": _second_person,
    "resolution_due": _of_case(describe_resolution_due),
    "return_to_decide": _of_case(describe_to_decide),
    "return_overpaid": _of_case(describe_overpaid),
    "undeclared_item": describe_undeclared,
    "unmatched_receipt": describe_unmatched,
    "refund_unsent": _refund_unsent,
    "refund_held": describe_held,
    "refund_rate": lambda _tx, entry, _health: describe_refund_rate(entry.event),
    "stripe_event": _stripe_event,
    "webhook_disabled": _webhook_disabled,
    "mail_failed": lambda _tx, entry, _health: describe_mail_failed(entry.subject, entry.event),
    "refund_requires_action": _refund_requires_action,
    "refund_pending": _refund_pending,
}
