"""B1, B2: whatever happens in whatever order, paid, settled, waived and due come to what is owed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from returns_service.domain import money
from returns_service.domain.money import PricedLine, Row, Terms
from returns_service.domain.money_open import limit_to_due, subtract
from returns_service.domain.money_ways import DueRows, add_differences, split_by_way
from tests.domain.test_money import a_return

MOVES = [
    "count", "correct", "pay", "pay", "fail", "part", "waive", "resolve", "resolve", "settle", "exchange", "assign",
]  # fmt: skip


@dataclass
class Books:
    """A return's money as rows alone: what was paid, what failed, what is left of that, what the customer wants."""

    whole: list[PricedLine]
    terms: Terms
    counted: dict[str, Mapping[str, int]] = field(default_factory=dict)  # line -> accepted units by condition
    wanted: dict[str, str] = field(default_factory=dict)  # line -> store credit or exchange
    paid: list[list[Row]] = field(default_factory=list)
    failed: list[list[Row]] = field(default_factory=list)

    @property
    def entitled(self) -> list[Row]:
        lines = [replace(line, accepted=self.counted.get(line.id, {})) for line in self.whole]
        return money.entitlement(lines, self.terms)

    @property
    def committed(self) -> list[Row]:
        return [row for rows in self.paid for row in rows]

    @property
    def outstanding(self) -> list[Row]:
        return money.outstanding(self.entitled, self.committed)

    @property
    def open(self) -> list[list[Row]]:
        return limit_to_due(self.failed, self.outstanding)

    @property
    def ways(self) -> DueRows:
        return split_by_way(self.outstanding, self.wanted, [r for rows in self.open for r in rows if not r.adjustment])

    def check(self) -> None:
        """Paid, settled, waived and due come to what is owed, whichever way each part goes."""
        committed, ways = self.committed, self.ways
        waived = -sum(row.amount for row in committed if row.kind == "reduction")
        over = money.overpaid_amount(self.entitled, committed)
        told = money.total(committed) + waived + money.total(self.outstanding) - over
        assert told == money.total(self.entitled)
        assert money.due(ways.refund) + money.due(ways.outside) == money.due(self.outstanding)
        assert sum(money.total(rows) for rows in self.open) <= money.due(self.outstanding)
        held = {row.line for rows in self.open for row in rows}
        if ways.outside:
            through = {row.line for row in ways.refund if row.kind == "line" and row.amount > 0} - held
            assert not through & self.wanted.keys(), "units that are not refunded are never paid through Stripe"

    def settle(self, amount: int, *, exchange: bool) -> None:
        """Settle a part of what is due outside; an exchange for less leaves the rest of its lines due as refund."""
        outside = self.ways.outside
        rows = money.take(outside, amount)
        if exchange:
            rows = add_differences(rows, outside, [line for line, word in self.wanted.items() if word == "exchange"])
        assert money.total(rows) == amount
        self.paid.append(rows)


def play(books: Books, data: st.DataObject, move: str) -> None:
    """Let one thing happen, where it can."""
    line = data.draw(st.sampled_from(books.whole))
    if move == "count":
        books.counted[line.id] = line.accepted
    elif move == "correct":
        books.counted[line.id] = {name: units // 2 for name, units in books.counted.get(line.id, {}).items()}
    elif move == "pay" and not any(books.open) and money.due(books.ways.refund):
        books.paid.append(books.ways.refund)
    elif move == "fail" and books.paid:
        books.failed.append(books.paid.pop(data.draw(st.integers(0, len(books.paid) - 1))))
    elif move in ("part", "waive") and any(books.open):
        number = next(n for n, rows in enumerate(books.open) if rows)
        rows = books.open[number]
        amount = data.draw(st.integers(1, money.total(rows)))
        taken = money.take(rows, amount) if move == "part" else money.adjust_to(rows, amount, "agreed")
        books.failed[number] = subtract(books.failed[number], taken) if move == "part" else []
        books.paid.append(taken)
    elif move == "resolve":
        books.wanted[line.id] = data.draw(st.sampled_from(["store_credit", "exchange", "refund"]))
        if books.wanted[line.id] == "refund":
            del books.wanted[line.id]
    elif move in ("settle", "exchange") and money.due(books.ways.outside):
        amount = data.draw(st.integers(1, money.due(books.ways.outside)))
        books.settle(amount, exchange=move == "exchange")
    elif move == "assign":
        amount = data.draw(st.integers(1, 50_000))
        unpaid = [*books.ways.refund, *books.ways.outside]
        rows = money.take(unpaid, min(amount, money.due(unpaid))) if money.due(unpaid) else []
        books.paid.append([*rows, Row("unallocated", amount - money.total(rows))])


@given(a_return(), st.data())
def test_any_order_of_what_happens_ends_in_the_same_sums(
    whole: tuple[list[PricedLine], Terms], data: st.DataObject
) -> None:
    books = Books(*whole)
    for move in data.draw(st.lists(st.sampled_from(MOVES), max_size=14)):
        play(books, data, move)
        books.check()
    while any(books.open):
        number = next(n for n, rows in enumerate(books.open) if rows)
        books.paid.append(books.open[number])
        books.failed[number] = []
        books.check()
    for _ in range(2):  # the difference of an exchange becomes due once more
        if due := money.due(books.ways.outside):
            books.settle(due, exchange=True)
            books.check()
        if money.due(books.ways.refund):
            books.paid.append(books.ways.refund)
            books.check()
    assert money.due(books.outstanding) == 0


def test_b2_an_exchange_for_less_leaves_the_rest_due_as_refund() -> None:
    due = [Row("line", 10_000, "a", 1)]
    rows = add_differences(money.take(due, 7000), due, ["a"])
    assert [(row.kind, row.amount, row.units) for row in rows] == [
        ("line", 10_000, 1),
        ("exchange_difference", -3000, 0),
    ]
    rest = split_by_way(money.outstanding(due, rows), ["a"], [])
    assert [(row.kind, row.amount) for row in rest.refund] == [("exchange_difference", 3000)]
    assert rest.outside == []


def test_b2_a_label_that_refunds_cannot_bear_lowers_what_is_settled_outside() -> None:
    rows = [Row("line", 10_000, "a", 1), Row("line", 300, "b", 1), Row("label", -500)]
    ways = split_by_way(rows, ["a"], [])
    assert (money.total(ways.refund), money.total(ways.outside)) == (0, 9800)
    ways = split_by_way([*rows, Row("shipping", 1000)], ["a"], [])
    assert (money.total(ways.refund), money.total(ways.outside)) == (800, 10_000)


def test_b2_what_a_failed_refund_holds_of_a_line_stays_with_it() -> None:
    ways = split_by_way([Row("line", 9000, "a", 3)], ["a"], [Row("line", 3000, "a", 1)])
    assert (money.total(ways.refund), money.total(ways.outside)) == (3000, 6000)


def test_b2_what_a_failed_refund_of_unknown_units_holds_stays_with_it() -> None:
    rows, failed = [Row("line", 501, "a", 3), Row("shipping", 100)], [Row("shipping", 100), Row("unallocated", 167)]
    ways = split_by_way(rows, ["a"], [*failed, Row("line", 334, "a", 2)])
    assert (money.total(ways.refund), money.total(ways.outside)) == (601, 0)
    ways = split_by_way([*rows, Row("line", 900, "b", 1)], ["a"], failed)
    assert (money.total(ways.refund), money.total(ways.outside)) == (1000, 501)
