"""B1: a failed refund is paid in parts, and no part pays more than is still due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain import money
from returns_service.domain.money import Row, Terms
from returns_service.domain.money_open import limit_to_due, subtract
from tests.domain.test_money import a_return


@given(a_return(), st.lists(st.integers(1, 200_000), max_size=5))
def test_b1_parts_and_what_is_left_sum_to_the_refund(
    given_return: tuple[list[money.PricedLine], Terms], amounts: list[int]
) -> None:
    rows = money.entitlement(*given_return)
    left, paid = list(rows), 0
    for asked in amounts:
        if (limit := money.total(left)) <= 0:
            break
        taken = money.take(left, min(asked, limit))
        left, paid = subtract(left, taken), paid + money.total(taken)
        assert paid + money.total(left) == money.total(rows)
        assert all(row.units >= 0 for row in left)


def test_b1_a_part_takes_its_rows_as_a_smaller_refund_does() -> None:
    """The units of a line go with the part that pays the last of it."""
    rows = [Row("line", 10_000, "rli_1", 3), Row("label", -500)]
    first = money.take(rows, 5000)
    assert first == [Row("label", -500), Row("line", 5500, "rli_1", 0)]
    assert subtract(rows, first) == [Row("line", 4500, "rli_1", 3)]


@pytest.mark.parametrize(
    "failed, outstanding, amounts",
    [
        ([[Row("line", 10_000, "a", 3)]], [Row("line", 6666, "a", 2)], [6666]),  # a correction took a unit away
        ([[Row("line", 3333, "a", 1)], [Row("line", 3333, "a", 1)]], [Row("line", 3333, "a", 1)], [3333, 0]),
        ([[Row("line", 10_000, "a", 3)]], [Row("line", 10_000, "a", 3), Row("unallocated", -4000)], [6000]),
        ([[Row("line", 5000, "a", 1), Row("line", 4000, "b", 1)]], [Row("line", 4000, "b", 1)], [4000]),
        ([[Row("unallocated", 5000)]], [Row("line", 3000, "a", 1)], [3000]),
        ([[Row("line", 5000, "a", 1), Row("goodwill", 500, adjustment=True)]], [], [500]),
        ([[Row("line", 5000, "a", 1), Row("reduction", -500, adjustment=True)]], [], [0]),
        ([[Row("line", 5000, "a", 1), Row("label", -500)]], [Row("line", 5000, "a", 1)], [5000]),  # another bore it
        (  # what people took off is all that is due of the first one: it claims nothing that the other waits for
            [[Row("line", 5000, "a", 1), Row("reduction", -3000, adjustment=True)], [Row("line", 3000, "a", 1)]],
            [Row("line", 3000, "a", 1)],
            [0, 3000],
        ),
    ],
)
def test_b1_no_more_is_open_than_is_due(failed: list[list[Row]], outstanding: list[Row], amounts: list[int]) -> None:
    assert [money.total(rows) for rows in limit_to_due(failed, outstanding)] == amounts
