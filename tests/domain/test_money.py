"""Money is a function of counts alone, and every breakdown sums to the cent."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain import money
from returns_service.domain.money import PricedLine, Row, Terms
from returns_service.domain.refund_mark import RefundMark, read_mark, write_mark

CURRENCIES = st.sampled_from(["usd", "eur", "jpy", "isk", "kwd", "ugx"])
CONDITIONS = ["new", "opened", "damaged"]


@st.composite
def a_line(draw: st.DrawFn, currency: str = "usd", number: int = 0) -> PricedLine:
    quantity = draw(st.integers(1, 9))
    total = draw(st.integers(0, 100_000)) * money.step(currency)
    counts = draw(st.lists(st.sampled_from(CONDITIONS), max_size=quantity))
    accepted = {c: counts.count(c) for c in set(counts)}
    return PricedLine(f"rli_{number}", number, f"Thing {number}", quantity, total, accepted, draw(st.booleans()))


@st.composite
def a_return(draw: st.DrawFn) -> tuple[list[PricedLine], Terms]:
    currency = draw(CURRENCIES)
    lines = [draw(a_line(currency, number)) for number in range(draw(st.integers(1, 3)))]
    # A policy and a shop may say any amount, also one that the currency can't move.
    fees = {c: (draw(st.integers(0, 10_000)), draw(st.integers(0, 5000))) for c in CONDITIONS}
    terms = Terms(
        currency=currency,
        restocking=fees,
        label_cost=draw(st.integers(0, 50_000)),
        shipping_amount=draw(st.integers(0, 50_000)),
        shipping_refunded=draw(st.sampled_from(["never", "full_return", "always"])),
    )
    return lines, terms


@given(total=st.integers(0, 10**12), quantity=st.integers(1, 1000), data=st.data())
def test_any_run_of_receipts_sums_to_the_total(total: int, quantity: int, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, quantity))) | {0, quantity})
    paid = [money.line_value(total, quantity, b) - money.line_value(total, quantity, a) for a, b in pairwise(cuts)]
    assert sum(paid) == total
    assert all(part >= 0 for part in paid)


def test_three_units_of_a_hundred_dollars() -> None:
    assert [money.line_value(10000, 3, n) for n in range(4)] == [0, 3333, 6666, 10000]


@pytest.mark.parametrize("units", [-1, 4])
def test_more_units_than_there_are_is_an_error(units: int) -> None:
    with pytest.raises(ValueError, match="of 3 units"):
        money.line_value(100, 3, units)


@given(a_return())
def test_every_row_is_a_multiple_of_the_currencys_step(given_return: tuple[list[PricedLine], Terms]) -> None:
    lines, terms = given_return
    rows = money.entitlement(lines, terms)
    assert all(row.amount % money.step(terms.currency) == 0 for row in rows)


@given(a_return())
def test_what_is_paid_is_never_due_again(given_return: tuple[list[PricedLine], Terms]) -> None:
    lines, terms = given_return
    rows = money.entitlement(lines, terms)
    assert money.outstanding(rows, rows) == []


@given(a_return(), st.data())
def test_paying_the_differences_ends_in_the_same_sum(
    given_return: tuple[list[PricedLine], Terms], data: st.DataObject
) -> None:
    lines, terms = given_return
    committed: list[Row] = []
    partial = [line for line in lines if data.draw(st.booleans())]
    for step in (partial, lines):
        rows = money.outstanding(money.entitlement(step, terms), committed)
        if money.total(rows) > 0:
            committed += rows
    last = money.outstanding(money.entitlement(lines, terms), committed)
    assert money.due(last) == 0
    owed = money.total(money.entitlement(lines, terms))
    assert money.total(committed) == max(owed, money.total(committed))


@given(a_return(), st.integers(1, 10**6))
def test_an_adjusted_breakdown_sums_to_what_was_asked(
    given_return: tuple[list[PricedLine], Terms], amount: int
) -> None:
    lines, terms = given_return
    rows = money.adjust_to(money.entitlement(lines, terms), amount, "because")
    assert money.total(rows) == amount


@given(a_return())
def test_a_reduction_leaves_nothing_due(given_return: tuple[list[PricedLine], Terms]) -> None:
    lines, terms = given_return
    rows = money.entitlement(lines, terms)
    if money.total(rows) > 1:
        reduced = money.adjust_to(rows, 1, "agreed with the customer")
        assert money.due(money.outstanding(rows, reduced)) == 0


@given(a_return(), st.data())
def test_a_part_leaves_the_rest_due(given_return: tuple[list[PricedLine], Terms], data: st.DataObject) -> None:
    lines, terms = given_return
    rows = money.entitlement(lines, terms)
    if money.total(rows) > 0:
        amount = data.draw(st.integers(1, money.total(rows)))
        taken = money.take(rows, amount)
        assert money.total(taken) == amount
        assert money.due(money.outstanding(rows, taken)) == money.total(rows) - amount


@given(a_return())
def test_a_breakdown_survives_stripes_metadata(given_return: tuple[list[PricedLine], Terms]) -> None:
    lines, terms = given_return
    rows = money.entitlement(lines, terms)
    text = money.encode_breakdown(rows, {line.id: line.position for line in lines})
    named = {line.position: (line.id, line.title) for line in lines}
    back = money.decode_breakdown(text, named, money.total(rows))
    if rows:
        assert [(r.kind, r.line, r.units, r.amount) for r in back] == [
            (r.kind, r.line, r.units, r.amount) for r in rows
        ]


@given(st.text(max_size=60))
def test_metadata_that_nobody_can_read_is_one_unallocated_row(text: str) -> None:
    rows = money.decode_breakdown(text, {}, 700)
    assert money.total(rows) == 700


def test_a_breakdown_too_long_for_metadata_is_left_out_of_the_mark() -> None:
    lines = [PricedLine(f"rli_{n}", n, "x", 1, 10**9, {"new": 1}) for n in range(60)]
    rows = money.entitlement(lines, Terms("usd"))
    text = money.encode_breakdown(rows, {line.id: line.position for line in lines})
    mark = read_mark({"refund_id": "rfd_1", "lines": write_mark("rfd_1", "ret_1", text)})
    assert mark == RefundMark("ret_1", "")


def test_an_unallocated_refund_counts_against_what_is_due() -> None:
    entitled = [Row("line", 1000, "rli_1", 1)]
    assert money.due(money.outstanding(entitled, [Row("unallocated", 400)])) == 600


@pytest.mark.parametrize(
    "amount, currency, words",
    [
        (6235, "eur", "62.35 EUR"),
        (18400, "jpy", "18,400 JPY"),
        (41500, "kwd", "41.500 KWD"),
        (-150, "usd", "−1.50 USD"),
        (123400, "isk", "1,234.00 ISK"),
    ],
)
def test_amounts_read_as_people_read_them(amount: int, currency: str, words: str) -> None:
    assert money.format_amount(amount, currency) == words


def test_fees_are_floored_by_condition() -> None:
    line = PricedLine("rli_1", 0, "Mug", 3, 10000, {"opened": 1, "damaged": 1})
    terms = Terms("usd", {"opened": (1500, 0), "damaged": (5000, 25)})
    assert money.restocking_fee(line, terms) == 10000 * 1500 // 30000 + 10000 * 5000 // 30000 + 25


def test_a_reason_may_waive_the_fee() -> None:
    line = PricedLine("rli_1", 0, "Mug", 1, 10000, {"opened": 1}, restocking=False)
    assert money.restocking_fee(line, Terms("usd", {"opened": (5000, 0)})) == 0


def test_shipping_comes_back_with_the_last_unit() -> None:
    terms = Terms("usd", shipping_amount=500, shipping_refunded="full_return")
    half, whole = (PricedLine("rli_1", 0, "Mug", 2, 1000, {"new": n}) for n in (1, 2))
    assert money.total(money.entitlement([half], terms)) == 500
    assert money.total(money.entitlement([whole], terms)) == 1500
