"""What a return is worth, as a function of counts alone, and breakdowns that sum to the cent.

All amounts are integers of minor units as Stripe counts them, floored to the currency's step.
https://docs.stripe.com/currencies
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from returns_service.domain.vocabulary import BREAKDOWN_KINDS, BreakdownKind, ShippingRefunded, find_word

ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())
HUNDREDS_ONLY = frozenset({"isk", "ugx"})  # sent times 100, ending in 00: no decimals in real life


def exponent(currency: str) -> int:
    """Return how many of an amount's digits are decimals, as Stripe counts them."""
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def step(currency: str) -> int:
    """Return the smallest amount Stripe can move in `currency`, in minor units."""
    return 100 if currency in HUNDREDS_ONLY else 10 if currency in THREE_DECIMAL else 1


def format_amount(amount: int, currency: str) -> str:
    """Return `amount` (minor units) as people read it: `62.35 EUR`, `18,400 JPY`, `−1.50 USD`."""
    places = exponent(currency)
    whole, part = divmod(abs(amount), 10**places)
    digits = f"{whole:,}" + (f".{part:0{places}d}" if places else "")
    return f"{'−' if amount < 0 else ''}{digits} {currency.upper()}"


def tell_excess(asked: int, paid: int, currency: str) -> str:
    """Return the sentence about lines that ask for more than was paid; amounts in minor units."""
    return f"Lines and shipping come to {format_amount(asked, currency)}, and {format_amount(paid, currency)} was paid."


def decimal_amount(amount: int, currency: str) -> str:
    """Return `amount` (minor units) as a decimal number, for machines and spreadsheets: `1234.50`, `-1.50`."""
    places = exponent(currency)
    whole, part = divmod(abs(amount), 10**places)
    return f"{'-' if amount < 0 else ''}{whole}" + (f".{part:0{places}d}" if places else "")


def line_value(total: int, quantity: int, units: int, floor_to: int = 1) -> int:
    """Return what the first `units` of a line's `quantity` units are worth, in minor units.

    Cumulative, floor(total * units / quantity), floored to `floor_to`; a refund pays the difference to what was paid
    before, so any run of partial receipts sums to `total`. Raises ValueError unless 0 <= units <= quantity > 0.
    """
    if not 0 <= units <= quantity or quantity == 0:
        raise ValueError(f"{units} of {quantity} units")
    return total * units // quantity // floor_to * floor_to


class PricedLine(Struct, frozen=True):
    """A return's line as money sees it. `accepted` counts units by condition; `total_amount` is for all `quantity`."""

    id: str
    position: int
    title: str
    quantity: int
    total_amount: int
    accepted: Mapping[str, int]
    restocking: bool = True  # False: its reason waives the fee

    @property
    def units(self) -> int:
        """How many units are accepted."""
        return sum(self.accepted.values())


class Terms(Struct, frozen=True):
    """The policy's money rules for one currency. Fees: condition -> (basis points, fixed minor units a unit)."""

    currency: str
    restocking: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    label_cost: int = 0
    shipping_amount: int = 0  # what the order's other returns leave of it
    shipping_refunded: ShippingRefunded = "never"
    order_complete: bool | None = None  # whether all of the order came back; None: this return's lines say


class Row(Struct, frozen=True):
    """One row of a breakdown. `adjustment` rows are decisions of people: they never make anything due."""

    kind: BreakdownKind
    amount: int
    line: str | None = None
    units: int = 0
    description: str = ""
    adjustment: bool = False
    tax_amount: int = 0  # of the amount; stored beside the rows

    def to_dict(self) -> dict[str, Any]:
        """Return the row as it is stored, without its tax."""
        row: dict[str, Any] = {"kind": self.kind, "line": self.line, "units": self.units, "amount": self.amount}
        return row | {"description": self.description, "adjustment": self.adjustment}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Row:
        """Return the row that `to_dict` stored."""
        return cls(**stored)


def total(rows: Iterable[Row]) -> int:
    """Return the rows' sum in minor units."""
    return sum(row.amount for row in rows)


def entitlement(lines: Sequence[PricedLine], terms: Terms) -> list[Row]:
    """Return what the accepted units are worth after fees: the same rows for the same counts, however they came."""
    smallest = step(terms.currency)
    rows: list[Row] = []
    for line in lines:
        if not line.units:
            continue
        value = line_value(line.total_amount, line.quantity, line.units, smallest)
        rows.append(Row("line", value, line.id, line.units, line.title))
        if fee := restocking_fee(line, terms):
            rows.append(Row("restocking_fee", -fee, line.id, 0, f"Restocking fee, {line.title}"))
    if not rows:
        return rows
    if terms.label_cost >= smallest:
        rows.append(Row("label", -(terms.label_cost // smallest * smallest), description="Return label"))
    complete = terms.order_complete
    if complete is None:
        complete = all(line.units == line.quantity for line in lines)
    if terms.shipping_amount >= smallest and (
        terms.shipping_refunded == "always" or (terms.shipping_refunded == "full_return" and complete)
    ):
        rows.append(Row("shipping", terms.shipping_amount // smallest * smallest, description="Shipping"))
    return rows


def restocking_fee(line: PricedLine, terms: Terms) -> int:
    """Return the fee for a line's accepted units, in minor units: each condition's share is floored by itself."""
    if not line.restocking:
        return 0
    smallest = step(terms.currency)
    fee = 0
    for condition, units in line.accepted.items():
        basis_points, fixed = terms.restocking.get(condition, (0, 0))
        fee += line.total_amount * units * basis_points // (line.quantity * 10_000) // smallest * smallest
        fee += fixed * units // smallest * smallest
    return fee


def accept_all(lines: Sequence[PricedLine]) -> list[PricedLine]:
    """Return the lines as if every authorized unit had been accepted as new: the estimate's counts."""
    return [replace(line, accepted={"new": line.quantity}) for line in lines]


def outstanding(entitled: Sequence[Row], committed: Sequence[Row]) -> list[Row]:
    """Return the rows that are still to be paid: the entitled ones less those paid, open or settled outside.

    Adjustments in `committed` were decisions of their own and count for nothing here; an `unallocated` row (a refund
    found at Stripe whose units nobody knows any more) counts against the sum. Money paid for a line that is now worth
    less is left out: it is never taken from what is due for others.
    """
    kept = {part for part, amount in overpaid_parts(entitled, committed).items() if amount}
    paid: dict[tuple[BreakdownKind, str | None], Row] = {}
    for row in committed:
        if row.adjustment or row.kind == "unallocated":
            continue
        key = row.kind, row.line
        before = paid.pop(key, None)
        paid[key] = replace(row, amount=row.amount + before.amount, units=row.units + before.units) if before else row
    rows = []
    for row in entitled:
        before = paid.pop((row.kind, row.line), None)
        rest = (
            replace(row, amount=row.amount - before.amount, units=max(0, row.units - before.units)) if before else row
        )
        if rest.amount:
            rows.append(rest)
    rows += [replace(row, amount=-row.amount, units=0) for row in paid.values() if row.amount]
    if unallocated := sum(row.amount for row in committed if row.kind == "unallocated"):
        rows.append(Row("unallocated", -unallocated, description="Refunded before, units unknown"))
    return [row for row in rows if part_of(row) not in kept]


def overpaid_amount(entitled: Sequence[Row], committed: Sequence[Row]) -> int:
    """Return what was paid for units and shipping and is now worth less, minor units."""
    return max(0, sum(overpaid_parts(entitled, committed).values()))


def part_of(row: Row) -> str:
    """Return what a row is about: its line with its fee, or else its kind."""
    return row.line or row.kind


def overpaid_parts(entitled: Sequence[Row], committed: Sequence[Row]) -> dict[str, int]:
    """Return the amount paid beyond its worth, by part; below zero it is a label's cost that nothing bears any more."""
    worth: dict[str, int] = {}
    paid: dict[str, int] = {}
    for sums, rows in ((worth, entitled), (paid, committed)):
        for row in rows:
            if not row.adjustment and row.kind != "unallocated":
                sums[part_of(row)] = sums.get(part_of(row), 0) + row.amount
    floor = {part: max(0, worth.get(part, 0)) for part in paid}
    beyond = {part: amount - floor[part] for part, amount in paid.items() if amount > floor[part]}
    if "label" in paid and paid["label"] < worth.get("label", 0):
        beyond["label"] = paid["label"] - worth.get("label", 0)
    return beyond


def overpays(entitled: Sequence[Row], committed: Sequence[Row], more: Sequence[Row]) -> bool:
    """Return whether the rows `more` would pay something beyond its worth beside what is committed."""
    before, after = overpaid_parts(entitled, committed), overpaid_parts(entitled, [*committed, *more])
    return any(amount > max(0, before.get(part, 0)) for part, amount in after.items())


def due(rows: Sequence[Row]) -> int:
    """Return what the still unpaid rows come to; below zero nothing is paid, the next receipt bears it."""
    return max(0, total(rows))


def adjust_to(rows: Sequence[Row], amount: int, why: str) -> list[Row]:
    """Return `rows` brought to exactly `amount` by a `reduction` or `goodwill` row that says why.

    All rows are kept, also where deductions eat them up: what they pay is due no more.
    """
    gap = amount - total(rows)
    if not gap:
        return list(rows)
    return [*rows, Row("goodwill" if gap > 0 else "reduction", gap, description=why, adjustment=True)]


def take(rows: Sequence[Row], amount: int) -> list[Row]:
    """Return rows that pay `amount` of `rows` and leave the rest due: deductions whole, then line by line.

    Raises ValueError unless 0 < amount <= total(rows).
    """
    if not 0 < amount <= total(rows):
        raise ValueError(f"{amount} of {total(rows)}")
    taken = [row for row in rows if row.amount < 0]
    left = amount - total(taken)
    for row in rows:
        if row.amount > 0 and left > 0:
            share = min(row.amount, left)
            taken.append(row if share == row.amount else replace(row, amount=share, units=0))
            left -= share
    return taken


def encode_breakdown(rows: Sequence[Row], positions: Mapping[str, int]) -> str:
    """Return the breakdown as one short text for Stripe's metadata; `refund_mark` leaves out one that doesn't fit.

    `kind:line position:units:amount`, joined by `;`, so that a refund found after a restore knows what it paid.
    """
    words = []
    for row in rows:
        place = "" if row.line is None else str(positions[row.line])
        words.append(f"{row.kind}{'!' if row.adjustment else ''}:{place}:{row.units}:{row.amount}")
    return ";".join(words)


def decode_breakdown(text: str | None, lines: Mapping[int, tuple[str, str]], amount: int) -> list[Row]:
    """Return the rows that `encode_breakdown` wrote.

    Where they can't be had, or don't sum to `amount` (minor units), it is one `unallocated` row. `lines` gives (line
    id, title) by position.
    """
    unknown = [Row("unallocated", amount, description="Found at Stripe, units unknown")]
    rows = []
    try:
        for word in (text or "").split(";"):
            kind, place, units, value = word.split(":")
            line, title = lines[int(place)] if place else (None, kind.strip("!").replace("_", " ").capitalize())
            if (known := find_word(BREAKDOWN_KINDS, kind.strip("!"))) is None:
                return unknown
            rows.append(Row(known, int(value), line, int(units), title, kind.endswith("!")))
    except (ValueError, KeyError):
        return unknown
    return rows if total(rows) == amount else unknown
