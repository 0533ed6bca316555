"""Shipping is the order's: paid once for an order and payment, whatever the number of its returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from returns_service.domain import money, return_machine
from returns_service.domain.money_ways import split_by_way

if TYPE_CHECKING:
    from returns_service.return_case.case import ReturnCase
    from returns_service.store.tables import Refund


def terms(case: ReturnCase, lines: Sequence[money.PricedLine], *, planned: bool) -> money.Terms:
    """Return the policy's money rules for these lines: shipping is what the order's other returns leave of it.

    `planned`: as if all that is authorized had come back, of the others too.
    """
    paid = case.row.shipping_amount
    left = max(0, paid - shipping_claimed(case)) if paid else 0
    found = case.policy.terms(case.row.currency, shipping_amount=left)
    whole = order_units(case)
    if whole is None:
        return found
    units = sum(line.units for line in lines) + sum(units_back(other, planned=planned) for other in case.siblings)
    return replace(found, order_complete=units >= whole)


def order_units(case: ReturnCase) -> int | None:
    """Return how many units the whole order has, as far as any return of it has told; the greatest number holds."""
    numbers = [one.row.order_units for one in (case, *case.siblings) if one.row.order_units is not None]
    return max(numbers, default=None)


def units_back(case: ReturnCase, *, planned: bool) -> int:
    """Return how many units of a return have come back and were accepted, while it is in force."""
    if case.row.state not in return_machine.LIVE:
        return 0
    ahead = planned or case.policy.refund_on == "approval"
    if ahead and case.row.closed_at is None:
        return sum(line.quantity for line in case.lines)
    return sum(units for line in case.lines for units in line.accepted.values())


def shipping_claimed(case: ReturnCase) -> int:
    """Return how much of the order's shipping is paid otherwise, minor units: by its other returns, or by a decision.

    A failed refund claims it until it is superseded.
    """
    return sum(
        row.amount
        for one in (case, *case.siblings)
        for refund in one.refunds
        for row in one.claimed_rows(refund)
        if row.kind == "shipping" and (row.adjustment or one is not case)
    )


def pays_undue_shipping(case: ReturnCase, refund: Refund) -> bool:
    """Return whether a refund of the return pays shipping that is due with it no more."""
    paid = shipping_in(row for row in case.claimed_rows(refund) if not row.adjustment)
    return paid > 0 and shipping_in(row for row in case.committed_rows() if not row.adjustment) > shipping_in(
        case.entitled_rows()
    )


def headroom(case: ReturnCase) -> int:
    """Return what the payment has left beside the approved returns before this one, minor units.

    Shipping is needed once an order, whichever of its returns it is paid with.
    """
    shipping = {case.row.order_id: shipping_in(case.rows_if_all_comes())}
    left = case.refundable
    for other in case.neighbours:
        owed = other.authorized_rows() if other.row.closed_at is None else other.entitled_rows()
        unpaid = money.outstanding(owed, other.committed_rows())
        needed, counted = shipping_in(unpaid), shipping.get(other.row.order_id, 0)
        refund = money.due(split_by_way(unpaid, other.outside_lines, []).refund)
        left -= max(0, refund - min(needed, counted))
        shipping[other.row.order_id] = max(needed, counted)
    return left


def shipping_in(rows: Iterable[money.Row]) -> int:
    """Return what the rows pay for shipping, minor units."""
    return sum(row.amount for row in rows if row.kind == "shipping")
