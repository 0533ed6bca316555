"""The world's rules: what can happen, in any order."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from returns_service.commands.receipts import Count
from returns_service.store.claims import LEASE_SECONDS
from tests.world import acts
from tests.world.life import Life, pick
from tests.world.quiet import grow_quiet
from tests.world.stage import FAULTS

DAY = 24 * 3600
CI = settings(
    max_examples=100,
    stateful_step_count=24,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # `explain` traces every line: several times slower
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    report_multiple_bugs=False,
)
WHICH = st.integers(0, 5)
FATES = st.sampled_from(["", "", "", "", "in transaction", "before the answer", "is slow"])
STRIKES = st.sampled_from(["", "", "", "drop_after", "drop_before", "stored_500", *FAULTS])
METHODS = st.sampled_from(["pm_card_visa", "pm_card_pendingRefund", "pm_card_pendingRefund", "pm_card_refundFail"])
AMOUNTS = st.sampled_from([6, 10, 15, 30])  # hundreds of minor units
CURRENCIES = st.sampled_from(["usd", "usd", "isk"])
LINES = st.lists(st.tuples(st.integers(1, 3), st.sampled_from([1, 2, 5])), min_size=1, max_size=2)


class World(Life):
    """One life of the service: callers, dock, desk, workers, Stripe, banks and death."""

    # --- callers -----------------------------------------------------------------------------------------------------

    @initialize(
        amount=AMOUNTS,
        currency=CURRENCIES,
        method=METHODS,
        lines=LINES,
        parcel=WHICH,
        ends=st.tuples(st.booleans(), st.booleans()),
    )
    def the_shop_opens(
        self,
        amount: int,
        currency: str,
        method: str,
        lines: list[tuple[int, int]],
        parcel: int,
        ends: tuple[bool, bool],
    ) -> None:
        """The janitor's first round; a payment, an approved return, mostly its first parcel."""
        self.wakes_late, self.settles = ends
        self.sweep()
        self.buy(amount, currency, method)
        self.open_return(0, lines, "")
        if parcel and self.returns:
            self.parcel(0, 0, parcel, "new", "", again=False)

    @rule(
        which=WHICH, new=st.booleans(), amount=AMOUNTS, currency=CURRENCIES, method=METHODS, lines=LINES, fate=FATES
    )  # fmt: skip
    def shop(
        self, which: int, new: bool, amount: int, currency: str, method: str, lines: list[tuple[int, int]], fate: str
    ) -> None:
        """The shop asks for a return on a new payment, or on one that has returns already."""
        if new:
            self.buy(amount, currency, method)
        self.open_return(-1 if new else which, lines, fate)

    def buy(self, amount: int, currency: str, method: str) -> None:
        """A customer pays."""
        hundreds = amount * 100
        self.payments.append((acts.pay(self.stage, hundreds, currency, method), currency))
        self.tell(f"a customer pays {hundreds} {currency} by {method}: {self.payments[-1][0]}")

    def open_return(self, which: int, lines: list[tuple[int, int]], fate: str) -> None:
        """The shop asks for a return; who gets its answer approves it at once."""
        intent, currency = pick(self.payments, which)
        odd = 0 if currency == "isk" else 1  # amounts that don't split evenly
        wanted = [(units, share * 100 + odd) for units, share in lines]
        shown = ", ".join(f"{units} for {paid}" for units, paid in wanted)
        effect = acts.opens(f"order-{len(self.wishes)}", currency, wanted)
        answer = self.ask(f"a return on {intent} of {shown}", effect, fate, intent)
        if answer is not None and answer[0] == 200:
            self.ask(f"approve {answer[1]}", acts.decides(answer[1], "approve", None), "", actor="usr_anna")

    @precondition(lambda self: self.returns)
    @rule(
        which=WHICH, line=WHICH, units=st.integers(1, 4), fate=FATES, again=st.booleans(),
        condition=st.sampled_from(["new", "new", "new", "opened", "missing", "wrong_item"]),
    )  # fmt: skip
    def parcel(self, which: int, line: int, units: int, condition: str, fate: str, again: bool) -> None:
        """A parcel arrives at the dock; sometimes it is scanned twice."""
        name = pick(self.returns, which)
        lines = self.stage.eye.execute("SELECT id FROM return_line WHERE return_id = ? ORDER BY position", (name,))
        count = Count(units, condition, line=pick([row["id"] for row in lines], line))
        effect = acts.receives(name, [count], f"scan-{len(self.wishes)}")
        state = self.stage.one("SELECT state FROM return_authorization WHERE id = ?", name)["state"]
        answer = self.ask(f"{units} {condition} of {name} received", effect, fate, actor="usr_dock")
        live = state in ("approved", "refunding", "refunded", "failed")
        if answer is not None and fate != "is slow":
            self.stage.law(not live or answer[0] == 200, f"the dock was refused: {name} {state}, {answer}")
        if again and answer is not None and answer[0] == 200:
            twice = self.ask(f"the same parcel of {name} again", effect, "", actor="usr_dock")
            self.stage.law(twice == answer, f"a parcel sent twice: {answer}, then {twice}")

    @precondition(lambda self: self.returns)
    @rule(which=WHICH, move=st.sampled_from(["refund", "open_dispute"]), units=st.integers(1, 2), line=WHICH)
    def parcel_for_nothing(self, which: int, move: str, units: int, line: int) -> None:
        """All money of a payment is gone, or disputed, and we know it, when a parcel arrives."""
        name = pick(self.returns, which)
        names = (
            "SELECT payment_intent FROM payment JOIN return_authorization r ON payment_id = payment.id WHERE r.id = ?"
        )
        self.move(move, self.stage.one(names, name)[0])
        for _ in range(4):
            if self.ledger.mailbox:
                self.webhook(-1, "")
        self.parcel(which, line, units, "new", "", again=False)

    @precondition(lambda self: self.rows("receipt"))
    @rule(which=WHICH, fate=FATES)
    def reverse(self, which: int, fate: str) -> None:
        """The dock undoes a miscount."""
        receipt = pick(self.rows("receipt"), which)
        effect = acts.reverses(receipt.return_id, receipt.id)
        self.ask(f"{receipt.id} was a miscount", effect, fate, actor="usr_dock")

    @precondition(lambda self: self.rows("undeclared_item"))
    @rule(which=WHICH, line=WHICH, accept=st.booleans())
    def resolve(self, which: int, line: int, accept: bool) -> None:
        """Somebody decides about a surplus unit."""
        item = pick(self.rows("undeclared_item"), which)
        lines = [row.id for row in self.rows("return_line") if row.return_id == item.return_id]
        effect = acts.resolves(item.return_id, item.id, pick(lines, line) if accept else None)
        self.ask(f"{item.id} is {'taken' if accept else 'sent back'}", effect, "", actor="usr_dock")

    @precondition(lambda self: self.returns)
    @rule(
        which=WHICH, fate=FATES, amount=st.sampled_from([None, None, 50, 200]),
        what=st.sampled_from(["refund", "retry", "retry", "settle_outside", "close", "approve", "cancel", "decline"]),
    )  # fmt: skip
    def decide(self, which: int, what: str, amount: int | None, fate: str) -> None:
        """A person decides about a return."""
        name, amount = pick(self.returns, which), amount if what in ("refund", "settle_outside") else None
        if amount and self.currency_of(name) == "isk":
            amount *= 2
        self.ask(
            f"{what} {name}{f' by {amount}' if amount else ''}", acts.decides(name, what, amount), fate, actor="usr_ben"
        )

    @rule(which=WHICH, amount=st.sampled_from([None, 100, 300]), fate=FATES)
    def refund_alone(self, which: int, amount: int | None, fate: str) -> None:
        """The shop refunds a payment without a return."""
        intent, _ = pick(self.payments, which)
        self.ask(f"refund {amount or 'what is left'} of {intent}", acts.pays_alone(amount), fate, intent)

    @precondition(lambda self: self.wishes)
    @rule(which=WHICH)
    def ask_again(self, which: int) -> None:
        """A caller who got no answer, or lost it, sends the same request again."""
        self.send(pick(self.wishes[::-1], which), "")

    # --- workers -----------------------------------------------------------------------------------------------------

    @rule(steps=st.sampled_from([1, 2, 2, 9, 9]), fault=STRIKES)
    def start_worker(self, steps: int, fault: str) -> None:
        """A worker begins its turn and is left somewhere on the way."""
        self.wire.fault = ("POST" if fault else "", fault)
        self.let_go(self.spawn("worker", acts.work(self.stage)), steps)

    @precondition(lambda self: self.due is not None)
    @rule(steps=st.sampled_from([1, 2, 9, 9]), fault=STRIKES, then=STRIKES)
    def wait_and_work(self, steps: int, fault: str, then: str) -> None:
        """Time passes until a refund is due; a worker has bad luck with it, and again."""
        for fault_now in (fault, then):
            self.wait_for_work()
            self.start_worker(steps, fault_now)

    def wait_for_work(self) -> None:
        """Let time pass until a refund is due, if any is."""
        if (due := self.due) is not None:
            self.time_passes(max(0.0, (due - self.clock.now()).total_seconds()))

    @precondition(lambda self: self.due is not None)
    @rule(fault=st.sampled_from(["drop_after", "503_html_done", "stored_500_done", "stored_500"]))
    def long_silence(self, fault: str) -> None:
        """An answer is lost; when somebody asks again, Stripe has forgotten the key."""
        self.wait_and_work(9, fault, "drop_before")
        self.time_passes(DAY)
        self.start_worker(9, "")

    @precondition(lambda self: self.due is not None)
    @rule(asleep=st.sampled_from([1, 2]), fault=STRIKES)
    def outslept(self, asleep: int, fault: str) -> None:
        """A worker outsleeps its lease with its call before it, or under way; another takes over, the first wakes."""
        self.wait_for_work()
        frozen = self.spawn("worker", acts.work(self.stage))
        self.wire.fault = ("POST" if fault else "", fault)
        self.let_go(frozen, asleep)
        self.time_passes(LEASE_SECONDS + 1)
        self.start_worker(2, "")
        self.let_go(frozen, 9)

    @precondition(lambda self: self.due is not None)
    @rule(
        which=st.sampled_from([0, 0, 1, 2]), choice=st.sampled_from([1, 1, 0, 2, 3]), steps=st.sampled_from([2, 2, 3])
    )
    def overtaken(self, which: int, choice: int, steps: int) -> None:
        """Stripe answers a worker; before it writes that down, the bank moves the refund and webhooks tell."""
        self.wait_for_work()
        self.start_worker(steps, "")
        if len(self.ledger.refunds):
            self.bank_decides(-1 - which, choice)
        for _ in range(6):
            if self.ledger.mailbox:
                self.webhook(-1, "")
        for actor in list(self.kernel.waiting):
            self.let_go(actor, 9)

    @precondition(lambda self: self.kernel.waiting)
    @rule(which=WHICH, steps=st.sampled_from([1, 9]))
    def go_on(self, which: int, steps: int) -> None:
        """Somebody who stood still goes on."""
        self.let_go(pick(self.kernel.waiting, which), steps)

    @precondition(lambda self: self.kernel.waiting)
    @rule(which=WHICH, seconds=st.sampled_from([LEASE_SECONDS + 1, LEASE_SECONDS + 1, DAY]))
    def freeze(self, which: int, seconds: int) -> None:
        """An actor outsleeps its lease, another takes over, the first wakes."""
        frozen = pick(self.kernel.waiting, which)
        self.time_passes(seconds)
        self.start_worker(2, "")
        self.let_go(frozen, 9)

    @precondition(lambda self: self.kernel.waiting)
    @rule(which=WHICH, in_transaction=st.booleans())
    def crash(self, which: int, in_transaction: bool) -> None:
        """A process dies."""
        actor = pick(self.kernel.waiting, which)
        (self.kernel.crash_in_transaction if in_transaction else self.kernel.crash)(actor)

    @rule(fault=STRIKES, fate=FATES)
    def sweep(self, fault: str = "", fate: str = "") -> None:
        """The janitor's round."""
        self.wire.fault = ("GET" if fault else "", fault)
        self.live("janitor", acts.sweep(self.stage, self.policy), fate)

    # --- Stripe, banks, customers ------------------------------------------------------------------------------------

    @precondition(lambda self: self.ledger.mailbox)
    @rule(first=WHICH, second=WHICH)
    def two_webhooks(self, first: int, second: int) -> None:
        """Two webhooks arrive."""
        self.webhook(first, "")
        if self.ledger.mailbox:
            self.webhook(second, "")

    @precondition(lambda self: self.ledger.mailbox)
    @rule(which=WHICH, fate=st.sampled_from(["", "", "twice", "lost", "in transaction", "before the answer"]))
    def webhook(self, which: int, fate: str) -> None:
        """A webhook arrives, out of order, twice, or never."""
        mail = pick(self.ledger.mailbox, which)
        if fate == "lost":
            self.tell(f"{mail.event['id']} {mail.event['type']} is lost")
            self.ledger.lose(mail)
            return
        name = f"webhook {mail.event['id']} {mail.event['type']}"
        for time in range(2 if fate == "twice" else 1):
            actor = self.live(name, acts.take_news(self.stage, mail, self.policy), "" if fate == "twice" else fate)
            if actor.answer is not None and not time:
                self.ledger.delivered(mail)

    @rule(seconds=st.sampled_from([LEASE_SECONDS + 1, 3600, DAY]))
    def time_passes(self, seconds: float) -> None:
        """Time passes; who stands at a gate meanwhile was frozen."""
        self.clock.advance(seconds)
        self.ledger.make_due_moves()

    @precondition(lambda self: len(self.ledger.refunds) > 0)
    @rule(which=WHICH, choice=WHICH)
    def bank_decides(self, which: int, choice: int) -> None:
        """A refund moves at its bank: settles, fails, is canceled, waits for the customer, gets its number."""
        refund = pick(list(self.ledger.refunds), which)
        if moves := self.moves(refund):
            self.move(pick(moves, choice), refund["id"])

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

    @rule(which=WHICH, choice=WHICH)
    def dispute(self, which: int, choice: int) -> None:
        """A cardholder disputes a payment, or a dispute moves."""
        charge = self.ledger.charges[self.ledger.payment_intents[pick(self.payments, which)[0]]["latest_charge"]]
        open_ones = [row for row in self.ledger.disputes if row["charge"] == charge["id"] and self.moves(row)]
        subject = open_ones[-1] if open_ones else charge
        moves = [move for move in self.moves(subject) if move != "refund"]
        if moves:
            self.move(pick(moves, choice), subject["id"])

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        """The laws hold after every rule."""
        with self.kernel.judged():
            self.laws.check()

    def teardown(self) -> None:
        """Let the world go quiet, judge it once more, tell its story."""
        try:
            with self.kernel.judged():
                if not self.kernel.failed:
                    grow_quiet(self)
                    self.laws.check_truth()
        finally:
            self.kernel.bury_all()
            note("\n".join(self.kernel.story))
