"""A world of more prices: fees, labels, orders that tell their size, adjustments, money of other decimals."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from returns_service.domain.policy import Policy
from returns_service.domain.policy.shapes import Restocking
from returns_service.return_case.case import ReturnCase
from tests.world.callers import AMOUNTS, FATES, METHODS, SHIPPING
from tests.world.laws import STEPS, Laws, label_taken_off
from tests.world.laws_of_others import COUNTS, ours_of
from tests.world.life import pick
from tests.world.outside import WHICH
from tests.world.world import World

CURRENCIES = ("usd", "kwd", "jpy")
FEES = {
    "opened": Restocking(basis_points=1500),
    "damaged": Restocking(fixed=dict.fromkeys(CURRENCIES, 30)),
}
LABEL = dict.fromkeys(CURRENCIES, 70)  # minor units
POLICIES = {
    "fees": Policy(restocking=FEES),
    "a label": Policy(label_cost=LABEL),
    "a label, fees, shipping": Policy(label_cost=LABEL, restocking=FEES, shipping_refunded="always"),
    "a label, shipping once all is back": Policy(label_cost=LABEL, shipping_refunded="full_return"),
    "a label, ahead": Policy(label_cost=LABEL, refund_on="approval", shipping_refunded="always"),
    "a label, by hand": Policy(label_cost=LABEL, restocking=FEES, refund_on="manual", shipping_refunded="always"),
}
LINES = st.lists(st.tuples(st.integers(1, 3), st.sampled_from([0, 1, 2, 3])), min_size=1, max_size=2)  # free ones, too
ADJUSTMENTS = st.lists(
    st.tuples(st.sampled_from(["goodwill", "deduction", "shipping"]), st.sampled_from([10, 100, 300]), st.booleans()),
    min_size=1,
    max_size=2,
)


class PricedLaws(Laws):
    """The laws where units bear fees, and people decide about shipping."""

    def worth(self, case: ReturnCase) -> dict[str, int]:
        """Return what each line's accepted units are worth, less the fee for each condition."""
        worth, step = super().worth(case), STEPS.get(case.row.currency, 1)
        if case.policy.refund_on == "approval" and case.row.closed_at is None:
            return worth
        for line in case.money_lines():
            for condition, units in line.accepted.items():
                fee = case.policy.restocking.get(condition, Restocking())
                share = line.total_amount * units * fee.basis_points // (line.quantity * 10_000)
                worth[line.id] -= share // step * step
                worth[line.id] -= fee.fixed.get(case.row.currency, 0) * units // step * step
        return {line: max(0, amount) for line, amount in worth.items()}

    def paid(self, case: ReturnCase) -> dict[str, int]:
        """Return what each line got; a fee beyond what its units are worth is borne by the others."""
        return {line: max(0, amount) for line, amount in super().paid(case).items()}

    def _shipping(self, cases: list[ReturnCase]) -> None:
        """What people decide for shipping is theirs; what is due for it is paid once an order, or told as overpaid."""
        paid: dict[str, int] = defaultdict(int)
        for case in cases:
            only_looked_for = [one for one in case.refunds if one.waiting_code == "due_no_more"]
            rows = case.committed_rows([refund for refund in case.refunds if refund not in only_looked_for])
            paid[case.row.order_id] += sum(row.amount for row in rows if row.kind == "shipping" and not row.adjustment)
        for order, amount in paid.items():
            returns = [case.row for case in cases if case.row.order_id == order]
            cost = max(row.shipping_amount for row in returns)
            told = any(row.overpaid_since is not None for row in returns)
            assert amount <= cost or told, f"{order}: {amount} for shipping, it cost {cost}"

    def _return(self, case: ReturnCase) -> None:
        """A label is taken off once a return, or the customer is told to have lost too much."""
        super()._return(case)
        taken, cost = label_taken_off(case), case.policy.label_cost.get(case.row.currency, 0)
        told = case.row.overpaid_since is not None
        assert 0 <= taken <= cost or told or case.due, f"{case.row.id}: {taken} taken off for a label of {cost}"

    def _settled(self, case: ReturnCase) -> None:
        """Refunds that all arrived, none of them decided by people or made outside, bear the label whole."""
        super()._settled(case)
        counted = [refund for refund in ours_of(case) if refund.status in COUNTS]
        decided = any(item["adjustment"] for refund in counted for item in refund.breakdown)
        told = case.row.overpaid_since is not None
        if case.row.state != "refunded" or decided or told or len(counted) < len(case.refunds):
            return
        taken, cost = label_taken_off(case), case.policy.label_cost.get(case.row.currency, 0)
        cost = cost // STEPS.get(case.row.currency, 1) * STEPS.get(case.row.currency, 1)
        bears = any(refund.amount for refund in counted)
        assert taken == (cost if bears else 0), f"{case.row.id}: {taken} taken off for a label of {cost}"


class PricedWorld(World):
    """One life of the service, where more is taken off and added than what units cost."""

    def __init__(self) -> None:
        super().__init__()
        self.laws = PricedLaws(self.stage)

    @initialize(
        amount=AMOUNTS, currency=st.sampled_from(CURRENCIES), method=METHODS, lines=LINES, parcel=WHICH,
        ends=st.tuples(st.booleans(), st.booleans()), policy=st.sampled_from(list(POLICIES)),
    )  # fmt: skip
    def the_shop_opens(
        self, amount: int, currency: str, method: str, lines: list[tuple[int, int]], parcel: int,
        ends: tuple[bool, bool], policy: str = "fees", listens: bool = False,
    ) -> None:  # fmt: skip
        """A payment, an approved return, mostly its first parcel."""
        self.wakes_late, self.settles = ends
        self.listens = listens
        self.live_by(POLICIES[policy])
        self.tell(f"the policy takes {policy}")
        self.buy(amount, currency, method)
        self.open_return(0, lines, "")
        if parcel and self.returns:
            self.parcel(0, 0, parcel, "new", "", again=False)

    def open_return(self, which: int, lines: list[tuple[int, int]], fate: str, at_once: bool = True) -> None:
        """The shop asks for a return; who gets its answer may approve it at once."""
        self.open_of_order(which, lines, fate, at_once=at_once)

    def open_of_order(self, which: int, lines: list[tuple[int, int]], fate: str, *, at_once: bool, **more: Any) -> None:
        """The shop asks for a return, and tells `more` of it."""
        intent, currency = pick(self.payments, which)
        odd = 0 if currency in STEPS else 1  # amounts that don't split evenly
        wanted = [
            {"sku": f"SKU-{n}", "quantity": units, "total_amount": share and share * 100 + odd}
            for n, (units, share) in enumerate(lines, 1)
        ]
        body = {
            "order_id": f"order of {intent}", "payment_intent": intent, "currency": currency, "lines": wanted,
            "shipping_amount": SHIPPING, **more,
        }  # fmt: skip
        shown = ", ".join(f"{line['quantity']} for {line['total_amount']}" for line in wanted)
        answer = self.ask(f"a return on {intent} of {shown} {more or ''}", "create_return", {}, body, fate)
        if at_once and answer is not None and answer.done and answer.shown["state"] == "requested":
            self.decide_on(answer.shown["id"], "approve", actor="usr_anna")

    @rule(
        which=WHICH, lines=LINES, fate=FATES, units=st.sampled_from([None, 2, 4, 6]), at_once=st.booleans(),
        wanted=st.sampled_from(["refund", "refund", "exchange", "store_credit"]),
    )  # fmt: skip
    def of_an_order(
        self, which: int, lines: list[tuple[int, int]], fate: str, units: int | None, wanted: str, at_once: bool
    ) -> None:
        """The shop asks for a return that tells how many units its order has, and what the customer wants."""
        more = {"order_units": units} if units else {}
        self.open_of_order(which, lines, fate, at_once=at_once, resolution=wanted, **more)

    @precondition(lambda self: self.returns)
    @rule(which=WHICH, adjustments=ADJUSTMENTS, amount=st.sampled_from([None, None, 50, 200]), fate=FATES)
    def adjust(self, which: int, adjustments: list[tuple[str, int, bool]], amount: int | None, fate: str) -> None:
        """A person refunds a return, and adds to it or takes off, perhaps for its first line."""
        name = pick(self.returns, which)
        decided = [
            {"kind": kind, "amount": value, "description": "agreed"}
            | ({"line": self.lines_of(name)[0]} if of_line else {})
            for kind, value, of_line in adjustments
        ]
        body = {"adjustments": decided, "override_reason": "agreed"} | ({"amount": amount} if amount else {})
        words = f"refund {name} by {amount or 'what is due'}, {', '.join(f'{k} {v}' for k, v, _ in adjustments)}"
        self.ask(words, "refund_return", {"return_id": name}, body, fate, "usr_ben")

    @precondition(lambda self: self.returns)
    @rule(which=WHICH, shipping=st.sampled_from([0, 50, 100]), units=st.sampled_from([None, 1, 2]), fate=FATES)
    def change(self, which: int, shipping: int, units: int | None, fate: str) -> None:
        """The shop corrects a request: its shipping, or its lines."""
        asked = [row.id for row in self.rows("return_authorization") if row.state == "requested"]
        name = pick(asked or self.returns, which)
        body: dict[str, Any] = {"shipping_amount": shipping}
        if units:
            body = {"lines": [{"sku": "SKU-1", "quantity": units, "total_amount": 200}]}
        self.ask(f"change {name}: {body}", "update_return", {"return_id": name}, body, fate)

    @rule(policy=st.sampled_from(list(POLICIES)))
    def policy_changes(self, policy: str) -> None:
        """The shop puts another policy in force: what was approved before goes by the one of its approval."""
        self.live_by(POLICIES[policy])
        self.tell(f"from now on the policy takes {policy}")
