"""What must hold, checked from outside: committed rows on one side, Stripe's ledger on the other."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from returns_service.domain import money, return_machine
from returns_service.domain.refund_status import FINAL, OPEN, RANK, UNANSWERED, WAITING
from returns_service.return_case.case import ReturnCase
from tests.world.committed import Row, by
from tests.world.laws_of_others import LawsOfOthers, assigned, ours_of
from tests.world.listener import check_told

COUNTS = (*OPEN, "succeeded", "settled_outside")
TOLD = ("pending", "requires_action", "succeeded", "failed", "canceled", "withdrawn", "settled_outside")
NOT_HERE = ("missing", "wrong_item")
STEPS = {"isk": 100, "kwd": 10}  # the smallest amount that Stripe moves, minor units; else 1


@dataclass
class Laws(LawsOfOthers):
    """The laws over one world, and what it has told so far."""

    repaired: set[str] = field(default_factory=set)  # refunds at Stripe that a late repair made
    kept: dict[str, str] = field(default_factory=dict)  # key -> what was answered 2xx
    states: dict[str, str] = field(default_factory=dict)  # return -> the fold of its events
    sequences: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)  # refund -> the fold of its events
    finals: dict[str, str] = field(default_factory=dict)  # refund -> how it ended at Stripe
    transitions: set[tuple[str, str, str]] = field(default_factory=set)  # (from, trigger, to) that were met
    poisoned: set[str] = field(default_factory=set)  # events whose fold raised once
    seen_events: int = 0
    seen_version: tuple[int, int] = (-1, -1)
    judged: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # return -> what its laws held for

    def rows(self, table: str) -> list[Row]:
        """Return the committed rows of a table in the order of their insertion."""
        return self.stage.committed.rows(table)

    def at_stripe(self) -> list[dict[str, Any]]:
        """Return all refunds that Stripe holds."""
        return list(self.stage.ledger.refunds)

    def cases(self) -> list[ReturnCase]:
        """Return every return with all that decides about it, made of committed rows."""
        return self.stage.committed.cases(self.stage.context.policy)

    # --- after every step --------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check what must hold at any moment."""
        assert not self.stage.broken, self.stage.broken[0]
        version = (self.stage.committed.version(), len(self.stage.ledger.events))
        if version == self.seen_version:
            return
        self.seen_version = version
        self._history()
        refunds = {row.id: row for row in self.rows("refund")}
        self._once(refunds)
        self._never_too_much(refunds)
        self._nothing_silent(refunds)
        cases = self.cases()
        for case in cases:
            seen = self._seen_of(case)
            if self.judged.get(case.row.id) != seen:
                self._return(case)
                self.judged[case.row.id] = seen
        self._shipping(cases)
        self.check_others(refunds, cases)

    def _seen_of(self, case: ReturnCase) -> tuple[Any, ...]:
        """Return all that a return's own laws look at: while nothing of it changes, they hold as they held."""
        rows = [
            (one.row, one.lines, one.receipts, one.receipt_lines, one.undeclared)
            for one in (case, *case.payment_returns)
        ]
        told = self.states.get(case.row.id), self.sequences.get(case.row.id)
        return told, case.policy_in_force, case.payment, case.payment_refunds, rows

    def _history(self) -> None:
        """Events have no gaps, say who and when, and their fold is the state."""
        for event in self.stage.committed.rows_after("event", self.seen_events):
            self.seen_events = event.place
            assert event.actor, f"{event.id}: nobody did it"
            assert event.request_id or not event.actor.startswith(("key_", "usr_")), f"{event.id}: in no request"
            if event.return_id is not None and event.sequence is not None:
                last = self.sequences.get(event.return_id, 0)
                assert event.sequence == last + 1, f"{event.return_id}: event {event.sequence} follows {last}"
                self.sequences[event.return_id] = event.sequence
            if event.type in ("return.created", "return.state_changed"):
                known = self.states.get(event.return_id)
                assert event.data["from"] == known, f"{event.return_id}: {known}, the event says {event.data['from']}"
                self.states[event.return_id] = event.data["to"]
            if event.type in ("return.state_changed", "return.updated") and "trigger" in event.data:
                self.transitions.add((event.data["from"], event.data["trigger"], event.data["to"]))
            if event.type == "refund.created":
                self.statuses[event.refund_id] = event.data["object"]["status"]
            if event.type == "refund.status_changed":
                self._in_stripes_order(event)
                self.statuses[event.refund_id] = event.data["to"]

    def _in_stripes_order(self, event: Row) -> None:
        """A refund only steps back where Stripe stepped back: what came late doesn't undo what is known."""
        before, after = event.data["from"], event.data["to"]
        if before == "succeeded" and after in FINAL:
            self.stage.kernel.meet("failed after it succeeded, as we tell it")
        name = event.data["object"]["stripe_refund"]
        if name is None or before not in RANK or RANK[after] > RANK[before] or RANK[before] < RANK["pending"]:
            return
        told = [one["data"]["object"] for one in self.stage.ledger.events.newest_first()]
        went = [one["status"] for one in told if one["id"] == name][::-1]
        stepped = before in went and after in went[went.index(before) :]
        stepped |= before == "pending" and before not in went  # what a word nobody knows is taken for at first sight
        assert stepped, f"{event.refund_id} went from {before} to {after}; Stripe never went from {before} to {after}"

    def _once(self, refunds: dict[str, Row]) -> None:
        """A row owns at most one refund at Stripe; that one is exactly as decided."""
        owners = by("stripe_refund", [row for row in refunds.values() if row.stripe_refund])
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for refund in self.at_stripe():
            if name := refund["metadata"].get("refund_id"):
                found[name].append(refund)
        for name, mine in found.items():
            assert name in refunds, f"{name} is at Stripe, its row is gone"
            row = refunds[name]
            assert len([r for r in mine if r["id"] not in self.repaired]) <= 1, f"{name} was paid twice"
            assert all(r["amount"] == row.amount for r in mine), f"{name} was paid another amount"
        for name, rows in owners.items():
            assert len(rows) == 1, f"{name} has two rows"
        for row in refunds.values():
            total = sum(item["amount"] for item in row.breakdown)
            assert total == row.amount, f"{row.id}: {row.amount}, its breakdown sums to {total}"
            self._says_who(row)
            if row.source == "external" and row.duplicate_of is None:
                self.stage.kernel.meet("a refund of the Dashboard's adopted")
            if row.status == "failed" and row.stripe_refund is None:
                self.stage.kernel.meet("refused: the money was gone meanwhile")
            if row.duplicate_of is not None:
                self.stage.kernel.meet("two refunds at Stripe for one row")
                first = refunds[row.duplicate_of]
                assert first.stripe_refund or first.superseded_at, f"{row.id} duplicates {first.id}, never paid"

    def _says_who(self, row: Row) -> None:
        """No refund is called failed, canceled or paid unless Stripe said so."""
        seen = self.stage.ledger.refunds.get(row.stripe_refund or "")
        ended = self.finals.get(row.id, row.status)
        assert ended == row.status, f"{row.id} was {ended} for good, now it is {row.status}"
        if row.status in FINAL and seen is not None:
            self.finals[row.id] = row.status
            assert seen["status"] == row.status, f"{row.id} {row.status}? Stripe says {seen['status']}"
        elif row.status in FINAL:
            assert row.id in self.stage.wire.refused, f"{row.id} {row.status}? Says who?"
        elif row.status in (*WAITING, "succeeded"):
            assert seen is not None, f"{row.id} {row.status}? Stripe holds no such refund"

    def _never_too_much(self, refunds: dict[str, Row]) -> None:
        """What was decided for a payment never exceeds what was captured."""
        late = {r["metadata"].get("refund_id") for r in self.at_stripe() if r["id"] in self.repaired}
        for payment in self.rows("payment"):
            decided = [r for r in refunds.values() if r.payment_id == payment.id and r.source != "external"]
            # A refusal may lose to a refund that Stripe repaired long after: that is the desk's.
            if len({r.return_id for r in decided if r.status in UNANSWERED}) > 1:
                self.stage.kernel.meet("two refunds of one payment at once")
            if payment.disputed and any(r.status == "queued" for r in decided):
                self.stage.kernel.meet("a dispute holds a refund")
            spent = sum(r.amount for r in decided if r.status in (*OPEN, "succeeded") and r.id not in late)
            assert spent <= payment.captured, f"{payment.id}: decided {spent} of {payment.captured}"

    def _nothing_silent(self, refunds: dict[str, Row]) -> None:
        """Every open thing has its next moment; every news was folded once; answers given stay given."""
        for row in refunds.values():
            if row.status in OPEN:
                waits = row.next_attempt_at is not None or row.unapproved
                assert waits, f"{row.id} is {row.status} and waits for nothing"
            if row.unapproved and row.status != "withdrawn":
                assert row.status == "queued", f"{row.id} went to Stripe, and no second person has agreed"
            if row.status in TOLD:
                told = self.statuses.get(row.id)
                assert told == row.status, f"{row.id} is {row.status}, its events say {told}"
        for news in self.rows("stripe_event"):
            if news.id in self.poisoned or news.id in self.stage.poisoned:
                self.poisoned.add(news.id)
                waits = news.outcome != "failed" or news.next_attempt_at is not None
                assert waits, f"{news.id} {news.type} was not folded, and nobody will try again"
                continue
            assert news.outcome != "failed", f"{news.id} {news.type} was not folded: {news.error}"
            assert news.attempts <= 1, f"{news.id} was folded {news.attempts} times"
        kept = {row.key for row in self.rows("idempotency_key") if row.body is not None}
        assert self.kept.keys() <= kept, "an answer that was given is gone"
        for call in self.stage.wire.in_flight:
            row = refunds[call.refund]
            if row.lease_token == call.token:
                assert row.lease_until == call.lease_until, f"{call.refund}: a stranger touched the lease"

    def _return(self, case: ReturnCase) -> None:
        row = case.row
        assert self.states.get(row.id) == row.state, f"{row.id} is {row.state}, its events say {self.states[row.id]}"
        assert self.sequences[row.id] == row.version, f"{row.id}: version {row.version} without its event"
        facts = case.facts()
        left = _left(case.payment, case.payment_refunds)
        assert facts.refundable == left, f"{row.payment_id}: {left} refundable, we say {facts.refundable}"
        if row.state in return_machine.LIVE:
            ruled = return_machine.apply_rule(facts)
            assert row.state == ruled, f"{row.id} is {row.state}, by the rule it is {ruled}"
        if row.state in ("approved", "refunding") and facts.amount and case.policy.refund_on != "manual":
            waits = facts.refund_unanswered or facts.refund_failed or row.follow_up_at is not None
            assert waits, f"{row.id}: {facts.amount} is due and nobody pays it"
        self._counts(case)
        self._sums(case)
        worth, paid = self.worth(case), self.paid(case)
        for line, amount in paid.items():
            told = row.overpaid_since is not None  # since a correction: what is paid is never taken
            got = amount - _taken_off_beside(case, line)  # what people took off was never paid
            assert got <= worth[line] or told, f"{line} got {amount}, it is worth {worth[line]}"

    def _counts(self, case: ReturnCase) -> None:
        """A line's counts are those of its standing receipts: units that came first, then those that didn't."""
        for line in case.lines:
            counts, items = _standing_counts(case, line), _surplus_items(case, line)
            here = _units_here(counts, items)
            missing = sum(count.quantity for count in counts if count.condition in NOT_HERE)
            ours = sum(line.accepted.values()) + sum(line.rejected.values()) + line.inspecting
            theirs = min(line.quantity, here + missing)
            assert ours == theirs, f"{line.id}: {ours} counted, {theirs} by its receipts"
            good = sum(count.quantity for count in counts if count.accepted)
            good = min(line.quantity, here, good)
            assert sum(line.accepted.values()) == good, f"{line.id}: {line.accepted} accepted, {good} by its receipts"
            surplus = sum(item.quantity for item in items if item.decision is None)
            beyond = max(0, here - line.quantity)
            assert surplus == beyond, f"{line.id}: {surplus} units wait as surplus, {beyond} have no place"

    def _sums(self, case: ReturnCase) -> None:
        """Paid, settled, waived and due come to what is owed; what is open of failed refunds is no more than is due."""
        row, open_rows = case.row, case.open_rows()
        for refund in case.refunds:
            if refund.supersedes is not None and refund.superseded_at is None and refund.source == "return":
                failed = next(r for r in case.refunds if r.id == refund.supersedes)
                part = failed.superseded_at is None or failed.superseded_by != refund.id
                self.stage.kernel.meet("part of a failed refund paid" if part else "a failed refund paid whole")
            if refund.id in open_rows:
                left = money.total(open_rows[refund.id])
                decided = any(row.adjustment for row in case.remaining_rows(refund))
                assert left > 0 or decided, f"{refund.id}: nothing of it is open, and it waits"
                assert refund.amount_open in (None, left), f"{refund.id}: {left} open, it says {refund.amount_open}"
        if row.state not in return_machine.LIVE:
            return
        entitled, committed = case.entitled_rows(), case.committed_rows()
        waived = -sum(part.amount for part in committed if part.kind == "reduction")
        extra = sum(p.amount for p in committed if p.adjustment and p.kind != "reduction")
        over = money.overpaid_amount(entitled, committed)
        told = money.total(committed) + waived - extra + money.total(case.unpaid_rows()) - over
        assert told == money.total(entitled), f"{row.id}: {told} paid, waived and due, {money.total(entitled)} owed"
        undecided = sum(part.amount for rows in open_rows.values() for part in rows if not part.adjustment)
        assert undecided <= case.due, f"{row.id}: {undecided} failed and open, {case.due} due"
        ways = case.due_rows()
        due = money.due(ways.refund), money.due(ways.outside)
        assert sum(due) == money.due(case.unpaid_rows()), f"{row.id}: {due} by their ways, {case.unpaid_rows()} in all"
        assert row.due_outside == due[1], f"{row.id}: {due[1]} due outside, it says {row.due_outside}"
        assert (row.due_outside_since is None) == (due[1] == 0), f"{row.id}: {due[1]} due outside, and not on the desk"

    def _shipping(self, cases: list[ReturnCase]) -> None:
        """Shipping is paid once an order, whatever the number of its returns.

        A refund in doubt whose place another took is only looked for: it pays nothing, unless it paid before.
        """
        paid: dict[str, list[int]] = defaultdict(list)
        for case in cases:
            in_doubt = [refund for refund in case.refunds if refund.status in ("submitted", "unknown")]
            only_looked_for = [refund for refund in in_doubt if refund.waiting_code == "due_no_more"]
            sent = [refund for refund in case.refunds if refund not in only_looked_for]
            shipping = sum(row.amount for row in case.committed_rows(sent) if row.kind == "shipping")
            if shipping:
                paid[case.row.order_id].append(shipping)
                whole, sums = case.row.shipping_amount, paid[case.row.order_id]
                assert sum(sums) <= whole, f"{case.row.order_id}: {sums} for shipping, it cost {whole}"
                if case.siblings:
                    self.stage.kernel.meet("shipping paid with one of an order's returns")

    def worth(self, case: ReturnCase) -> dict[str, int]:
        """Return what each line's accepted units are worth: the cumulative allocation, worked out here anew."""
        step, worth = STEPS.get(case.row.currency, 1), {}
        late = {receipt.id for receipt in case.receipts if receipt.unexpected and case.row.closed_at}
        ahead = case.policy.refund_on == "approval" and case.row.closed_at is None
        for line in case.lines:
            # What came after the closing is paid by nobody, and takes no place of what came before.
            counts = [count for count in _standing_counts(case, line) if count.receipt_id not in late]
            items = [item for item in _surplus_items(case, line) if item.receipt_id not in late]
            good = sum(count.quantity for count in counts if count.accepted)
            units = line.quantity if ahead else min(line.quantity, _units_here(counts, items), good)
            worth[line.id] = line.total_amount * units // line.quantity // step * step
        return worth

    def paid(self, case: ReturnCase) -> dict[str, int]:
        """Return what each line got from us, or is on its way to get."""
        paid = dict.fromkeys((line.id for line in case.lines), 0)
        for refund in ours_of(case):
            for item in refund.breakdown if refund.status in COUNTS else ():
                if item["line"] is not None and not item["adjustment"]:
                    paid[item["line"]] += item["amount"]
        return paid

    # --- once the world is quiet -------------------------------------------------------------------------------------

    def check_truth(self) -> None:
        """Check what must be true once nothing is under way any more."""
        self.seen_version = (-1, -1)
        self.judged.clear()
        self.check()
        refunds = self.rows("refund")
        rows = {row.stripe_refund: row for row in refunds if row.stripe_refund}
        payments = {row.payment_intent: row for row in self.rows("payment")}
        for refund in self.at_stripe():
            if refund["payment_intent"] in payments and refund["id"] not in self.stage.ledger.releases:
                assert refund["id"] in rows, f"{refund['id']}: nobody here knows it"
                ours = rows[refund["id"]].status
                assert ours == refund["status"], f"{refund['id']} is {refund['status']}, we say {ours}"
        for row in refunds:
            assert row.status not in UNANSWERED, f"{row.id} is still {row.status}"
        for intent, payment in payments.items():
            charge = self.stage.ledger.charges[self.stage.ledger.payment_intents[intent]["latest_charge"]]
            left = charge["amount_captured"] - (charge["amount_refunded"] - self.check_payment(payment, charge))
            ours = _left(payment, [row for row in refunds if row.payment_id == payment.id])
            assert ours == left, f"{payment.id}: {left} refundable at Stripe, {ours} here"
        for case in self.cases():
            self._settled(case)
        check_told(self.stage)

    def _settled(self, case: ReturnCase) -> None:
        """A refunded return paid every line its cumulative allocation; a barred one is barred for a reason."""
        facts = case.facts()
        if case.row.follow_up_at is not None:
            barred = return_machine.unmet("refund", case.row.state, facts) or case.due_was_taken_off()
            assert barred, f"{case.row.id}: barred by nothing"
        if case.row.closed_at and case.policy.refund_on == "approval" and case.row.overpaid_since:
            self.stage.kernel.meet("paid ahead, closed, and told as overpaid")
        if case.row.state == "refunded":
            worth, paid = self.worth(case), self.paid(case)
            told = case.row.overpaid_since is not None
            label = case.policy.label_cost.get(case.row.currency, 0)
            unpaid = sum(worth.values()) - sum(paid.values())
            if assigned(case):
                whole = unpaid - label <= assigned(case)
            elif 0 < unpaid <= label - label_taken_off(case):
                whole = True  # a label that costs more than came is taken off first, and nothing is paid before
            else:  # what people took off beside a line was never paid for it
                beyond = {line: got - worth[line] for line, got in paid.items()}
                whole = all(0 <= more <= _taken_off_beside(case, line) for line, more in beyond.items())
            assert whole or told, f"{case.row.id}: lines got {paid}, they are worth {worth}"


def label_taken_off(case: ReturnCase) -> int:
    """Return what our refunds of a return took off for its label."""
    counted = [refund for refund in ours_of(case) if refund.status in COUNTS]
    taken_off = (item["amount"] for refund in counted for item in refund.breakdown if item["kind"] == "label")
    return -int(sum(taken_off))


def _taken_off_beside(case: ReturnCase, line: str) -> int:
    """Return what people took off in our refunds that pay a line."""
    counted = [refund.breakdown for refund in ours_of(case) if refund.status in COUNTS]
    beside = [rows for rows in counted if any(item["line"] == line and not item["adjustment"] for item in rows)]
    return -int(sum(min(0, item["amount"]) for rows in beside for item in rows if item["adjustment"]))


def _left(payment: Row, refunds: list[Row]) -> int:
    """Return what is left of a payment, worked out here anew."""
    return int(payment.captured - sum(r.amount for r in refunds if r.status in (*OPEN, "succeeded")))


def _units_here(counts: list[Row], items: list[Row]) -> int:
    """Return how many units of a line came, by these counts, and were not sent elsewhere as surplus."""
    came = sum(int(count.quantity) for count in counts if count.condition not in NOT_HERE)
    return max(0, came - sum(int(item.quantity) for item in items if item.decision is not None))


def _standing_counts(case: ReturnCase, line: Row) -> list[Row]:
    """Return what the receipts that are not reversed count on a line."""
    standing = {receipt.id for receipt in case.receipts if receipt.reversed_at is None}
    return [count for count in case.receipt_lines if count.line_id == line.id and count.receipt_id in standing]


def _surplus_items(case: ReturnCase, line: Row) -> list[Row]:
    """Return the undeclared items that are a line's surplus, of receipts that are not reversed."""
    standing = {receipt.id for receipt in case.receipts if receipt.reversed_at is None}
    return [item for item in case.undeclared if item.surplus_of == line.id and item.receipt_id in standing]
