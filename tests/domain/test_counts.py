"""C1: a line's counts are a function of its standing receipts: no order of receipts or corrections changes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from returns_service.domain.counts import PLACEHOLDERS, CountedUnits, LineCounts, count_line, default_disposition
from returns_service.domain.vocabulary import CONDITIONS

LINE = 3


@st.composite
def some_units(draw: st.DrawFn) -> CountedUnits:
    condition = draw(st.sampled_from(CONDITIONS))
    accepted = draw(st.sampled_from([None, condition not in PLACEHOLDERS, False]))
    return CountedUnits(condition, draw(st.integers(1, 4)), accepted)


ROWS = st.lists(some_units(), max_size=6)


def totals(counts: LineCounts) -> tuple[dict[str, int], dict[str, int], int, int]:
    return counts.accepted, counts.rejected, counts.inspecting, counts.surplus


def counted(counts: LineCounts) -> int:
    return sum(counts.accepted.values()) + sum(counts.rejected.values()) + counts.inspecting


@given(ROWS, st.integers(1, 5), st.data())
def test_any_order_ends_in_the_same_counts(rows: list[CountedUnits], quantity: int, data: st.DataObject) -> None:
    """C1: receipts in any order count the same, and so do units that one receipt or several tell of."""
    shuffled = data.draw(st.permutations(rows))
    assert totals(count_line(quantity, shuffled)) == totals(count_line(quantity, rows))
    one_by_one = [CountedUnits(row.condition, 1, row.accepted) for row in rows for _ in range(row.quantity)]
    assert totals(count_line(quantity, one_by_one)) == totals(count_line(quantity, rows))


@given(ROWS, some_units(), st.integers(1, 5))
def test_a_reversed_receipt_leaves_no_trace(rows: list[CountedUnits], reversed_: CountedUnits, quantity: int) -> None:
    """C1: what stands decides; a receipt that came and was reversed changed nothing."""
    with_it = count_line(quantity, [*rows, reversed_])
    without = count_line(quantity, rows)
    assert with_it.surplus >= without.surplus
    assert sum(with_it.accepted.values()) >= sum(without.accepted.values())


@given(ROWS, st.integers(1, 5), st.integers(0, 4))
def test_counts_never_exceed_the_line(rows: list[CountedUnits], quantity: int, decided: int) -> None:
    """C1: what a line has no place for is a surplus, each unit once."""
    counts = count_line(quantity, rows, decided)
    here = max(0, sum(row.quantity for row in rows if row.is_here) - decided)
    assert counted(counts) == sum(counts.counting) <= quantity
    assert all(0 <= units <= row.quantity for units, row in zip(counts.counting, rows, strict=True))
    assert counts.surplus == max(0, here - quantity)
    placed = sum(units for units, row in zip(counts.counting, rows, strict=True) if row.is_here)
    assert placed == min(quantity, here)


@given(ROWS, st.integers(1, 5))
def test_accepted_units_come_first_and_missing_ones_last(rows: list[CountedUnits], quantity: int) -> None:
    """C1: accepted, then inspecting, then rejected units fill the line; missing ones only what is left."""
    counts = count_line(quantity, rows)
    accepted = sum(row.quantity for row in rows if row.is_here and row.accepted)
    assert sum(counts.accepted.values()) == min(quantity, accepted)
    missing = sum(units for units, row in zip(counts.counting, rows, strict=True) if not row.is_here)
    here = sum(row.quantity for row in rows if row.is_here)
    assert missing == min(sum(row.quantity for row in rows) - here, max(0, quantity - here))


def test_a_unit_that_comes_later_takes_the_place_of_a_missing_one() -> None:
    """C1: the missing unit comes a week later."""
    rows = [CountedUnits("new", 2, True), CountedUnits("missing", 1, False), CountedUnits("opened", 1, True)]
    assert count_line(LINE, rows) == LineCounts({"new": 2, "opened": 1}, {}, 0, (2, 0, 1), 0)


def test_a_surplus_that_was_sent_back_does_not_count_once_there_is_room() -> None:
    """C1: two came for one and one was sent back; the reversal of a scan leaves none, not the one that is gone."""
    assert count_line(1, [CountedUnits("new", 1, True)], decided=1) == LineCounts({}, {}, 0, (0,), 0)


def test_what_is_not_accepted_goes_back_to_the_customer() -> None:
    """C7: the default disposition of what the policy doesn't accept; nothing can be done with a missing unit."""
    usual = {(c, a): default_disposition(c, a) for c in CONDITIONS for a in (True, False)}
    assert {c for (c, a), to in usual.items() if not a and to != "return_to_customer"} == {"missing"}
    assert (usual["new", True], usual["opened", True], usual["damaged", True]) == ("restock", "restock", "scrap")
