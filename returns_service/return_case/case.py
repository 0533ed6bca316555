"""One return with everything that decides about it, and the facts its guards look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from returns_service.domain import money, refund_windows, return_machine
from returns_service.domain.counts import PLACEHOLDERS, CountedUnits, LineCounts, count_line
from returns_service.domain.money_open import limit_to_due, subtract
from returns_service.domain.money_tax import TaxedAmount, add_taxes
from returns_service.domain.money_ways import DueRows, split_by_way
from returns_service.domain.policy import Policy, from_dict
from returns_service.domain.refund_status import FINAL, OPEN, UNANSWERED, RefundStatus
from returns_service.domain.refund_windows import RefundWarning
from returns_service.domain.return_machine import Facts, PublicTrigger, State
from returns_service.domain.stripe_objects import has_captured
from returns_service.domain.vocabulary import Resolution
from returns_service.return_case import order_shipping
from returns_service.return_case.events import NOBODY, Actor
from returns_service.return_case.locked_payment import LockedPayment, refundable
from returns_service.store.database import Tx
from returns_service.store.tables import (
    Payment,
    Receipt,
    ReceiptLine,
    Refund,
    ReturnAuthorization,
    ReturnLine,
    UndeclaredItem,
)

COUNTS_AS_PAID: tuple[RefundStatus, ...] = ("succeeded", "settled_outside")
NEIGHBOUR_STATES: tuple[State, ...] = (
    "approved",
    "refunding",
    "failed",
)  # of returns that may still need money of the same payment


@dataclass
class ReturnCase:
    """A return with all that decides about it. Loaded to look at, or under its payment's lock (`locked`, `by`)."""

    policy_in_force: Policy
    payment: Payment
    row: ReturnAuthorization
    lines: list[ReturnLine]
    payment_refunds: list[Refund]  # all of the payment: what is left depends on them
    receipts: list[Receipt] = field(default_factory=list)
    receipt_lines: list[ReceiptLine] = field(default_factory=list)
    undeclared: list[UndeclaredItem] = field(default_factory=list)
    payment_returns: list[ReturnCase] = field(default_factory=list)  # the others on the payment, without their receipts
    locked: LockedPayment | None = None
    by: Actor = NOBODY
    now: datetime | None = None  # when it was loaded, UTC: what depends on the time is said for then

    @property
    def lock(self) -> LockedPayment:
        """The lock this was loaded under. Raises LookupError where it was only loaded to look at."""
        if self.locked is None:
            raise LookupError(f"{self.row.id} was loaded without its payment's lock.")
        return self.locked

    @property
    def tx(self) -> Tx:
        """The transaction that holds the payment's lock. Raises LookupError where none does."""
        return self.lock.tx

    def share_refunds(self, refunds: list[Refund]) -> None:
        """Look at the payment's refunds as its lock holds them: one list, to which new ones are added."""
        for case in (self, *self.payment_returns):
            case.payment_refunds = refunds

    @property
    def neighbours(self) -> list[ReturnCase]:
        """Other returns of the payment that may still need money of it."""
        others = self.payment_returns
        return [other for other in others if other.row.state in NEIGHBOUR_STATES and other.row.closed_at is None]

    @property
    def siblings(self) -> list[ReturnCase]:
        """Other returns of the same order on the payment: shipping is theirs together."""
        return [other for other in self.payment_returns if other.row.order_id == self.row.order_id]

    # --- money ---------------------------------------------------------------------------------------------------

    @property
    def refunds(self) -> list[Refund]:
        """Refunds of this return, oldest first."""
        return [refund for refund in self.payment_refunds if refund.return_id == self.row.id]

    @cached_property
    def policy(self) -> Policy:
        """The snapshot taken at approval; before, the policy in force, which is what approval takes."""
        return from_dict(self.row.policy) if self.row.policy else self.policy_in_force

    def forget_policy(self) -> None:
        """Look the policy up again: the return's snapshot was taken or dropped."""
        self.__dict__.pop("policy", None)

    def terms(self, lines: Sequence[money.PricedLine], *, planned: bool = False) -> money.Terms:
        """Return the policy's money rules for these lines. `planned`: as if all of the order had come back."""
        return order_shipping.terms(self, lines, planned=planned)

    def claimed_rows(self, refund: Refund) -> list[money.Row]:
        """Return the rows that a refund pays, or would pay once it is tried again."""
        if refund.status in (*OPEN, *COUNTS_AS_PAID):
            return rows_of(refund)
        return self.remaining_rows(refund) if has_failed(refund) else []

    def money_lines(self, receipts: Collection[str] | None = None) -> list[money.PricedLine]:
        """Return the lines as money sees them: the units accepted now, or by these receipts alone."""
        policy, common = self.policy, self.row.reason
        if receipts is None and self.row.closed_at is not None and any(r.unexpected for r in self.receipts):
            receipts = self.payable()
        return [
            money.PricedLine(
                id=line.id,
                position=line.position,
                title=line.title or line.sku,
                quantity=line.quantity,
                total_amount=line.total_amount,
                accepted=line.accepted if receipts is None else self.count(line, receipts).accepted,
                restocking=not policy.waives_restocking(line.reason or common),
            )
            for line in self.lines
        ]

    @property
    def estimate(self) -> int:
        """What is refunded if every authorized unit is accepted as new, minor units; not what is settled outside."""
        return money.due(split_by_way(self.rows_if_all_comes(), self.outside_lines, {}).refund)

    @property
    def value(self) -> int:
        """What the return is worth if every authorized unit is accepted as new, by whichever way it is paid."""
        return money.due(self.rows_if_all_comes())

    def rows_if_all_comes(self) -> list[money.Row]:
        """Return what is still to be paid if every authorized unit is accepted as new; all of it after the approval."""
        whole = self.authorized_rows()
        if self.row.state != "requested":
            return whole
        return money.outstanding(whole, self.committed())  # a refund made outside may be assigned already

    def authorized_rows(self) -> list[money.Row]:
        """Return what is owed if every authorized unit is accepted as new."""
        lines = money.authorized(self.money_lines())
        return money.entitlement(lines, self.terms(lines, planned=True))

    @property
    def outside_lines(self) -> dict[str, Resolution]:
        """The lines that the customer wants no refund for: what they want, by line."""
        return {line.id: line.resolution for line in self.lines if line.resolution != "refund"}

    def entitled(self) -> list[money.Row]:
        """Return what is owed in all; with `refund_on = approval` that is for the authorized units."""
        lines = self.money_lines()
        paid_ahead = self.policy.refund_on == "approval" and self.row.closed_at is None
        lines = money.authorized(lines) if paid_ahead else lines
        return money.entitlement(lines, self.terms(lines))

    def committed(self, refunds: Iterable[Refund] | None = None) -> list[money.Row]:
        """Return the rows of refunds that are open, succeeded or settled outside."""
        chosen = self.refunds if refunds is None else refunds
        return [row for refund in chosen if refund.status in (*OPEN, *COUNTS_AS_PAID) for row in rows_of(refund)]

    def with_taxes(self, rows: Sequence[money.Row], besides: Refund | None = None) -> list[money.Row]:
        """Return rows with the tax in each, after what the return's refunds, but for `besides`, have paid."""
        amounts = {line.id: TaxedAmount(line.total_amount, line.tax_amount) for line in self.lines if line.tax_amount}
        if self.row.shipping_tax_amount:
            amounts["shipping"] = TaxedAmount(self.row.shipping_amount, self.row.shipping_tax_amount)
        others = [refund for refund in self.refunds if refund is not besides]
        return add_taxes(rows, self.committed(others), amounts)

    def write_breakdown(self, refund: Refund, rows: Sequence[money.Row]) -> None:
        """Keep what a refund of the return pays, with the tax in each row."""
        taxes = [row.tax_amount for row in self.with_taxes(rows, besides=refund)]
        refund.breakdown = [row.to_dict() for row in rows]
        refund.taxes = taxes if any(taxes) else None

    def unpaid(self) -> list[money.Row]:
        """Return the rows that are still to be paid."""
        if self.row.state in ("requested", "declined", "canceled"):
            return []
        return money.outstanding(self.entitled(), self.committed())

    def due_rows(self) -> DueRows:
        """Return the rows that are still to be paid, by the way they are paid."""
        held: dict[str, int] = {}
        for row in (row for rows in self.open_rows().values() for row in rows if row.line and not row.adjustment):
            held[row.line or ""] = held.get(row.line or "", 0) + row.amount
        return split_by_way(self.unpaid(), self.outside_lines, held)

    @property
    def due(self) -> int:
        """The amount still to be refunded through Stripe, minor units."""
        return money.due(self.due_rows().refund)

    @property
    def due_outside(self) -> int:
        """The amount still to be settled outside, for units that the customer wants no refund for; minor units."""
        return money.due(self.due_rows().outside)

    @property
    def overpaid(self) -> int:
        """What was paid and is worth less since a correction, minor units: told, never taken."""
        paid_ahead = self.policy.refund_on == "approval" and self.row.closed_at is None
        if paid_ahead or self.row.state in ("requested", "declined", "canceled"):
            return 0
        return money.overpaid(self.entitled(), self.committed())

    @property
    def refundable(self) -> int:
        """What the payment has left, minor units; negative while an overtaken intent hasn't failed yet."""
        return refundable(self.payment, self.payment_refunds)

    @property
    def refund_deadline(self) -> datetime | None:
        """Until when the payment's method lets it be refunded, UTC; None: no limit known, or not at all."""
        return refund_windows.refund_deadline(self.payment.method_type, self.payment.paid_at)

    @property
    def refund_warning(self) -> RefundWarning | None:
        """What to know before a refund is promised; None once all is paid."""
        if self.now is None or self.row.state in ("declined", "canceled", "refunded"):
            return None
        return refund_windows.refund_warning(self.payment.method_type, self.payment.paid_at, self.now)

    # --- units ---------------------------------------------------------------------------------------------------

    @property
    def units_expected(self) -> bool:
        """Whether the dock should still wait for units."""
        if self.policy.refund_on == "approval":
            return False
        return any(counted(line) < line.quantity for line in self.lines)

    def standing(self) -> set[str]:
        """Return the ids of the receipts that are not reversed."""
        return {receipt.id for receipt in self.receipts if receipt.reversed_at is None}

    def payable(self) -> set[str]:
        """Return the ids of the standing receipts whose units are paid for: none that came after the closing."""
        closed = self.row.closed_at is not None
        return {r.id for r in self.receipts if r.reversed_at is None and not (closed and r.unexpected)}

    def rows_on(self, line: ReturnLine, receipts: Collection[str]) -> list[ReceiptLine]:
        """Return what these receipts count on a line."""
        return [row for row in self.receipt_lines if row.line_id == line.id and row.receipt_id in receipts]

    def surplus_items(self, line: ReturnLine, receipts: Collection[str]) -> list[UndeclaredItem]:
        """Return the undeclared items of these receipts that are the line's surplus."""
        return [item for item in self.undeclared if item.surplus_of == line.id and item.receipt_id in receipts]

    def count(self, line: ReturnLine, receipts: Collection[str]) -> LineCounts:
        """Return a line's counts by these receipts."""
        rows = [CountedUnits(row.condition, row.quantity, row.accepted) for row in self.rows_on(line, receipts)]
        decided = sum(item.quantity for item in self.surplus_items(line, receipts) if item.decision is not None)
        return count_line(line.quantity, rows, decided)

    def can_reverse(self, receipt: Receipt) -> bool:
        """Return whether the receipt stands and what was sent is worth as much without it."""
        if receipt.reversed_at is not None:
            return False
        sent = self.committed(refund for refund in self.refunds if not is_unsent(refund))
        paid = {line.id: sum(r.amount for r in sent if r.line == line.id and not r.adjustment) for line in self.lines}
        lines = self.money_lines(self.payable() - {receipt.id})
        left = money.entitlement(lines, self.terms(lines))
        worth = {line.id: sum(r.amount for r in left if r.line == line.id) for line in self.lines}
        touched = {r.line_id for r in self.receipt_lines if r.receipt_id == receipt.id and r.accepted}
        unknown = any(row.kind == "unallocated" for row in sent) and bool(touched)
        return not unknown and all(paid[line] <= worth[line] for line in touched)

    def is_unpaid(self, line: ReturnLine, refunds: Iterable[Refund]) -> bool:
        """Return whether the line has units, counted or still to come, that none of `refunds` pays."""
        units = sum(line.accepted.values()) if self.row.closed_at is not None else line.quantity
        worth = money.line_value(line.total_amount, line.quantity, units, money.step(self.row.currency))
        rows = [row for row in self.committed(refunds) if row.line == line.id and row.kind == "line"]
        return money.total(rows) < worth or (worth == 0 and sum(row.units for row in rows) < units)

    def open_items(self) -> list[UndeclaredItem]:
        """Return the undeclared items that nobody has decided about."""
        standing = self.standing()
        return [item for item in self.undeclared if item.decision is None and item.receipt_id in standing]

    # --- the machine ---------------------------------------------------------------------------------------------

    def failed(self) -> list[Refund]:
        """Return failed (or withdrawn) refunds that are not superseded."""
        return [refund for refund in self.refunds if has_failed(refund)]

    def open_rows(self) -> dict[str, list[money.Row]]:
        """Return by refund what is open of each failed one: without the parts paid, and no more than is still due."""
        failed = self.failed()
        rows = [self.remaining_rows(refund) for refund in failed]
        if failed and self.row.state not in return_machine.DORMANT:  # there nothing is due yet, or any more
            rows = limit_to_due(rows, self.unpaid())
        return {refund.id: left for refund, left in zip(failed, rows, strict=True)}

    def remaining_rows(self, refund: Refund) -> list[money.Row]:
        """Return a failed refund's rows without those of the parts that were paid out of it."""
        taken = [row for part in self.refunds if part.supersedes == refund.id for row in rows_of(part)]
        return subtract(rows_of(refund), taken)

    def unresolved(self) -> list[Refund]:
        """Return failed (or withdrawn) refunds of which something is open."""
        left = self.open_rows()
        return [refund for refund in self.failed() if money.total(left[refund.id]) > 0]

    def facts(self, **asked: Any) -> Facts:
        """Return what the guards may look at; `asked` overrides what this trigger brings along."""
        ways, refunds = self.due_rows(), self.refunds
        due, due_outside = money.due(ways.refund), money.due(ways.outside)
        sent = [refund for refund in refunds if not is_unsent(refund)]
        facts = Facts(
            due=due + due_outside,
            due_outside=due_outside,
            amount=due,
            refundable=self.refundable,
            estimate=self.estimate,
            headroom=order_shipping.headroom(self) if self.row.state == "requested" else self.refundable,
            payment_succeeded=has_captured(self.payment.status, self.payment.captured),
            disputed=self.payment.disputed,
            external_open=self.payment.external_open,
            refund_open=any(r.status in OPEN for r in refunds),
            refund_unanswered=any(r.status in UNANSWERED for r in refunds),
            refund_failed=bool(self.unresolved()),
            paid=any(r.status in COUNTS_AS_PAID for r in refunds),
            units_expected=self.units_expected,
            units_received=any(counted(line) for line in self.lines),
            units_reversible=any(self.can_reverse(receipt) for receipt in self.receipts),
            units_to_inspect=any(line.inspecting for line in self.lines),
            units_unpaid=any(self.is_unpaid(line, sent) for line in self.lines),
            undeclared_open=bool(self.open_items()),
            closed=self.row.closed_at is not None,
            settleable=due_outside or due,
        )
        return replace(facts, **asked) if asked else facts

    def available(self) -> list[PublicTrigger]:
        """Return the public triggers that would work now."""
        return return_machine.available(self.row.state, self.facts_if_asked())

    def barred(self) -> dict[PublicTrigger, str]:
        """Return the public triggers that would not work now, and why."""
        return return_machine.barred(self.row.state, self.facts_if_asked())

    def facts_if_asked(self) -> Facts:
        """Return the facts for the question what could be done next; a retry asks for the failed refund's amount."""
        facts = self.facts()
        failed = [amount for rows in self.open_rows().values() if (amount := money.total(rows)) > 0]
        if self.row.state == "failed" and failed:
            facts = replace(facts, amount=min(failed), settleable=facts.due_outside or min(failed))
        return facts


def rows_of(refund: Refund) -> list[money.Row]:
    """Return a refund's breakdown, with the taxes kept beside it."""
    rows = [money.Row.from_dict(row) for row in refund.breakdown]
    if not refund.taxes or len(refund.taxes) != len(rows):
        return rows
    return [replace(row, tax_amount=tax) for row, tax in zip(rows, refund.taxes, strict=True)]


def has_failed(refund: Refund) -> bool:
    """Return whether a refund failed, or was withdrawn, and nothing has taken its place."""
    return refund.status in (*FINAL, "withdrawn") and refund.superseded_at is None


def open_amount(refund: Refund) -> int:
    """Return what is open of a failed refund, minor units: all of it where no part was paid."""
    if not has_failed(refund):
        return 0
    return refund.amount if refund.amount_open is None else refund.amount_open


def is_unsent(refund: Refund) -> bool:
    """Return whether Stripe certainly knows nothing of this refund yet."""
    return refund.status == "queued" and not refund.ever_unknown


def counted(line: ReturnLine) -> int:
    """Return how many units of the line the dock has counted, in whatever condition."""
    return sum(line.accepted.values()) + sum(line.rejected.values()) + line.inspecting


def units_here(line: ReturnLine) -> int:
    """Return how many units of the line have come: without those counted as missing or as another item."""
    return counted(line) - sum(units for condition, units in line.rejected.items() if condition in PLACEHOLDERS)
