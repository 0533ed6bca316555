"""The open rows of failed refunds: fewer than they had where a part was paid, or where less is due by now.

A failed refund may be paid in parts, through Stripe or by other means. Each part takes rows out of it; the rest
waits for a person. No part pays more of a line, or of all, than is still due. Pure; amounts are minor units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from returns_service.domain.money import Row, due, part_of, take, total


def subtract(rows: Sequence[Row], taken: Iterable[Row]) -> list[Row]:
    """Return what is left of `rows` once the rows `taken` out of them are gone."""
    gone: dict[tuple[str, str | None, bool], list[int]] = {}
    for row in taken:
        sums = gone.setdefault((row.kind, row.line, row.adjustment), [0, 0])
        sums[0] += row.amount
        sums[1] += row.units
    left = []
    for row in rows:
        sums = gone.get((row.kind, row.line, row.adjustment), [0, 0])
        amount = max(sums[0], row.amount) if row.amount < 0 else min(max(0, sums[0]), row.amount)
        units = min(sums[1], row.units)
        sums[0] -= amount
        sums[1] -= units
        if row.amount != amount:
            left.append(replace(row, amount=row.amount - amount, units=row.units - units))
    return left


def limit_to_due(failed: Sequence[Sequence[Row]], outstanding: Sequence[Row]) -> list[list[Row]]:
    """Return what each failed refund may still pay, the first one first: nothing is claimed by two of them.

    `failed` are their rows, `outstanding` the rows that are still due. What people decided beside them (adjustments)
    stays as it was.
    """
    left: dict[str, int] = {}
    for row in outstanding:
        left[part_of(row)] = left.get(part_of(row), 0) + row.amount
    in_all = due(outstanding)
    limited: list[list[Row]] = []
    for rows in failed:
        rest = dict(left)
        kept = _limit_parts([row for row in rows if not row.adjustment], rest)
        if total(kept) > in_all:
            kept = take(kept, in_all) if in_all else []
        decided = [row for row in rows if row.adjustment]
        if total([*kept, *decided]) <= 0:
            limited.append([])
            continue
        left, in_all = rest, in_all - max(0, total(kept))
        limited.append([*kept, *decided])
    return limited


def _limit_parts(rows: Sequence[Row], left: dict[str, int]) -> list[Row]:
    """Return the rows, of each part no more than is `left` of it; what they claim is taken off `left`."""
    kept: list[Row] = []
    for part in dict.fromkeys(part_of(row) for row in rows):
        mine = [row for row in rows if part_of(row) == part]
        wanted, there = total(mine), left.get(part, 0)
        if part == "unallocated":  # of units nobody knows: only the sum of all bounds it
            kept += mine
            continue
        if wanted < 0:  # a deduction that another refund bears by now is not borne twice
            borne = max(wanted, min(0, there))
            mine = mine if borne == wanted else [replace(mine[0], amount=borne, units=0)] if borne else []
            wanted = borne
        elif wanted > there:
            wanted = max(0, there)
            mine = take(mine, wanted) if wanted else []
        kept += mine
        left[part] = there - wanted
    return kept
