"""A collection keeps objects of one kind in the order of their creation. It lists the newest first."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


def copy_json(value: Any) -> Any:
    """Return a deep copy of a JSON value (much cheaper than `copy.deepcopy`, which guards against cycles)."""
    if isinstance(value, dict):
        return {name: copy_json(part) for name, part in value.items()}
    if isinstance(value, list):
        return [copy_json(part) for part in value]
    return value


@dataclass(frozen=True, slots=True)
class Span:
    """A range of whole seconds since 1970 (UTC). Both ends belong to it; None leaves an end open."""

    first: int | None = None
    last: int | None = None

    def holds(self, second: int) -> bool:
        """Return whether `second` lies in the range."""
        return (self.first is None or second >= self.first) and (self.last is None or second <= self.last)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A page of at most `limit` rows: it begins right after the id `after`, or ends right before the id `before`."""

    limit: int = 10
    after: str | None = None
    before: str | None = None


class Collection:
    """Rows (JSON objects with `id` and `created`) of one kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._rows: dict[str, Json] = {}
        self._order: list[str] = []
        self._position: dict[str, int] = {}
        self._by_time = True  # False once the clock jumped back: bisection finds no range of times then

    def add(self, row: Json) -> Json:
        """Add `row` as the newest and return it."""
        name: str = row["id"]
        if self._order and self._creation_time(self._order[-1]) > row["created"]:
            self._by_time = False
        self._position[name] = len(self._order)
        self._order.append(name)
        self._rows[name] = row
        return row

    def get(self, name: str) -> Json | None:
        """Return the row itself, not a copy; None if there is no such id."""
        return self._rows.get(name)

    def __getitem__(self, name: str) -> Json:
        return self._rows[name]

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Json]:
        return iter(self._rows.values())

    def newest_first(self) -> Iterator[Json]:
        """Walk all rows, the newest first."""
        return (self._rows[name] for name in reversed(self._order))

    def get_page(
        self,
        cursor: Cursor,
        span: Span = Span(),
        matches: Callable[[Json], bool] = lambda row: True,
        among: Sequence[str] | None = None,
    ) -> tuple[list[Json], bool]:
        """Return one page, newest first, and whether more rows follow in the direction of travel.

        Only rows in `span` that match count. `among` narrows the search to some ids, in the order of their creation.
        """
        order = self._order if among is None else among
        low, high = 0, len(order)
        if self._by_time and span.first is not None:
            low = bisect_left(order, span.first, key=self._creation_time)
        if self._by_time and span.last is not None:
            high = bisect_right(order, span.last, key=self._creation_time)
        if cursor.after is not None:
            high = min(high, bisect_left(order, self._position[cursor.after], key=self._position.__getitem__))
        if cursor.before is not None:
            low = max(low, bisect_right(order, self._position[cursor.before], key=self._position.__getitem__))
        upward = cursor.before is not None
        page: list[Json] = []
        for place in range(low, high) if upward else range(high - 1, low - 1, -1):
            row = self._rows[order[place]]
            if span.holds(row["created"]) and matches(row):
                page.append(row)
                if len(page) > cursor.limit:
                    break
        rows = page[: cursor.limit]
        return (rows[::-1] if upward else rows), len(page) > cursor.limit

    def _creation_time(self, name: str) -> int:
        created: int = self._rows[name]["created"]
        return created
