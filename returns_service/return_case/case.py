"""One return with everything that decides about it, and the facts its guards look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from returns_service.domain import money, refund_windows, return_machine
from returns_service.domain.counts import CountedUnits, LineCounts, LineTally, count_line, tally
from returns_service.domain.money_open import limit_to_due, subtract
from returns_service.domain.money_tax import TaxedAmount, add_taxes
from returns_service.domain.money_ways import DueRows, split_by_way
from returns_service.domain.policy import Policy, from_snapshot
from returns_service.domain.refund_status import COUNTS_AS_PAID, OPEN
from returns_service.domain.refund_windows import RefundWarning
from returns_service.domain.return_machine import Facts, PublicTrigger, State
from returns_service.domain.vocabulary import Resolution
from returns_service.return_case import order_shipping, overpaid
from returns_service.return_case.events import NOBODY, Actor
from returns_service.return_case.facts import read_facts
from returns_service.return_case.locked_payment import LockedPayment, refundable
from returns_service.return_case.rows import counted_units, has_failed, rows_of
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

if TYPE_CHECKING:
    from returns_service.return_case.views.objects import UnitViews

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
    now: datetime | None = None  # when it was loaded, UTC: windows and deadlines are judged as of then
    recorded_units: UnitViews | None = None  # its lines and undeclared items as its last event showed them, by id
    overpaid_before: dict[str, int] = field(default_factory=dict)  # of an order's returns as they were locked, by id
    _rows_by_line: dict[str, list[ReceiptLine]] = field(default_factory=dict, repr=False)  # the first `_indexed` ones
    _rows_by_receipt: dict[str, list[ReceiptLine]] = field(default_factory=dict, repr=False)
    _indexed: int = 0

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
        return [other for other in self.payment_returns if other.row.state in NEIGHBOUR_STATES]

    @property
    def siblings(self) -> list[ReturnCase]:
        """Other returns of the same order on the payment: shipping is theirs together."""
        return [other for other in self.payment_returns if other.row.order_id == self.row.order_id]

    def record_lines_again(self, refund: Refund) -> None:
        """Let the return's next event show the lines that a refund pays, though they are as they were loaded."""
        lines = {row.line for row in rows_of(refund)}
        self.recorded_units = {name: unit for name, unit in (self.recorded_units or {}).items() if name not in lines}

    # --- money ---------------------------------------------------------------------------------------------------

    @property
    def refunds(self) -> list[Refund]:
        """Refunds of this return, oldest first."""
        return [refund for refund in self.payment_refunds if refund.return_id == self.row.id]

    @cached_property
    def policy(self) -> Policy:
        """The policy that the approval stored; before an approval the one in force, which it would store."""
        return from_snapshot(self.row.policy) if self.row.policy else self.policy_in_force

    def forget_policy(self) -> None:
        """Look the policy up again: the return's snapshot was taken or dropped."""
        self.__dict__.pop("policy", None)

    def decide_by(self, policy: Policy) -> None:
        """Go by this policy, whatever the snapshot says."""
        self.__dict__["policy"] = policy

    def terms(self, lines: Sequence[money.PricedLine], *, planned: bool = False) -> money.Terms:
        """Return the policy's money rules for these lines. `planned`: as if all of the order had come back."""
        return order_shipping.terms(self, lines, planned=planned)

    def claimed_rows(self, refund: Refund) -> list[money.Row]:
        """Return the rows that a refund pays, or would pay once it is tried again."""
        if refund.status in (*OPEN, *COUNTS_AS_PAID):
            return rows_of(refund)
        return self.remaining_rows(refund) if has_failed(refund) else []

    def money_lines(
        self, receipts: Collection[str] | None = None, lines: Sequence[ReturnLine] | None = None
    ) -> list[money.PricedLine]:
        """Return the lines (None: all) as money sees them: the units accepted now, or by these receipts alone."""
        policy, common = self.policy, self.row.reason
        lines = self.lines if lines is None else lines
        if receipts is None and self.row.closed_at is not None and any(r.unexpected for r in self.receipts):
            receipts = self.payable()
        counts = None if receipts is None else self.count_lines(lines, receipts)
        return [
            money.PricedLine(
                id=line.id,
                position=line.position,
                title=line.title or line.sku,
                quantity=line.quantity,
                total_amount=line.total_amount,
                accepted=line.accepted if counts is None else counts[line.id].accepted,
                restocking=not policy.waives_restocking(line.reason or common),
            )
            for line in lines
        ]

    @property
    def estimate(self) -> int:
        """The amount to refund if every authorized unit is accepted as new, minor units; nothing settled outside."""
        return money.due(split_by_way(self.rows_if_all_comes(), self.outside_lines, []).refund)

    @property
    def estimate_outside(self) -> int:
        """The amount to settle outside if every authorized unit is accepted as new, minor units."""
        if not self.outside_lines:
            return 0
        return money.due(split_by_way(self.rows_if_all_comes(), self.outside_lines, []).outside)

    @property
    def value(self) -> int:
        """What the return is worth if every authorized unit is accepted as new, by whichever way it is paid."""
        return money.due(self.rows_if_all_comes())

    def rows_if_all_comes(self) -> list[money.Row]:
        """Return what is still to be paid if every authorized unit is accepted as new; all of it after the approval."""
        whole = self.authorized_rows()
        if self.row.state != "requested":
            return whole
        return money.outstanding(whole, self.committed_rows())  # a refund made outside may be assigned already

    def authorized_rows(self) -> list[money.Row]:
        """Return what is owed if every authorized unit is accepted as new."""
        lines = money.accept_all(self.money_lines())
        return money.entitlement(lines, self.terms(lines, planned=True))

    @property
    def is_paid_ahead(self) -> bool:
        """Whether it is paid for what was authorized, whatever the dock counts until it is closed."""
        return self.policy.refund_on == "approval" and self.row.closed_at is None

    @property
    def outside_lines(self) -> dict[str, Resolution]:
        """The lines that the customer wants no refund for: what they want, by line."""
        return {line.id: line.resolution for line in self.lines if line.resolution != "refund"}

    def entitled_rows(self) -> list[money.Row]:
        """Return what is owed in all; with `refund_on = approval` that is for the authorized units."""
        lines = self.money_lines()
        lines = money.accept_all(lines) if self.is_paid_ahead else lines
        return money.entitlement(lines, self.terms(lines))

    def committed_rows(self, refunds: Iterable[Refund] | None = None) -> list[money.Row]:
        """Return the rows of refunds that are open, succeeded or settled outside."""
        chosen = self.refunds if refunds is None else refunds
        return [row for refund in chosen if refund.status in (*OPEN, *COUNTS_AS_PAID) for row in rows_of(refund)]

    def with_taxes(self, rows: Sequence[money.Row], besides: Refund | None = None) -> list[money.Row]:
        """Return rows with the tax in each, after what the return's refunds, but for `besides`, have paid."""
        amounts = {line.id: TaxedAmount(line.total_amount, line.tax_amount) for line in self.lines if line.tax_amount}
        if self.row.shipping_tax_amount:
            amounts["shipping"] = TaxedAmount(self.row.shipping_amount, self.row.shipping_tax_amount)
        others = [refund for refund in self.refunds if refund is not besides]
        return add_taxes(rows, self.committed_rows(others), amounts)

    def write_breakdown(self, refund: Refund, rows: Sequence[money.Row]) -> None:
        """Keep what a refund of the return pays, with the tax in each row."""
        taxes = [row.tax_amount for row in self.with_taxes(rows, besides=refund)]
        refund.breakdown = [row.to_dict() for row in rows]
        refund.taxes = taxes if any(taxes) else None

    def unpaid_rows(self) -> list[money.Row]:
        """Return the rows that are still to be paid."""
        if self.row.state in ("requested", "declined", "canceled"):
            return []
        return money.outstanding(self.entitled_rows(), self.committed_rows())

    def due_rows(self) -> DueRows:
        """Return the rows that are still to be paid, by the way they are paid."""
        failed = [row for rows in self.open_rows().values() for row in rows if not row.adjustment]
        return split_by_way(self.unpaid_rows(), self.outside_lines, failed)

    @property
    def due(self) -> int:
        """The amount still to be refunded through Stripe, minor units."""
        return money.due(self.due_rows().refund)

    @property
    def due_outside(self) -> int:
        """The amount still to be settled outside, for units that the customer wants no refund for; minor units."""
        return money.due(self.due_rows().outside) if self.outside_lines else 0

    @property
    def overpaid_amount(self) -> int:
        """The amount paid beyond the return's worth, minor units: told, never taken."""
        return overpaid.overpaid_amount(self)

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
        return any(counted_units(line) < line.quantity for line in self.lines)

    def standing(self) -> set[str]:
        """Return the ids of the receipts that are not reversed."""
        return {receipt.id for receipt in self.receipts if receipt.reversed_at is None}

    def payable(self) -> set[str]:
        """Return the ids of the standing receipts whose units are paid for: none that came after the closing."""
        closed = self.row.closed_at is not None
        return {r.id for r in self.receipts if r.reversed_at is None and not (closed and r.unexpected)}

    def _index_rows(self) -> None:
        """Bring the indexes up to date: rows are only ever added, and none changes its line or receipt."""
        for row in self.receipt_lines[self._indexed :]:
            self._rows_by_line.setdefault(row.line_id, []).append(row)
            self._rows_by_receipt.setdefault(row.receipt_id, []).append(row)
        self._indexed = len(self.receipt_lines)

    def rows_on(self, line_id: str, receipts: Collection[str]) -> list[ReceiptLine]:
        """Return what these receipts count on a line."""
        self._index_rows()
        return [row for row in self._rows_by_line.get(line_id, ()) if row.receipt_id in receipts]

    def rows_in(self, receipt: Receipt) -> list[ReceiptLine]:
        """Return what a receipt counts."""
        self._index_rows()
        return list(self._rows_by_receipt.get(receipt.id, ()))

    def surplus_items(self, receipts: Collection[str]) -> dict[str, list[UndeclaredItem]]:
        """Return the undeclared items of these receipts that are surplus, by their line's id."""
        found: dict[str, list[UndeclaredItem]] = {}
        for item in self.undeclared:
            if item.surplus_of is not None and item.receipt_id in receipts:
                found.setdefault(item.surplus_of, []).append(item)
        return found

    def count_lines(self, lines: Iterable[ReturnLine], receipts: Collection[str]) -> dict[str, LineCounts]:
        """Return the counts of lines by these receipts."""
        surplus = self.surplus_items(receipts)
        return {
            line.id: count_line(line.quantity, *self._units_on(line, receipts, surplus.get(line.id, ())))
            for line in lines
        }

    def tally_lines(self, lines: Iterable[ReturnLine]) -> dict[str, LineTally]:
        """Return the tallies of lines by the standing receipts."""
        receipts = self.standing()
        surplus = self.surplus_items(receipts)
        return {
            line.id: tally(line.quantity, *self._units_on(line, receipts, surplus.get(line.id, ()))) for line in lines
        }

    def _units_on(
        self, line: ReturnLine, receipts: Collection[str], surplus: Iterable[UndeclaredItem]
    ) -> tuple[list[CountedUnits], int]:
        rows = [CountedUnits(row.condition, row.quantity, row.accepted) for row in self.rows_on(line.id, receipts)]
        return rows, sum(item.quantity for item in surplus if item.decision is not None)

    def is_unpaid(self, line: ReturnLine, paid: Iterable[money.Row]) -> bool:
        """Return whether the line has units, counted or still to come, that none of the rows `paid` pays."""
        units = sum(line.accepted.values()) if self.row.closed_at is not None else line.quantity
        worth = money.line_value(line.total_amount, line.quantity, units, money.step(self.row.currency))
        rows = [row for row in paid if row.line == line.id and row.kind == "line"]
        return money.total(rows) < worth or (worth == 0 and sum(row.units for row in rows) < units)

    def open_items(self) -> list[UndeclaredItem]:
        """Return the undeclared items that nobody has decided about."""
        standing = self.standing()
        return [item for item in self.undeclared if item.decision is None and item.receipt_id in standing]

    # --- the machine ---------------------------------------------------------------------------------------------

    def failed_refunds(self) -> list[Refund]:
        """Return failed (or withdrawn) refunds that are not superseded."""
        return [refund for refund in self.refunds if has_failed(refund)]

    def open_rows(self) -> dict[str, list[money.Row]]:
        """Return each failed refund's open rows by its id: less the parts paid since, and no more than is still due."""
        failed = self.failed_refunds()
        if not failed:
            return {}
        rows = [self.remaining_rows(refund) for refund in failed]
        if self.row.state not in return_machine.DORMANT:  # there nothing is due yet, or any more
            rows = limit_to_due(rows, self.unpaid_rows())
        return {refund.id: left for refund, left in zip(failed, rows, strict=True)}

    def remaining_rows(self, refund: Refund) -> list[money.Row]:
        """Return a failed refund's rows without those of the parts that were paid out of it."""
        taken = [row for part in self.refunds if part.supersedes == refund.id for row in rows_of(part)]
        return subtract(rows_of(refund), taken)

    def due_was_taken_off(self) -> bool:
        """Return whether people took off what is due now, in a refund that failed since and pays nothing any more."""
        due_parts = {money.part_of(row) for row in self.unpaid_rows() if row.amount > 0}
        return any(
            any(row.adjustment and row.amount < 0 for row in rows)
            and any(not row.adjustment and money.part_of(row) in due_parts for row in rows)
            for rows in map(self.remaining_rows, self.failed_refunds())
        )

    def unresolved_refunds(self) -> list[Refund]:
        """Return failed (or withdrawn) refunds of which something is open."""
        left = self.open_rows()
        return [refund for refund in self.failed_refunds() if money.total(left[refund.id]) > 0] if left else []

    def facts(self, **asked: Any) -> Facts:
        """Return what the guards may look at; `asked` overrides what this trigger brings along."""
        facts = read_facts(self)
        return replace(facts, **asked) if asked else facts

    def available(self) -> list[PublicTrigger]:
        """Return the public triggers that would work now."""
        return return_machine.available(self.row.state, self.facts_if_asked())

    def able_and_barred(self) -> tuple[list[PublicTrigger], dict[PublicTrigger, str]]:
        """Return the public triggers that would work now; and those that would not, and why."""
        facts = self.facts_if_asked()
        return return_machine.available(self.row.state, facts), return_machine.barred_triggers(self.row.state, facts)

    def facts_if_asked(self) -> Facts:
        """Return the facts for the question what could be done next; a retry asks for the failed refund's amount."""
        facts = self.facts()
        if self.row.state != "failed":
            return facts
        failed = [amount for rows in self.open_rows().values() if (amount := money.total(rows)) > 0]
        return replace(facts, amount=min(failed), settleable=facts.due_outside or min(failed)) if failed else facts
