"""What happens outside the service: Stripe, banks, customers, cardholders, the Dashboard, clocks."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from returns_service.domain.refund_attempt import REFUND_LEASE_SECONDS
from returns_service.stripe_simulator import OutgoingWebhook
from tests.world import acts
from tests.world.life import Life, pick

DAY = 24 * 3600
WHICH = st.integers(0, 5)


class Outside(Life):
    """Rules of the world around."""

    # --- webhooks ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.ledger.outbox)
    @rule(first=WHICH, second=WHICH)
    def two_webhooks(self, first: int, second: int) -> None:
        """Two webhooks arrive."""
        self.webhook(first, "")
        if self.ledger.outbox:
            self.webhook(second, "")

    @precondition(lambda self: self.ledger.outbox)
    @rule(which=WHICH, fate=st.sampled_from(["", "", "twice", "lost", "in transaction", "before the answer"]))
    def webhook(self, which: int, fate: str) -> None:
        """A webhook arrives, out of order, twice, or never."""
        mail = pick(self.ledger.outbox, which)
        if fate == "lost":
            self.tell(f"{mail.event['id']} {mail.event['type']} is lost")
            self.kernel.meet("a webhook lost")
            self.ledger.lose(mail)
            return
        self._meet_news(mail)
        for time in range(2 if fate == "twice" else 1):
            actor = self.live(
                f"webhook {mail.event['id']} {mail.event['type']}",
                acts.take_news(self.stage, mail, self.policy),
                "" if fate == "twice" else fate,
            )
            if actor.answer is not None and not time:
                self.ledger.mark_delivered(mail)
            if actor.answer == "known":
                self.kernel.meet("a webhook delivered twice")

    def _meet_news(self, mail: OutgoingWebhook) -> None:
        about = mail.event["data"]["object"].get("metadata", {}).get("refund_id")
        if any(call.refund == about and call.sent for call in self.wire.in_flight):
            self.kernel.meet("a webhook before the answer to our call")
        if mail is not self.ledger.outbox[0]:
            self.kernel.meet("webhooks out of order")

    @precondition(lambda self: self.ledger.outbox)
    @rule(which=WHICH, kind=st.sampled_from(["told again", "our bug", "an unknown word"]))
    def odd_news(self, which: int, kind: str) -> None:
        """Stripe tells a thing twice under two ids, or in a word we don't know, or our own fold raises."""
        mail = pick(self.ledger.outbox, which)
        if kind == "our bug":
            self.stage.poisoned.add(mail.event["id"])
            self.webhook(which, "")
        elif kind == "told again":
            self.kernel.meet("one change told by two events")
            self.move("emit_again", mail.event["id"])
        elif len(self.ledger.refunds):
            self.kernel.meet("a status word nobody knows")
            refund = pick(list(self.ledger.refunds), which)
            self.ledger.emit("refund.updated", {**refund, "status": "in_orbit"})
            self.webhook(-1, "")

    # --- Stripe and banks --------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.ledger.refunds) > 0)
    @rule(which=WHICH, choice=WHICH, told=st.booleans())
    def bank_decides(self, which: int, choice: int, told: bool = False) -> None:
        """A refund moves at its bank: settles, fails, is canceled, waits for the customer, gets its number."""
        refund = pick(list(self.ledger.refunds), which)
        if moves := self.moves(refund):
            name, before = pick(moves, choice), refund["status"]
            self.move(name, refund["id"])
            if before == "succeeded":
                met = {"fail": "failed days after it succeeded", "set_arn": "the bank's number came in"}
                self.kernel.meet(met.get(name, "it waits for the customer after it succeeded"))
        if told:
            self.webhooks(4)

    def webhooks(self, most: int) -> None:
        """The newest webhooks arrive, the newest first."""
        for _ in range(most):
            if self.ledger.outbox:
                self.webhook(-1, "")

    @rule(which=WHICH, amount=st.sampled_from([100, 200, 500, None]))
    def refund_in_dashboard(self, which: int, amount: int | None) -> None:
        """Somebody refunds in the Stripe Dashboard."""
        self.move("refund", pick(self.payments, which)[0], *([amount] if amount else []))

    @precondition(lambda self: self.ledger.unfinished)
    @rule(which=WHICH)
    def stripe_repairs(self, which: int) -> None:
        """Stripe does at last what it answered with a stored 500."""
        known = {refund["id"] for refund in self.ledger.refunds}
        self.move("repair", pick(list(self.ledger.unfinished), which))
        self.laws.repaired |= {refund["id"] for refund in self.ledger.refunds} - known
        self.kernel.meet("a stored 500 repaired by Stripe")

    @rule(which=WHICH, choice=WHICH)
    def dispute(self, which: int, choice: int) -> None:
        """A cardholder disputes a payment, or a dispute moves."""
        charge = self.ledger.charges[self.ledger.payment_intents[pick(self.payments, which)[0]]["latest_charge"]]
        open_ones = [row for row in self.ledger.disputes if row["charge"] == charge["id"] and self.moves(row)]
        subject = open_ones[-1] if open_ones else charge
        moves = [move for move in self.moves(subject) if move != "refund"]
        if moves:
            move = pick(moves, choice)
            self.move(move, subject["id"])
            self.kernel.meet(f"a dispute: {move}")

    @rule(kind=st.sampled_from(["short_waits", "short_refuses", "enough"]))
    def balance(self, kind: str) -> None:
        """The shop's balance at Stripe runs dry: refunds wait, or are refused; or it has money again."""
        if kind == "enough":
            self.move("fill_balance")
        elif kind == "short_waits":
            self.ledger.settings.balance = "short_waits"
        else:
            self.ledger.settings.balance = "short_refuses"
        self.tell(f"the balance at Stripe: {kind}")

    # --- time --------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([REFUND_LEASE_SECONDS + 1, 3600, DAY]))
    def time_passes(self, seconds: float) -> None:
        """Time passes; who stands at a gate meanwhile was frozen."""
        self.clock.advance(seconds)
        self.ledger.make_due_moves()

    @rule(wrong_by=st.sampled_from([-2 * DAY, -7200, 0, 7200, 2 * DAY]))
    def clock_is_set(self, wrong_by: int) -> None:
        """The machine's wall clock is set, wrong or right; real time and Stripe's go on as they did."""
        before = self.clock.wrong_by
        self.clock.set_wrong_by(wrong_by)
        self.tell(f"the wall clock is wrong by {wrong_by:+} s")
        if before != self.clock.wrong_by:
            self.kernel.meet("the clock set back" if self.clock.wrong_by < before else "the clock set ahead")
