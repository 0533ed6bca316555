"""What others do: colleagues who refund in the Dashboard, an older till that captures, arbiters, odd parcels."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from returns_service.domain.refund_status import FINAL
from tests.world.acts import Answer
from tests.world.callers import AMOUNTS, FATES, LINES, UNDECIDED, WAIVED, Callers
from tests.world.laws import STEPS
from tests.world.life import pick
from tests.world.outside import DAY, WHICH
from tests.world.stage import SETTLE_SECONDS
from tests.world.workers import Workers

LEGACY, BASIL = "2025-02-24.acacia", "2025-03-31.basil"  # of the call that captures
CLOSED_DISPUTES = ("won", "lost")
WORDS = st.sampled_from(["assign", "assign", "assign units", "acknowledge"])
WINDOW_DAYS = {"pm_alipay": 90, "pm_upi": 60}  # after so many Stripe refuses a refund
UNITS = st.integers(1, 3)


class Others(Callers, Workers):
    """Rules of money that others moved, and of parcels that come before, after or beside what was agreed."""

    # --- the Dashboard -----------------------------------------------------------------------------------------------

    @property
    def externals(self) -> list[Any]:
        """Refunds that we didn't make and a person may say something about; first those that wait for it."""
        made = [row for row in self.rows("refund") if row.source == "external" and row.status not in FINAL]
        seconds = [row for row in made if row.duplicate_of is not None and row.superseded_at is None]
        return [*self.open_externals, *seconds] or [row for row in made if row.duplicate_of is None]

    @precondition(lambda self: self.externals)
    @rule(which=WHICH, to=WHICH, word=WORDS, stranger=st.booleans(), fate=FATES)
    def say_what_for(self, which: int, to: int, word: str, stranger: bool, fate: str) -> None:
        """Finance says which return a refund made outside was for, or that it was for none; perhaps it is mistaken."""
        refund = pick(self.externals, which)
        mine = self.stage.eye.execute("SELECT id FROM return_authorization WHERE payment_id = ?", (refund.payment_id,))
        names = [row[0] for row in mine]
        if word == "acknowledge" or not self.returns:
            self.acknowledge_one(refund.id, fate)
        else:
            others = [name for name in self.returns if name not in names]
            name = pick((others or names) if stranger else (names or others), to)
            self.assign(refund, name, units=word == "assign units", fate=fate)
            self.stage.law(name in names or self.of(refund.id).return_id != name, f"{refund.id} counts at {name}")

    def assign(self, refund: Any, name: str, *, units: bool = False, fate: str = "") -> None:
        """Finance says that a refund made outside was for this return, perhaps for a unit of its first line."""
        body: dict[str, Any] = {"return": name}
        if units:
            body["lines"] = [{"line": self.lines_of(name)[0], "units": 1}]
        words = f"{refund.id} was for {name}" + (", one unit of its first line" if units else "")
        first = self.of(refund.duplicate_of) if refund.duplicate_of else None
        answer = self.ask(words, "assign_refund", {"refund_id": refund.id}, body, fate, "usr_ben")
        if first is not None and fate != "is slow":
            self._told_of_a_second(refund, first, answer)
        if answer is not None and answer.done:
            self.kernel.meet("a refund of the Dashboard's assigned")
            if refund.return_id not in (None, name):
                self.kernel.meet("an assigned refund moved to another return")
        if answer is not None and answer.code == "payment_mismatch":
            self.kernel.meet("a refund assigned to another payment's return: refused")

    def _told_of_a_second(self, second: Any, first: Any, answer: Answer | None) -> None:
        """A second refund for an intent counts only where the first has paid nothing, and nothing else its place."""
        if answer is None:
            return
        pays = first.status in UNDECIDED and first.superseded_at is None
        told = f"{second.id} is a second one for {first.id}, which is {first.status}: {answer}"
        refused = answer.code in ("refund_not_external", "refund_claimed")
        self.stage.law(not refused if pays else not answer.done, told)
        self.kernel.meet("a second refund pays for a failed first" if answer.done else "a second refund: refused")

    @precondition(lambda self: self.returns)
    @rule(which=WHICH, fails=st.sampled_from([True, True, False]), settled=st.booleans())
    def paid_twice(self, which: int, fails: bool, settled: bool) -> None:
        """A script copies a refund of ours, mark and all; the first fails, and a person lets the second count."""
        name = pick(self.returns, which)
        self.parcel(which, 0, 1, "new", "", again=False)
        self.wait_for_work()
        self.start_worker(9, "")
        ours = [row for row in self.refunds_of(name) if row.stripe_refund and row.source == "return"]
        if not ours:
            return
        first, known = ours[-1], {refund["id"] for refund in self.ledger.refunds}
        self.move("refund", self.intent_of(name), first.amount, None, {"refund_id": first.id})
        made = {refund["id"] for refund in self.ledger.refunds} - known
        self.laws.repaired |= made
        if fails:
            self.move("fail", first.stripe_refund)
        self.webhooks(6)
        for second in [row for row in self.externals if row.duplicate_of and row.stripe_refund in made]:
            if not settled:
                self.assign(second, name)
                continue
            body = {"method": "dashboard_refund", "reference": second.stripe_refund}
            first = self.of(second.duplicate_of)
            answer = self.ask(f"{second.id} settles {name}", "settle_return_outside", {"return_id": name}, body)
            self._told_of_a_second(second, first, answer)

    @precondition(lambda self: self.returns)
    @rule(
        which=WHICH, more=st.booleans(), sent=st.booleans(),
        change=st.sampled_from(["correct", "reverse", "assign", "count again"]),
    )  # fmt: skip
    def changed_after_a_decision(self, which: int, more: bool, sent: bool, change: str) -> None:
        """A person gives up a part of a refund, or adds to it; then what it stands on is found to be otherwise."""
        name = pick(self.returns, which)
        self.parcel(which, 0, 1, "new", "", again=False)
        for row in [row for row in self.refunds_of(name) if row.status == "queued"]:
            self.ask(f"cancel {row.id}", "cancel_refund", {"refund_id": row.id}, {}, "", "usr_ben")
        failed = [row for row in self.refunds_of(name) if row in self.undecided]
        if failed:
            body = {"refund": failed[-1].id, "override_reason": "goodwill", **WAIVED}
            step = STEPS.get(self.currency_of(name), 1)
            body["amount"] = failed[-1].amount + 100 if more else max(step, failed[-1].amount // 2 // step * step)
            self.ask(f"retry {name} by {body['amount']}", "retry_return", {"return_id": name}, body, "", "usr_ben")
        else:
            self.decide_on(name, "refund", 200 if more else 50)
        if sent:
            self.start_worker(9, "429_rate_limit")
        known = {row.id for row in self.refunds_of(name)}
        if change == "assign":
            self.move("refund", self.intent_of(name), 100)
            self.webhooks(4)
            for row in [row for row in self.open_externals if row.payment_id == self.payment_of(name)][-1:]:
                self.assign(row, name)
        elif change == "correct":
            for count in self.counts_of(name)[-1:]:
                self.correct_one(count, "missing")
        else:
            self.reverse(-1, "")
            if change == "count again":
                self.parcel(which, 0, 1, "new", "", again=False)
        self._waits_for_a_person(name, known)

    def _waits_for_a_person(self, name: str, known: set[str]) -> None:
        """While a refund in which people decided something waits for them, nothing of its return is paid by itself."""
        failed = [row for row in self.refunds_of(name) if row in self.undecided and row.amount_open != 0]
        waiting = [row.id for row in failed if any(item["adjustment"] for item in row.breakdown)]
        made = [row.id for row in self.refunds_of(name) if row.id not in known and row.source == "return"]
        if waiting:
            self.kernel.meet("a refund that people decided waits for them")
            self.stage.law(not made, f"{name}: {made} pays by itself what was decided in {waiting}")

    def refunds_of(self, name: str) -> list[Any]:
        """Return a return's refunds, oldest first."""
        return [row for row in self.rows("refund") if row.return_id == name]

    def counts_of(self, name: str) -> list[Any]:
        """Return what the receipts of a return count, oldest first."""
        receipts = {receipt.id for receipt in self.rows("receipt") if receipt.return_id == name}
        return [count for count in self.rows("receipt_line") if count.receipt_id in receipts]

    def of(self, refund_id: str) -> Any:
        """Return a refund's committed row."""
        return next(row for row in self.rows("refund") if row.id == refund_id)

    @precondition(lambda self: self.returns)
    @rule(
        which=WHICH, amount=st.sampled_from([100, 100, 200, None]), units=st.integers(1, 2), early=st.booleans(),
        word=st.sampled_from(["assign", "assign", "assign units", "moved", "acknowledge", ""]),
    )  # fmt: skip
    def paid_in_the_dashboard(self, which: int, amount: int | None, units: int, early: bool, word: str) -> None:
        """A colleague pays a return in the Dashboard; its parcel comes before that is known, or after; finance says."""
        name = pick(self.returns, which)
        if early:
            self.parcel(which, 0, units, "new", "", again=False)
        self.move("refund", self.intent_of(name), *([amount] if amount else []))
        self.webhooks(4)
        if not early:
            self.parcel(which, 0, units, "new", "", again=False)
        self.start_worker(2, "")
        self.judge()
        if word and (mine := [row for row in self.open_externals if row.payment_id == self.payment_of(name)]):
            if word == "acknowledge":
                self.acknowledge_one(mine[-1].id)
            else:
                self.assign(mine[-1], name, units=word == "assign units")
            if word == "moved":
                intents = [intent for intent, _ in self.payments]
                self.open_return(intents.index(self.intent_of(name)), [(1, 1)], "")
                self.assign(self.of(mine[-1].id), self.returns[-1])

    def payment_of(self, name: str) -> str:
        """Return our id of a return's payment."""
        return str(self.stage.one("SELECT payment_id FROM return_authorization WHERE id = ?", name)[0])

    def intent_of(self, name: str) -> str:
        """Return the PaymentIntent of a return's payment."""
        return str(self.stage.one("SELECT payment_intent FROM payment WHERE id = ?", self.payment_of(name))[0])

    # --- captures, disputes, windows ---------------------------------------------------------------------------------

    @rule(
        amount=AMOUNTS, part=st.sampled_from([2, 3, 5]), lines=LINES, version=st.sampled_from([LEGACY, LEGACY, BASIL]),
        news=st.booleans(),
    )  # fmt: skip
    def captured_in_part(
        self, amount: int, part: int, lines: list[tuple[int, int]], version: str, news: bool
    ) -> None:  # fmt: skip
        """The shop captures a part of what it authorized: under an older API Stripe keeps a refund of the rest."""
        self.buy(amount, "usd", "pm_card_visa", capture_method="manual")
        intent = self.payments[-1][0]
        self.move("capture", intent, part * 100, True, version)
        self.open_return(-1, lines, "")
        if news:
            self.webhooks(4)
        if version == LEGACY:
            self.kernel.meet("a partial capture that Stripe keeps a refund of")

    @rule(which=WHICH, first=st.sampled_from(["win", "lose"]), heard=st.sampled_from([0, 2, 6]))
    def dispute_turns(self, which: int, first: str, heard: int) -> None:
        """A dispute that was won is lost after all, or the other way round, under the same id."""
        intent = pick(self.payments, which)[0]
        charge = self.ledger.charges[self.ledger.payment_intents[intent]["latest_charge"]]
        mine = [row for row in self.ledger.disputes if row["charge"] == charge["id"]]
        if not any(row["status"] in CLOSED_DISPUTES for row in mine):
            self.move("open_dispute", intent)
            self.webhooks(heard)
            for row in [row for row in self.ledger.disputes if row["charge"] == charge["id"]]:
                self.move(first, row["id"])
            self.webhooks(heard)
            self.time_passes(3600)
            self.sweep()  # all that is to be read has been: from now on only news can tell
        closed = [row for row in self.ledger.disputes if row["charge"] == charge["id"]]
        closed = [row for row in closed if row["status"] in CLOSED_DISPUTES]
        if closed:
            self.kernel.meet(f"a dispute that was {closed[-1]['status']} turned")
            self.move("overturn", closed[-1]["id"])

    @rule(method=st.sampled_from(list(WINDOW_DAYS)), lines=LINES, late=st.sampled_from([True, True, False]))
    def paid_with_a_window(self, method: str, lines: list[tuple[int, int]], late: bool) -> None:
        """A customer pays by a method that can be refunded for some weeks only; the parcel comes later, or in time."""
        self.buy(10, "usd", method)
        known = len(self.returns)
        self.open_return(-1, lines, "")
        if late:
            self.time_passes((WINDOW_DAYS[method] + 1) * DAY)
        if len(self.returns) > known:
            self.parcel(known, 0, 1, "new", "", again=False)
            self.kernel.meet("a payment whose method can't be refunded any more" if late else "a refund in its window")

    # --- parcels -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.returns)
    @rule(which=WHICH, line=WHICH, units=UNITS, came=UNITS, word=st.sampled_from(["missing", "wrong_item"]))
    def late_units(self, which: int, line: int, units: int, came: int, word: str) -> None:
        """The dock counts units as missing; some come later, perhaps more than were missing."""
        self.parcel(which, line, units, word, "", again=False)
        missing = self.placeholders()
        self.parcel(which, line, came, "new", "", again=False)
        if self.placeholders() < missing:
            self.kernel.meet("a missing unit came after all")

    @precondition(lambda self: self.returns)
    @rule(which=WHICH, line=WHICH, condition=st.sampled_from(["missing", "missing", "damaged"]))
    def corrected_after_the_payment(self, which: int, line: int, condition: str) -> None:
        """A unit is counted and paid; then the dock finds that it isn't there, or is damaged."""
        if not self.paid_counts:
            self.parcel(which, line, 1, "new", "", again=False)
            self.wait_for_work()
            self.start_worker(9, "")
            self.time_passes(SETTLE_SECONDS + 1)
            self.webhooks(6)
        if self.paid_counts:
            self.correct_one(pick(self.paid_counts, which), condition)

    @property
    def paid_counts(self) -> list[Any]:
        """Accepted units, as the dock counted them, of lines that have got money."""
        paid = {item["line"] for r in self.rows("refund") if r.status == "succeeded" for item in r.breakdown}
        standing = {receipt.id for receipt in self.rows("receipt") if receipt.reversed_at is None}
        rows = [row for row in self.rows("receipt_line") if row.line_id in paid and row.receipt_id in standing]
        return [row for row in rows if row.accepted]

    @precondition(lambda self: self.returns)
    @rule(which=WHICH, line=WHICH, condition=st.sampled_from(["new", "opened", "damaged"]))
    def put_aside(self, which: int, line: int, condition: str) -> None:
        """A unit is put aside at the dock, and looked at."""
        self.parcel(which, line, 1, "to inspect", "", again=False)
        self.inspect(-1, condition, "")

    def placeholders(self) -> int:
        """Return how many units of all lines count as missing, or as another item in their place."""
        return int(
            self.stage.one(
                "SELECT coalesce(sum(quantity - uncounted), 0) FROM receipt_line JOIN receipt r ON r.id = receipt_id"
                " WHERE condition IN ('missing', 'wrong_item') AND reversed_at IS NULL"
            )[0]
        )

    @rule(which=WHICH, lines=LINES, units=UNITS, fate=FATES, closes=st.booleans())
    def parcel_comes_first(
        self, which: int, lines: list[tuple[int, int]], units: int, fate: str, closes: bool
    ) -> None:  # fmt: skip
        """The parcel of a request comes before anybody has approved it; perhaps no more is waited for."""
        known = self.returns
        self.open_return(which, lines, "", at_once=False)
        for name in [name for name in self.returns if name not in known]:
            if self.state_of(name) == "requested":
                self.parcel(self.returns.index(name), 0, units, "new", "", again=False)
                self.kernel.meet("a receipt before the approval")
                self.decide_on(name, "approve", fate=fate, actor="usr_anna")
                if closes:
                    self.decide_on(name, "close")

    @rule(sku=st.sampled_from(["SKU-1", "sku-1 ", "SKU-2", "SKU-9"]), units=UNITS, to=WHICH, again=st.booleans())
    def parcel_of_nobody(self, sku: str, units: int, to: int, again: bool) -> None:
        """A parcel comes without any authorization; it is counted where it belongs, mostly at once."""
        body = {"order_id": f"order-{to}", "items": [{"sku": sku, "quantity": units, "condition": "new"}]}
        words = f"a parcel of nobody, {units} {sku}"
        answer = self.ask(words, "create_unmatched_receipt", {}, body, "", "usr_dock")
        self.stage.law(answer is not None and answer.done, f"the dock was refused: {answer}")
        if to and self.returns:
            self.attach(-1, to, again, "")

    @precondition(lambda self: self.returns and self.rows("unmatched_receipt"))
    @rule(which=WHICH, to=WHICH, again=st.booleans(), fate=FATES)
    def attach(self, which: int, to: int, again: bool, fate: str) -> None:
        """The dock finds out whose parcel it was; a colleague finds out, too."""
        parcel = pick(self.rows("unmatched_receipt"), which)
        for colleague in range(2 if again else 1):
            name = pick(self.returns, to + colleague)
            taken = self.stage.one("SELECT receipt_id FROM unmatched_receipt WHERE id = ?", parcel.id)[0]
            path = {"unmatched_id": parcel.id}
            words = f"{parcel.id} is of {name}"
            answer = self.ask(words, "attach_receipt", path, {"return": name}, fate, "usr_dock")
            if answer is None or fate == "is slow":
                continue
            self.stage.law(answer.done is (taken is None), f"{parcel.id} was counted at {taken}: {answer}")
            self.kernel.meet("a parcel of nobody attached" if answer.done else "a parcel attached a second time")
