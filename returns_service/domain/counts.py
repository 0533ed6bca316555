"""What a line's counts are: a function of the units its standing receipts tell of, in whatever order they came.

Units that are there fill the line: accepted ones first, then those that wait for inspection, then rejected ones. Units
that are missing, or another item in their place, count only for the places that are left: a unit that comes later takes
theirs. More units than the line has are a surplus, which nobody declared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from returns_service.domain.vocabulary import CONDITIONS, Condition, Disposition

PLACEHOLDERS: tuple[Condition, ...] = ("missing", "wrong_item")  # no unit of the line came


@dataclass(frozen=True, slots=True)
class CountedUnits:
    """Units that one receipt tells of. `accepted` None: they wait for inspection."""

    condition: Condition
    quantity: int
    accepted: bool | None

    @property
    def is_here(self) -> bool:
        """Whether these are units of the line, and not a word for units that didn't come."""
        return self.condition not in PLACEHOLDERS


@dataclass(slots=True)
class LineTally:
    """How many units of a line have come, and how many are said to be missing: its counts before they are sorted."""

    quantity: int
    here: int
    missing: int

    @property
    def units_here(self) -> int:
        """How many units of the line have come, without its surplus."""
        return min(self.quantity, self.here)

    @property
    def counted_units(self) -> int:
        """How many units of the line are counted, in whatever condition."""
        return min(self.quantity, self.units_here + self.missing)

    def add(self, units: int, condition: Condition) -> None:
        """Count units."""
        if condition in PLACEHOLDERS:
            self.missing += units
        else:
            self.here += units


@dataclass(frozen=True, slots=True)
class LineCounts:
    """A line's counts; `counting` is how many units of each row given count, in the rows' order."""

    accepted: dict[str, int]
    rejected: dict[str, int]
    inspecting: int
    counting: tuple[int, ...]
    surplus: int  # units here that the line has no place for and nobody has decided about


def count_line(quantity: int, rows: Sequence[CountedUnits], decided: int = 0) -> LineCounts:
    """Return the counts of a line of `quantity` units; `decided` units of its surplus have gone elsewhere already."""
    here = max(0, sum(row.quantity for row in rows if row.is_here) - decided)
    room, left = min(quantity, here), quantity - min(quantity, here)
    counting = [0] * len(rows)
    accepted: dict[str, int] = {}
    rejected: dict[str, int] = {}
    inspecting = 0
    for number in sorted(range(len(rows)), key=lambda number: _rank(rows[number])):
        row = rows[number]
        units = min(row.quantity, room if row.is_here else left)
        if units == 0:
            continue
        if row.is_here:
            room -= units
        else:
            left -= units
        counting[number] = units
        if row.accepted is None:
            inspecting += units
        else:
            counts = accepted if row.accepted else rejected
            counts[row.condition] = counts.get(row.condition, 0) + units
    return LineCounts(accepted, rejected, inspecting, tuple(counting), max(0, here - quantity))


def tally(quantity: int, rows: Sequence[CountedUnits], decided: int = 0) -> LineTally:
    """Return a line's tally; its arguments are those of `count_line`."""
    here = max(0, sum(row.quantity for row in rows if row.is_here) - decided)
    return LineTally(quantity, here, sum(row.quantity for row in rows if not row.is_here))


def _rank(row: CountedUnits) -> tuple[bool, int, int]:
    """Return a row's place in the order in which units fill a line."""
    decision = 1 if row.accepted is None else 0 if row.accepted else 2
    return not row.is_here, decision, CONDITIONS.index(row.condition)


def default_disposition(condition: Condition, accepted: bool) -> Disposition:
    """Return where units go if nobody says: what isn't accepted goes back, and a missing unit can't."""
    if condition == "missing":
        return "scrap"
    if not accepted:
        return "return_to_customer"
    return "scrap" if condition == "damaged" else "restock"
