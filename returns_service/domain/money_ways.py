"""By which way each due row is paid: through Stripe, or outside, as store credit or in an exchange.

Pure; amounts are minor units.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from returns_service.domain.money import Row, take, total
from returns_service.domain.money_open import subtract


@dataclass(frozen=True, slots=True)
class DueRows:
    """The rows that are still due: those to refund through Stripe, and those to settle outside."""

    refund: list[Row]
    outside: list[Row]


def split_by_way(rows: Sequence[Row], outside_lines: Collection[str], failed: Sequence[Row]) -> DueRows:
    """Return the due rows by the way they are paid.

    Units of `outside_lines` are settled outside, but for what is open of failed refunds (`failed`): that stays with
    them, also where nobody knows the units it was for. Deductions that the refunds can't bear alone lower what is
    settled outside, so that both come to the sum.
    """
    if not outside_lines:
        return DueRows(list(rows), [])
    held = _sum_by_line(failed)
    refund = [row for row in rows if not _is_of(row, outside_lines)]
    outside: list[Row] = []
    for line in dict.fromkeys(row.line for row in rows if _is_of(row, outside_lines)):
        mine = [row for row in rows if row.line == line and _is_of(row, outside_lines)]
        worth = total(mine)
        kept = max(0, min(held.get(line, 0), worth))
        if worth <= kept:
            refund += mine
        elif kept:
            staying = take(mine, kept)
            refund += staying
            outside += subtract(mine, staying)
        else:
            outside += mine
    missing = min(total(failed), total(rows)) - total(refund)
    if failed and outside and missing > 0:
        staying = take(outside, min(missing, total(outside)))
        refund, outside = [*refund, *staying], subtract(outside, staying)
    if outside and total(refund) < 0:
        return DueRows([], [*outside, *refund])
    return DueRows(refund, outside)


def _sum_by_line(rows: Sequence[Row]) -> dict[str | None, int]:
    sums: dict[str | None, int] = {}
    for row in rows:
        sums[row.line] = sums.get(row.line, 0) + row.amount
    return sums


def _is_of(row: Row, lines: Collection[str]) -> bool:
    """Return whether a row pays units of these lines; the difference to a cheaper article is refunded."""
    return row.line in lines and not row.adjustment and row.kind != "exchange_difference"


def add_differences(rows: Sequence[Row], settleable: Sequence[Row], exchange_lines: Collection[str]) -> list[Row]:
    """Return `rows` of an exchange that paid less than its lines are worth: the rest of these becomes due as refund.

    The lines are paid whole, and a row takes the difference off again: given back, it is due. `rows` were taken out of
    `settleable`.
    """
    touched = {row.line for row in rows if row.line in exchange_lines and row.amount > 0}
    rest = [row for row in subtract(settleable, rows) if row.line in touched]
    merged: dict[tuple[str, str | None], Row] = {}
    for row in [*rows, *rest]:
        before = merged.get((row.kind, row.line))
        merged[row.kind, row.line] = (
            replace(row, amount=row.amount + before.amount, units=row.units + before.units) if before else row
        )
    differences = []
    for line in dict.fromkeys(row.line for row in rest):
        left = total(row for row in rest if row.line == line)
        differences.append(Row("exchange_difference", -left, line, 0, "Price difference of the exchange"))
    return [*merged.values(), *differences]
