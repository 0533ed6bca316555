"""What must hold where others moved money, and where parcels came that nobody had agreed on."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from returns_service.domain import refund_windows, return_machine
from returns_service.domain.refund_status import FINAL, OPEN
from returns_service.return_case.case import ReturnCase
from tests.world.committed import Row
from tests.world.stage import Stage

COUNTS = (*OPEN, "succeeded", "settled_outside")
GIVES_NOTHING = ("won", "warning_closed")  # a dispute that ended, and the customer's bank gave them nothing
BARS_REFUNDS = ("needs_response", "under_review", "lost")  # a dispute that is open, or gave the money to the customer


@dataclass
class LawsOfOthers(ABC):
    """Laws over refunds made outside, over captures and disputes, and over parcels of nobody."""

    stage: Stage
    settled_by_dispute: set[str] = field(default_factory=set)  # refunds, while the dispute was open as we knew it

    # --- after every step --------------------------------------------------------------------------------------------

    def check_others(self, refunds: dict[str, Row], cases: list[ReturnCase]) -> None:
        """Check what must hold at any moment."""
        self._held(refunds, cases)
        ended = {case.payment.id for case in cases if (case.payment.dispute or {}).get("status") in GIVES_NOTHING}
        settled = (row for row in refunds.values() if row.method == "dispute" and row.status == "settled_outside")
        self.settled_by_dispute |= {row.id for row in settled if row.payment_id not in ended}
        self._decisions_stay(refunds)
        for case in cases:
            self._paid_once(case)
            self._told_what_is_overpaid(case)
            told, due = case.row.amount_due, case.due
            assert told == due, f"{case.row.id}: {due} is due, and its last event told {told}"
        for row in refunds.values():
            is_release = row.stripe_refund in self.stage.ledger.releases
            assert not is_release, f"{row.id} is taken for a refund: {row.stripe_refund} was never captured"
        self._parcels(cases)

    def _held(self, refunds: dict[str, Row], cases: list[ReturnCase]) -> None:
        """A payment is held while a refund made outside waits for a word; what it barred goes on with that word.

        It may be held for a read, too, that tells whether there is one.
        """
        holds = self.stage.context.policy.external_refunds == "hold"
        waiting: dict[str, str] = {}
        for row in refunds.values():
            said = row.return_id or row.acknowledged_at or row.duplicate_of
            if row.source == "external" and row.status not in FINAL and not said:
                waiting[row.payment_id] = row.id
        for case in cases:
            payment, row = case.payment, case.row
            known = holds and payment.id in waiting
            assert bool(payment.external_open) == known, f"{payment.id}: held by {waiting.get(payment.id, 'nothing')}"
            read_comes = payment.read_at is not None or not payment.held_until_read
            assert read_comes, f"{payment.id}: held until a read that nobody makes"
            held = known or payment.held_until_read
            barred = _read(row.follow_up_barred)
            if held and barred and barred["code"] == "external_refund_open":
                self.stage.kernel.meet("a refund made outside holds a return's refund")
            still = not barred or barred["code"] != "external_refund_open" or held
            assert still, f"{row.id} waits for a word about a refund made outside: it was given"

    def _decisions_stay(self, refunds: dict[str, Row]) -> None:
        """A refund of a return in which people decided something is taken out of the way by another one alone."""
        for row in refunds.values():
            dropped = row.superseded_at is not None and row.superseded_by is None and row.source == "return"
            decided = any(item["adjustment"] for item in row.breakdown)
            paid_whole = any(other.supersedes == row.id for other in refunds.values())
            assert not (dropped and decided) or paid_whole, f"{row.id}: what people decided in it is gone"

    def _paid_once(self, case: ReturnCase) -> None:
        """No refund of ours waits to be sent for what an assigned one has paid already."""
        theirs = [r for r in case.refunds if r.source == "external" and r.status in COUNTS]
        mine = [r for r in ours_of(case) if r.status in COUNTS and not r.overrides_hold]
        unsent = [r for r in mine if r.status == "queued"]
        asked = sum(_by_line(unsent).values())
        if not theirs or asked == 0:
            return
        self.stage.kernel.meet("a refund of ours beside an assigned one")
        got = _by_line([*theirs, *(r for r in ours_of(case) if r.status in COUNTS and r not in unsent)])
        due = sum(max(0, worth - got.get(line, 0)) for line, worth in self.worth(case).items()) - got.get(None, 0)
        assert asked <= due, f"{case.row.id}: {asked} waits beside assigned refunds, {max(0, due)} is due"

    def _told_what_is_overpaid(self, case: ReturnCase) -> None:
        """What was paid for units and is worth less since a correction is told, with the shipping that hung on them."""
        if case.row.overpaid_since is None or case.row.state not in return_machine.LIVE:
            assert not case.overpaid_amount, f"{case.row.id}: {case.overpaid_amount} overpaid, and nobody is told"
            return
        self.stage.kernel.meet("a correction of paid units: told as overpaid")
        counted = [refund for refund in case.refunds if refund.status in COUNTS]
        paid = _by_line(counted)
        beyond: dict[str | None, int] = {
            line: max(0, paid.get(line, 0) - worth) for line, worth in self.worth(case).items()
        }
        over = sum(beyond.values())
        for refund in counted:  # what people took off was never paid for the lines in that refund
            taken_off = -sum(item["amount"] for item in refund.breakdown if item["adjustment"] and item["amount"] < 0)
            over -= min(taken_off, sum(beyond.get(line, 0) for line in _by_line([refund])))
        over = max(0, over)
        # A label that was deducted twice, or that nothing bears any more, was taken off what the lines got.
        labels = -sum(item["amount"] for refund in counted for item in refund.breakdown if item["kind"] == "label")
        shipping = sum(row.amount for row in case.committed_rows() if row.kind == "shipping" and not row.adjustment)
        # What was made outside and assigned may be more than all of the return is worth.
        theirs = sum(r.amount for r in case.refunds if r.source == "external" and r.status in COUNTS)
        told = case.overpaid_amount
        most = over + shipping + theirs
        assert over - labels <= told <= most, f"{case.row.id}: {over} overpaid beside shipping, we say {told}"

    def _parcels(self, cases: list[ReturnCase]) -> None:
        """A parcel of nobody counts at one return, as it was scanned, in a receipt that stands."""
        chosen = "SELECT id, receipt_id, return_id, items FROM unmatched_receipt WHERE receipt_id IS NOT NULL"
        attached = {row["receipt_id"]: row for row in self.stage.eye.execute(chosen).fetchall()}
        for case in cases:
            # Every other count of this world has its scan.
            mine = {r.id for r in case.receipts if r.scan_id is None and r.reversed_at is None}
            assert mine <= set(attached), f"{case.row.id}: a parcel of nobody was counted twice"
            for receipt_id in mine:
                row = attached.pop(receipt_id)
                assert row["return_id"] == case.row.id, f"{row['id']} counts at {case.row.id}, it says another return"
                self._as_scanned(case, row)
        assert not attached, f"{[row['id'] for row in attached.values()]} are counted nowhere"

    def _as_scanned(self, case: ReturnCase, parcel: Row) -> None:
        counted = sum(c.quantity for c in case.receipt_lines if c.receipt_id == parcel["receipt_id"])
        items = [item for item in case.undeclared if item.receipt_id == parcel["receipt_id"]]
        if any(item.decision == "accept_as_line" for item in items):
            return  # it counts on a line as well, and stays as what was found
        counted += sum(item.quantity for item in items if item.surplus_of is None)
        scanned = sum(item["quantity"] for item in _read(parcel["items"]))
        assert counted == scanned, f"{parcel['id']}: {scanned} units came, {counted} are counted"

    # --- once the world is quiet -------------------------------------------------------------------------------------

    def check_payment(self, payment: Row, charge: dict[str, Any]) -> int:
        """Hold a payment against Stripe's charge; return what Stripe keeps as a refund and never captured."""
        ledger = self.stage.ledger
        released: int = sum(r["amount"] for r in ledger.find_refunds(charge["id"]) if r["id"] in ledger.releases)
        captured = charge["amount_captured"]
        assert payment.captured == captured, f"{payment.id}: {captured} captured at Stripe, {payment.captured} here"
        assert payment.released == released, f"{payment.id}: {released} released at Stripe, {payment.released} here"
        disputes = [row for row in ledger.disputes if row["charge"] == charge["id"]]
        theirs = {row["id"]: row["status"] for row in disputes}
        barred = any(status in BARS_REFUNDS for status in theirs.values())
        assert bool(payment.disputed) == barred, f"{payment.id}: disputed is {payment.disputed}, at Stripe {theirs}"
        if theirs and all(status in GIVES_NOTHING for status in theirs.values()):
            settled = "SELECT id FROM refund WHERE payment_id = ? AND method = 'dispute' AND status = 'settled_outside'"
            rows = self.stage.eye.execute(f"{settled} AND superseded_at IS NULL", (payment.id,)).fetchall()
            still = {row["id"] for row in rows} & self.settled_by_dispute
            assert not still, f"{still} count as settled by a dispute that gave nothing, {theirs}"
            if self.settled_by_dispute:
                self.stage.kernel.meet("settled by a dispute that was won: reopened")
        self._window(payment, charge)
        return released

    def _window(self, payment: Row, charge: dict[str, Any]) -> None:
        """Until when its method can be refunded is known, and told once that is over."""
        kind, paid_at = charge["payment_method_details"]["type"], datetime.fromisoformat(payment.paid_at)
        assert payment.method_type == kind, f"{payment.id} was paid by {kind}, we say {payment.method_type}"
        days = refund_windows.REFUND_DAYS.get(kind)
        if days is not None and self.stage.ledger.now() > charge["created"] + days * 86_400:
            told = refund_windows.refund_warning(kind, paid_at, self.stage.clock.at)
            assert told is not None, f"{payment.id}: its window of {days} days is over, and nothing is said"
            assert told.settle_outside, f"{payment.id}: its window of {days} days is over, {told.code} is said"

    @abstractmethod
    def worth(self, case: ReturnCase) -> dict[str, int]:
        """Return what each line's accepted units are worth."""


def ours_of(case: ReturnCase) -> list[Row]:
    """Return the return's refunds that we made, or that somebody settled outside."""
    return [refund for refund in case.refunds if refund.source != "external"]


def assigned(case: ReturnCase) -> int:
    """Return what refunds made outside, and ours in their place, have paid of whichever units, minor units."""
    made = [refund for refund in case.refunds if refund.source == "external" and refund.status in COUNTS]
    in_place = [refund for refund in ours_of(case) if refund.status in COUNTS]
    return sum(_by_line(made).values()) + _by_line(in_place).get(None, 0)


def _by_line(refunds: Iterable[Row]) -> dict[str | None, int]:
    """Return what refunds pay of each line's units, minor units; under None what nobody knows the units of.

    Shipping is the order's, and has a law of its own; a label is of no line.
    """
    paid: dict[str | None, int] = {}
    for item in (item for refund in refunds for item in refund.breakdown):
        if not item["adjustment"] and item["kind"] not in ("shipping", "label"):
            paid[item["line"]] = paid.get(item["line"], 0) + item["amount"]
    return paid


def _read(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text
