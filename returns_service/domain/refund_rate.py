"""The refund rate: money refunded in a time, divided by money captured in it. Amounts are minor units."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal


def refund_rate(refunded: int, charged: int) -> float | None:
    """Return the rate; None where nothing was charged, so that there is none."""
    return refunded / charged if charged > 0 else None


def is_above(limit: float, refunded: int, charged: int) -> bool:
    """Return whether more than `limit` of what was charged was refunded; never where nothing was charged."""
    return charged > 0 and refunded > Decimal(str(limit)) * charged


def is_above_so_far(limit: float, refunded: int, charged: int, charged_before: int) -> bool:
    """Return whether a day that is not over is above the limit already.

    Held against what the day before charged where that is more: the first refunds of a morning are no alarm.
    """
    return is_above(limit, refunded, max(charged, charged_before))


def quantile(counts: Mapping[int, int], share: float) -> int | None:
    """Return the least value within which `share` of all lie; `counts` says how often each value is there."""
    total, passed = sum(counts.values()), 0
    for value in sorted(counts):
        passed += counts[value]
        if passed >= share * total:
            return value
    return None
