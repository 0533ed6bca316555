"""The tax in each row of a breakdown: cumulative over what was paid of a line, as its value is, and exact in sum.

Pure; amounts are minor units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from returns_service.domain.money import Row, part_of

LOWERS_ALL = ("reduction", "deduction")  # rows that take their share of the tax of all the others off


@dataclass(frozen=True, slots=True)
class TaxedAmount:
    """An amount that was paid, and the tax in it."""

    total: int
    tax: int

    def tax_in(self, paid: int) -> int:
        """Return how much of the tax lies in `paid` of the amount: the whole tax once all is paid, and never more."""
        if self.total <= 0 or paid <= 0:
            return 0
        return self.tax * min(paid, self.total) // self.total


def add_taxes(rows: Sequence[Row], committed: Iterable[Row], amounts: Mapping[str, TaxedAmount]) -> list[Row]:
    """Return rows with their taxes; `committed` are the rows that are paid, or on their way, with theirs.

    `amounts` tell the tax by part, a line's id or `shipping`. In any order of payments, the taxes of a part sum to the
    tax in what was paid of it. What people decided beside the lines bears none, but for a reduction: it
    lowers the tax as it lowers the sum.
    """
    paid: dict[str, int] = {}
    taxes: dict[str, int] = {}
    for row in committed:
        if _is_taxed(row, amounts):
            paid[part_of(row)] = paid.get(part_of(row), 0) + row.amount
            taxes[part_of(row)] = taxes.get(part_of(row), 0) + row.tax_amount
    done = []
    for row in rows:
        if not _is_taxed(row, amounts):
            done.append(replace(row, tax_amount=0))
            continue
        part = part_of(row)
        paid[part] = paid.get(part, 0) + row.amount
        tax = amounts[part].tax_in(paid[part]) - taxes.get(part, 0)
        taxes[part] = taxes.get(part, 0) + tax
        done.append(replace(row, tax_amount=tax))
    return _lower(done)


def _is_taxed(row: Row, amounts: Mapping[str, TaxedAmount]) -> bool:
    return part_of(row) in amounts and (not row.adjustment or row.kind == "shipping")


def _lower(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the tax that reductions take off, in proportion to what they take off the amount."""
    amount = sum(row.amount for row in rows if row.kind not in LOWERS_ALL)
    tax = sum(row.tax_amount for row in rows)
    if amount <= 0 or tax <= 0:
        return list(rows)
    lowered, off, off_before = [], 0, 0
    for row in rows:
        if row.kind in LOWERS_ALL:
            off = min(amount, off - row.amount)
            share = tax * off // amount
            lowered.append(replace(row, tax_amount=off_before - share))
            off_before = share
        else:
            lowered.append(row)
    return lowered
