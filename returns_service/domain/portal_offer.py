"""What a customer would get back for the items they tick: the rules of a return's estimate, before there is one.

Amounts are minor units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from returns_service.domain import money
from returns_service.domain.money_ways import split_by_way
from returns_service.domain.policy import Decision, Policy
from returns_service.domain.vocabulary import Resolution


@dataclass(frozen=True, slots=True)
class OfferedLine:
    """Units of one SKU that a link offers to send back. `total_amount`: what the customer paid for all of them."""

    sku: str
    quantity: int
    total_amount: int
    title: str | None = None
    order_line: str | None = None
    quantity_ordered: int | None = None
    barcodes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """What the customer knows it by."""
        return self.title or self.sku

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> OfferedLine:
        """Return the line that a portal session stores."""
        return cls(**stored)


@dataclass(frozen=True, slots=True)
class Pick:
    """Units of one offered line (its place in the list) that the customer ticked, why, and what they want for them.

    No reason yet: empty.
    """

    line: int
    quantity: int
    reason: str = ""
    resolution: Resolution = "refund"

    def to_dict(self) -> dict[str, Any]:
        """Return the pick as it is stored."""
        return {
            "line": self.line, "quantity": self.quantity, "reason": self.reason, "resolution": self.resolution,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Pick:
        """Return the pick that `to_dict` stored; one of a release without resolutions wants a refund."""
        return cls(stored["line"], stored["quantity"], stored["reason"], stored.get("resolution", "refund"))


@dataclass(frozen=True, slots=True)
class Offer:
    """What the policy in force says of the picks, and the rows that sum to the amount.

    `approves_itself`: sent as it is, it needs no person.
    `amount_outside` is the part of the amount that is given as store credit or in an exchange.
    """

    rows: tuple[money.Row, ...]
    amount: int
    amount_outside: int
    wanted: frozenset[Resolution]
    decision: Decision
    approves_itself: bool

    @property
    def amount_refunded(self) -> int:
        """The part of the amount that goes back to how the customer paid, minor units."""
        return self.amount - self.amount_outside


def amount_of(line: OfferedLine, units: int, currency: str) -> int:
    """Return what the customer paid for some units of a line, floored to the currency's step."""
    return money.line_value(line.total_amount, line.quantity, units, money.step(currency))


def make_offer(
    policy: Policy,
    lines: Sequence[OfferedLine],
    picks: Sequence[Pick],
    *,
    terms: money.Terms,
    decision: Decision,
    approves_itself: bool,
) -> Offer:
    """Return the offer for the picks on these terms: every unit counted as new, fees and shipping in."""
    priced = [
        money.PricedLine(
            id=str(pick.line),
            position=number,
            title=lines[pick.line].name,
            quantity=pick.quantity,
            total_amount=amount_of(lines[pick.line], pick.quantity, terms.currency),
            accepted={},
            restocking=not policy.waives_restocking(pick.reason or None),
        )
        for number, pick in enumerate(picks)
    ]
    rows = money.entitlement(money.accept_all(priced), terms)
    amount = money.due(rows)
    outside = {str(pick.line) for pick in picks if pick.resolution != "refund"}
    amount_outside = money.due(split_by_way(rows, outside, []).outside)
    wanted = frozenset(pick.resolution for pick in picks)
    return Offer(tuple(rows), amount, amount_outside, wanted, decision, approves_itself)
