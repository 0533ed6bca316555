"""The facts that the machine's guards look at, read off one return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from returns_service.domain import money
from returns_service.domain.refund_status import COUNTS_AS_PAID, OPEN, UNANSWERED
from returns_service.domain.return_machine import Facts
from returns_service.domain.stripe_objects import has_captured
from returns_service.return_case import order_shipping
from returns_service.return_case.locked_payment import is_held
from returns_service.return_case.reversal import lines_in_flight, reversible, sent_rows
from returns_service.return_case.rows import (
    counted_units,
    is_paid_by_second,
    lines_it_depends_on,
    waits_for_its_decision,
)

if TYPE_CHECKING:
    from returns_service.return_case.case import ReturnCase


def read_facts(case: ReturnCase) -> Facts:
    """Return the facts of a return as it stands."""
    ways, refunds = case.due_rows(), case.refunds
    due, due_outside = money.due(ways.refund), money.due(ways.outside)
    sent = sent_rows(case)
    unresolved = case.unresolved_refunds()
    second_stands = any(is_paid_by_second(refund, case.payment_refunds) for refund in unresolved)
    here, in_flight = {line.id for line in case.lines if counted_units(line)}, lines_in_flight(case)
    unpaid = {line.id for line in case.lines if case.is_unpaid(line, sent)}
    undecided = set(unpaid)
    for refund in filter(waits_for_its_decision, refunds):
        undecided -= lines_it_depends_on(refund, undecided)
    return Facts(
        due=due + due_outside,
        due_outside=due_outside,
        amount=due,
        refundable=case.refundable,
        estimate=case.estimate,
        headroom=order_shipping.headroom(case) if case.row.state == "requested" else case.refundable,
        payment_succeeded=has_captured(case.payment.status, case.payment.captured),
        disputed=case.payment.disputed,
        external_open=is_held(case.payment) or second_stands,
        refund_open=any(r.status in OPEN for r in refunds),
        refund_unanswered=any(r.status in UNANSWERED for r in refunds),
        refund_failed=bool(unresolved),
        paid=any(r.status in COUNTS_AS_PAID for r in refunds),
        units_expected=case.units_expected,
        units_received=bool(here),
        units_in_flight=bool(here) and here <= in_flight,
        units_reversible=any(True for _ in reversible(case, sent)),
        units_to_inspect=any(line.inspecting for line in case.lines),
        units_unpaid=bool(unpaid),
        units_decided=bool(unpaid) and not undecided,
        undeclared_open=bool(case.open_items()),
        closed=case.row.closed_at is not None,
        settleable=due_outside or due,
    )
