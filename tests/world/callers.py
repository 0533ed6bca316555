"""What callers do: the shop's backend, the dock, and the people who decide."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.world.life import pick
from tests.world.outside import DAY, WHICH, Outside

FATES = st.sampled_from(["", "", "", "", "in transaction", "before the answer", "is slow"])
METHODS = st.sampled_from(["pm_card_visa", "pm_card_pendingRefund", "pm_card_pendingRefund", "pm_card_refundFail"])
AMOUNTS = st.sampled_from([6, 10, 15, 30])  # hundreds of minor units
CURRENCIES = st.sampled_from(["usd", "usd", "isk"])
LINES = st.lists(st.tuples(st.integers(1, 3), st.sampled_from([1, 2, 5])), min_size=1, max_size=2)
REASON = {"reason": "as agreed"}
SHIPPING = 100  # minor units, of each order
WAIVED = {**REASON, "waive": True}
BODIES: dict[str, dict[str, Any]] = {
    "approve": {"override_reason": "as asked"},
    "cancel": {**REASON, "override_reason": "stock kept"},
    "decline": REASON,
    "close": {**REASON, "override_reason": "the rest is ours"},
    "reopen": REASON,
    "refund": {},
    "retry": {},
    "settle_outside": {"method": "bank_transfer", "reference": "wire-1"},
}
WHERE = {  # the states in which it may work
    "approve": ("requested",),
    "decline": ("requested",),
    "cancel": ("requested", "approved"),
    "close": ("approved", "refunding"),
    "settle_outside": ("approved", "refunding", "failed"),
}
OPEN_DISPUTES = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")
UNDECIDED = ("failed", "canceled", "withdrawn")


class Callers(Outside):
    """Rules of those who call the API."""

    # --- the shop ----------------------------------------------------------------------------------------------------

    @rule(
        which=WHICH, new=st.booleans(), amount=AMOUNTS, currency=CURRENCIES, method=METHODS, lines=LINES, fate=FATES,
        at_once=st.booleans(),
    )  # fmt: skip
    def shop(
        self, which: int, new: bool, amount: int, currency: str, method: str, lines: list[tuple[int, int]], fate: str,
        at_once: bool,
    ) -> None:  # fmt: skip
        """The shop asks for a return on a new payment, or on one that has returns already."""
        if new:
            self.buy(amount, currency, method)
        self.open_return(-1 if new else which, lines, fate, at_once)

    def open_return(self, which: int, lines: list[tuple[int, int]], fate: str, at_once: bool = True) -> None:
        """The shop asks for a return; who gets its answer may approve it at once."""
        intent, currency = pick(self.payments, which)
        odd = 0 if currency == "isk" else 1  # amounts that don't split evenly
        wanted = [
            {"sku": f"SKU-{n}", "quantity": units, "total_amount": share * 100 + odd}
            for n, (units, share) in enumerate(lines, 1)
        ]
        body = {
            "order_id": f"order of {intent}", "payment_intent": intent, "currency": currency, "lines": wanted,
            "shipping_amount": SHIPPING,
        }  # fmt: skip
        shown = ", ".join(f"{line['quantity']} for {line['total_amount']}" for line in wanted)
        answer = self.ask(f"a return on {intent} of {shown}", "create_return", {}, body, fate)
        if at_once and answer is not None and answer.done and answer.shown["state"] == "requested":
            self.decide_on(answer.shown["id"], "approve", actor="usr_anna")

    @rule(which=WHICH, amount=st.sampled_from([None, 100, 300]), fate=FATES)
    def refund_alone(self, which: int, amount: int | None, fate: str) -> None:
        """The shop refunds a payment without a return."""
        intent, _ = pick(self.payments, which)
        body = {"payment_intent": intent, **({"amount": amount} if amount else {})}
        self.ask(f"refund {amount or 'what is left'} of {intent}", "create_refund", {}, body, fate)

    @precondition(lambda self: self.wishes)
    @rule(which=WHICH)
    def ask_again(self, which: int) -> None:
        """A caller who got no answer, or lost it, sends the same request again."""
        wish = pick(self.wishes[::-1], which)
        known = wish.key in self.laws.kept
        answer = self.send(wish, "")
        if known and answer is not None and answer.done:
            self.kernel.meet("a retry with its Idempotency-Key")

    # --- the dock ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.returns)
    @rule(
        which=WHICH, line=WHICH, units=st.integers(1, 4), fate=FATES, again=st.booleans(),
        condition=st.sampled_from(["new", "new", "new", "opened", "missing", "wrong_item", "to inspect", "to inspect"]),
    )  # fmt: skip
    def parcel(self, which: int, line: int, units: int, condition: str, fate: str, again: bool) -> None:
        """A parcel arrives at the dock; sometimes it is scanned twice."""
        name = pick(self.returns, which)
        counted: dict[str, Any] = {"line": pick(self.lines_of(name), line), "quantity": units, "condition": condition}
        if condition == "to inspect":
            counted |= {"condition": "opened", "disposition": "inspect"}
        body = {"lines": [counted], "scan_id": f"scan-{len(self.wishes)}"}
        path = {"return_id": name}
        answer = self.ask(f"{units} {condition} of {name} received", "create_receipt", path, body, fate, "usr_dock")
        if answer is not None and fate != "is slow":
            self.stage.law(answer.done, f"the dock was refused: {name} {self.state_of(name)}, {answer}")
        if again and answer is not None and answer.done:
            words = f"the same parcel of {name} again"
            twice = self.ask(words, "create_receipt", path, body, "", "usr_dock")
            self.stage.law(twice == answer, f"a parcel sent twice: {answer}, then {twice}")
            self.kernel.meet("a parcel scanned twice")

    @precondition(lambda self: self.returns)
    @rule(
        which=WHICH, move=st.sampled_from(["refund", "open_dispute", "open_inquiry"]), units=st.integers(1, 2),
        line=WHICH, settled=st.booleans(),
    )  # fmt: skip
    def parcel_for_nothing(self, which: int, move: str, units: int, line: int, settled: bool) -> None:
        """All money of a payment is gone, or disputed, and we know it, when a parcel arrives; a person settles it."""
        name = pick(self.returns, which)
        names = (
            "SELECT payment_intent FROM payment JOIN return_authorization r ON payment_id = payment.id WHERE r.id = ?"
        )
        self.move(move, self.stage.one(names, name)[0])
        self.webhooks(4)
        self.parcel(which, line, units, "new", "", again=False)
        if settled:
            self.decide_on(name, "settle_outside")

    @precondition(lambda self: self.rows("receipt"))
    @rule(which=WHICH, fate=FATES)
    def reverse(self, which: int, fate: str) -> None:
        """The dock undoes a miscount."""
        receipt = pick(self.rows("receipt"), which)
        path = {"return_id": receipt.return_id, "receipt_id": receipt.id}
        self.ask(f"{receipt.id} was a miscount", "reverse_receipt", path, REASON, fate, "usr_dock")

    @precondition(lambda self: self.rows("receipt_line"))
    @rule(which=WHICH, condition=st.sampled_from(["new", "opened", "missing"]), fate=FATES)
    def correct(self, which: int, condition: str, fate: str) -> None:
        """The dock looks again: a unit it counted is in another condition, or isn't there."""
        self.correct_one(pick(self.rows("receipt_line"), which), condition, fate)

    def correct_one(self, count: Any, condition: str, fate: str = "") -> None:
        """The dock finds a counted unit in another condition."""
        receipt = next(receipt for receipt in self.rows("receipt") if receipt.id == count.receipt_id)
        change = {"line": count.line_id, "from": count.condition, "to": condition, "quantity": 1}
        path = {"return_id": receipt.return_id, "receipt_id": receipt.id}
        words = f"a unit of {receipt.id} is {condition}, not {count.condition}"
        self.ask(words, "correct_receipt", path, {"lines": [change], **REASON}, fate, "usr_dock")

    @precondition(lambda self: any(line.inspecting for line in self.rows("return_line")))
    @rule(which=WHICH, condition=st.sampled_from(["new", "opened", "damaged"]), fate=FATES)
    def inspect(self, which: int, condition: str, fate: str) -> None:
        """Somebody looks at units that were put aside."""
        aside = [count for count in self.rows("receipt_line") if count.disposition == "inspect"]
        if not aside:
            return
        count = pick(aside, which)
        receipt = next(receipt for receipt in self.rows("receipt") if receipt.id == count.receipt_id)
        found = {"line": count.line_id, "condition": condition, "disposition": "restock", "quantity": 1}
        path = {"return_id": receipt.return_id, "receipt_id": receipt.id}
        words = f"a unit of {receipt.id} is {condition}"
        self.ask(words, "inspect_receipt", path, {"lines": [found]}, fate, "usr_dock")

    @precondition(lambda self: self.rows("undeclared_item"))
    @rule(which=WHICH, line=WHICH, accept=st.booleans())
    def resolve(self, which: int, line: int, accept: bool) -> None:
        """Somebody decides about a surplus unit."""
        item = pick(self.rows("undeclared_item"), which)
        body = {"decision": "return_to_customer"}
        if accept:
            body = {"decision": "accept_as_line", "line": pick(self.lines_of(item.return_id), line)}
        path = {"return_id": item.return_id, "undeclared_id": item.id}
        self.ask(f"{item.id} is {'taken' if accept else 'sent back'}", "resolve_undeclared", path, body, "", "usr_dock")

    # --- people who decide -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.returns)
    @rule(
        which=WHICH, fate=FATES, amount=st.sampled_from([None, None, 50, 200]),
        what=st.sampled_from(
            ["refund", "refund", "settle_outside", "close", "approve", "cancel", "decline", "reopen", "reopen"]
        ),
    )  # fmt: skip
    def decide(self, which: int, what: str, amount: int | None, fate: str) -> None:
        """A person decides about a return."""
        able = [row.id for row in self.rows("return_authorization") if row.state in WHERE.get(what, ())]
        self.decide_on(pick(able or self.returns, which), what, amount, fate)

    def decide_on(
        self, name: str, what: str, amount: int | None = None, fate: str = "", actor: str = "usr_ben",
        waive: bool = False,
    ) -> None:  # fmt: skip
        """A person decides about this return; with `waive` the rest of a failed refund is given up."""
        row = next(row for row in self.rows("return_authorization") if row.id == name)
        body = self.body_of(what, row.payment_id) | (WAIVED if waive else {})
        if amount and what in ("refund", "retry", "settle_outside"):
            body["amount"] = amount * (2 if self.currency_of(name) == "isk" else 1)
            body |= {"override_reason": "goodwill"} if what != "settle_outside" else {}
        operation = f"{what}_return" if what != "settle_outside" else "settle_return_outside"
        shown = f" by {body['amount']}" if "amount" in body else ""
        answer = self.ask(f"{what} {name}{shown}", operation, {"return_id": name}, body, fate, actor)
        if answer is not None and answer.code == "refund_in_progress":
            self.kernel.meet("a second click while the first is unanswered")

    def body_of(self, what: str, payment_id: str) -> dict[str, Any]:
        """Return what a person sends: settled outside is by the dispute that we know as open, else by the bank."""
        payment = next(row for row in self.rows("payment") if row.id == payment_id)
        if what == "settle_outside" and payment.dispute and payment.dispute["status"] in OPEN_DISPUTES:
            self.kernel.meet("something settled by a dispute that is open")
            return {"method": "dispute", "reference": payment.dispute["id"]}
        return BODIES[what]

    @precondition(lambda self: self.returns)
    @rule(which=WHICH, wanted=st.sampled_from(["refund", "store_credit", "exchange"]), line=WHICH, fate=FATES)
    def resolution(self, which: int, wanted: str, line: int, fate: str) -> None:
        """The customer wants something else for their units: of one line, or of all."""
        name = pick(self.returns, which)
        body: dict[str, Any] = {"resolution": wanted}
        if line:
            body["lines"] = [pick(self.lines_of(name), line)]
        self.ask(f"{wanted} for {name}", "resolve_return", {"return_id": name}, body, fate)

    @precondition(lambda self: any(row.due_outside for row in self.rows("return_authorization")))
    @rule(which=WHICH, method=st.sampled_from(["store_credit", "exchange"]), less=st.booleans(), fate=FATES)
    def settle_units(self, which: int, method: str, less: bool, fate: str) -> None:
        """Somebody hands out the store credit, or sends the other article: a cheaper one at times."""
        row = pick([row for row in self.rows("return_authorization") if row.due_outside], which)
        body: dict[str, Any] = {"method": method, "reference": "voucher 7"}
        if less:
            body["amount"] = max(100, row.due_outside // 200 * 100)
        words = f"{method} for {row.id}, {body.get('amount', 'all')}"
        self.ask(words, "settle_return_outside", {"return_id": row.id}, body, fate, "usr_ben")
        self.kernel.meet("units settled outside Stripe")

    @precondition(lambda self: self.undecided)
    @rule(which=WHICH, amount=st.sampled_from([100, 200]), fate=FATES)
    def pay_a_part(self, which: int, amount: int, fate: str) -> None:
        """A person settles a part of a failed refund outside; the rest stays failed."""
        refund = pick(self.undecided, which)
        body = {**self.body_of("settle_outside", refund.payment_id), "amount": amount}
        self.ask(f"{amount} of {refund.id}", "settle_refund_outside", {"refund_id": refund.id}, body, fate, "usr_ben")

    @precondition(lambda self: self.undecided)
    @rule(
        which=WHICH, what=st.sampled_from(["retry", "retry", "settle_outside"]),
        amount=st.sampled_from([None, None, 50, 100]), of_refund=st.booleans(), waive=st.booleans(), fate=FATES,
    )  # fmt: skip
    def decide_on_a_failed_refund(
        self, which: int, what: str, amount: int | None, of_refund: bool, waive: bool, fate: str
    ) -> None:
        """A person tries a failed refund again, whole or in part, or records that it was paid by other means."""
        refund = pick(self.undecided, which)
        if refund.return_id is not None and not of_refund:
            self.decide_on(refund.return_id, what, amount, fate, waive=waive)
            return
        operation = "retry_refund" if what == "retry" else "settle_refund_outside"
        body = self.body_of(what, refund.payment_id) | (WAIVED if waive else {})
        body |= {"amount": amount * 2} if amount else {}
        self.ask(f"{what} {refund.id}", operation, {"refund_id": refund.id}, body, fate, "usr_ben")

    @property
    def undecided(self) -> list[Any]:
        """Failed refunds that nobody has decided about."""
        return [row for row in self.rows("refund") if row.status in UNDECIDED and row.superseded_at is None]

    @precondition(lambda self: self.rows("refund"))
    @rule(which=WHICH, fate=FATES)
    def check(self, which: int, fate: str) -> None:
        """A person asks Stripe now what became of a refund."""
        refund = pick(self.rows("refund"), which)
        self.ask(f"check {refund.id}", "check_refund", {"refund_id": refund.id}, {}, fate, "usr_ben")

    @precondition(lambda self: any(row.stripe_refund for row in self.rows("refund")))
    @rule(which=WHICH, choice=WHICH)
    def two_checks(self, which: int, choice: int) -> None:
        """Two people ask what became of a refund; it moves in between, and the older answer comes last."""
        self.check(which, "is slow")
        name = pick(self.rows("refund"), which).stripe_refund
        seen = self.ledger.refunds.get(name) if name else None
        if seen is not None and (moves := self.moves(seen)):
            self.move(pick(moves, choice), seen["id"])
            self.kernel.meet("a read overtaken by a newer one")
        self.check(which, "")
        for actor in list(self.kernel.waiting):
            self.let_go(actor, 9)

    @precondition(lambda self: any(row.status in ("queued", "requires_action") for row in self.rows("refund")))
    @rule(which=WHICH, fate=FATES)
    def cancel_refund(self, which: int, fate: str) -> None:
        """A person cancels a refund that was not sent, or that waits for the customer."""
        some = [row for row in self.rows("refund") if row.status in ("queued", "requires_action")]
        refund = pick(some, which)
        self.ask(f"cancel {refund.id}", "cancel_refund", {"refund_id": refund.id}, {}, fate, "usr_ben")

    @precondition(lambda self: any(row.status == "unknown" for row in self.rows("refund")))
    @rule(which=WHICH, wait=st.sampled_from([0, 901, 901, DAY]), fate=FATES)
    def send_again(self, which: int, wait: int, fate: str) -> None:
        """Finance says that a refund nobody knows of may be sent under a new key."""
        refund = pick([row for row in self.rows("refund") if row.status == "unknown"], which)
        self.time_passes(wait)
        self.ask(f"send {refund.id} again", "send_refund_again", {"refund_id": refund.id}, REASON, fate, "usr_ben")

    def acknowledge_one(self, name: str, fate: str = "") -> None:
        """Finance says that this refund is of no return."""
        answer = self.ask(f"acknowledge {name}", "acknowledge_refund", {"refund_id": name}, REASON, fate, "usr_ben")
        if answer is not None and answer.done:
            self.kernel.meet("a refund of the Dashboard's acknowledged")
