"""B10: the tax in each row of a breakdown is cumulative, as its value is, and exact in sum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from returns_service.domain import money
from returns_service.domain.money import Row, Terms
from returns_service.domain.money_tax import TaxedAmount, add_taxes
from tests.domain.test_money import a_return


@given(a_return(), st.data())
def test_b10_taxes_of_a_part_sum_to_the_tax_in_what_was_paid(
    whole: tuple[list[money.PricedLine], Terms], data: st.DataObject
) -> None:
    """In whatever parts it is paid, and whichever of them fail and are paid again."""
    lines, terms = whole
    amounts = {
        line.id: TaxedAmount(line.total_amount, data.draw(st.integers(0, line.total_amount))) for line in lines
    } | {"shipping": TaxedAmount(terms.shipping_amount, data.draw(st.integers(0, terms.shipping_amount)))}
    paid: list[list[Row]] = []

    def committed() -> list[Row]:
        return [row for rows in paid for row in rows]

    fails = st.booleans()
    for _ in range(data.draw(st.integers(1, 6))):
        unpaid = money.outstanding(money.entitlement(lines, terms), committed())
        if bool(paid) and data.draw(fails):
            paid.pop(data.draw(st.integers(0, len(paid) - 1)))
        elif due := money.due(unpaid):
            rows = add_taxes(money.take(unpaid, data.draw(st.integers(1, due))), committed(), amounts)
            paid.append(rows)
            for part in amounts.keys() & {money.part_of(row) for row in rows}:  # what this refund pays of
                mine = [row for row in committed() if money.part_of(row) == part]
                assert sum(row.tax_amount for row in mine) == amounts[part].tax_in(money.total(mine))


@pytest.mark.parametrize("split", [[1, 1, 1], [2, 1], [3]])
def test_b10_three_units_with_a_tax_of_nineteen_hundredths(split: list[int]) -> None:
    amounts = {"a": TaxedAmount(10_000, 1597)}
    paid: list[Row] = []
    units = 0
    for more in split:
        before, units = units, units + more
        value = money.line_value(10_000, 3, units) - money.line_value(10_000, 3, before)
        paid += add_taxes([Row("line", value, "a", more)], paid, amounts)
    assert sum(row.tax_amount for row in paid) == 1597
    if split == [1, 1, 1]:
        assert [row.tax_amount for row in paid] == [532, 532, 533]


def test_b10_a_reduction_lowers_the_tax_as_it_lowers_the_sum() -> None:
    rows = [Row("line", 10_000, "a", 1), Row("reduction", -4000, adjustment=True)]
    assert [row.tax_amount for row in add_taxes(rows, [], {"a": TaxedAmount(10_000, 1597)})] == [1597, -638]
    halves = [*rows[:1], Row("deduction", -5000, adjustment=True), Row("reduction", -5000, adjustment=True)]
    taxed = add_taxes(halves, [], {"a": TaxedAmount(10_000, 1597)})
    assert sum(row.tax_amount for row in taxed) == 0


def test_b10_fees_lower_it_and_goodwill_and_labels_bear_none() -> None:
    rows = [
        Row("line", 10_000, "a", 1), Row("restocking_fee", -1000, "a"), Row("label", -500),
        Row("goodwill", 300, adjustment=True), Row("shipping", 1000, adjustment=True),
    ]  # fmt: skip
    taxed = add_taxes(rows, [], {"a": TaxedAmount(10_000, 2000), "shipping": TaxedAmount(1000, 200)})
    assert [row.tax_amount for row in taxed] == [2000, -200, 0, 0, 200]


def test_b10_no_more_than_the_tax_is_ever_in_it() -> None:
    whole = Row("line", 10_000, "a", 1)
    taxed = add_taxes([replace(whole, amount=12_000)], [], {"a": TaxedAmount(10_000, 2000)})
    assert [row.tax_amount for row in taxed] == [2000]
    assert add_taxes([whole], [], {"a": TaxedAmount(0, 0)})[0].tax_amount == 0
