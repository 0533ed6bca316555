"""Query strings: known names only, each at most once unless it takes several values, and the window of a list."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Literal, Protocol, TypeVar
from urllib.parse import parse_qsl

from msgspec import Struct
from sqlalchemy import or_, select, union_all
from sqlmodel import col

from returns_service.domain.problems import Problem
from returns_service.domain.vocabulary import Word, find_word
from returns_service.store.ids import first_id, last_id, read_first

T = TypeVar("T")
V = TypeVar("V", bound=Struct)


class HasId(Protocol):
    """A row that a cursor can name."""

    id: str


Named = TypeVar("Named", bound=HasId)
LONGEST_LIMIT, LIMIT = 100, 10
MOST_PARAMETERS = 100
Form = Literal["single", "listed", "keyed"]
WINDOW: Mapping[str, Form] = {"limit": "single", "starting_after": "single", "ending_before": "single"}
EXPAND = re.compile(r"expand(\[\d*\])?")
KEYED = re.compile(r"(\w+)\[(.+)\]", flags=re.DOTALL)
COMPARISONS = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}


@dataclass(frozen=True, slots=True)
class Query:
    """A query string, read: single values by name, those with keys by name and key, and what to expand."""

    values: Mapping[str, str] = field(default_factory=dict)
    expand: frozenset[str] = frozenset()
    keyed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """Return a parameter's value, None where it was not sent."""
        return self.values.get(name)

    def one_of(self, name: str, allowed: Sequence[Word]) -> Word | None:
        """Return a value out of a closed list. Raises Problem invalid_request."""
        value = self.get(name)
        if value is None:
            return None
        if (word := find_word(allowed, value)) is None:
            raise wrong(name, f"Must be one of {', '.join(allowed)}")
        return word

    def several_of(self, name: str, allowed: Sequence[Word]) -> tuple[Word, ...] | None:
        """Return values out of a closed list, separated by commas. Raises Problem invalid_request."""
        value = self.get(name)
        if value is None:
            return None
        words = [find_word(allowed, part.strip()) for part in value.split(",")]
        found = tuple(dict.fromkeys(word for word in words if word is not None))
        if None in words:
            raise wrong(name, f"Must be among {', '.join(allowed)}, separated by commas")
        return found

    def within(self, chosen: Any, row_id: Any, prefix: str, **columns: Any) -> Any:
        """Narrow a statement to the times asked for: `created[gte]` of the column `created`. Raises Problem.

        Ids sort by the time their rows were made, so they are bounded too: a list in their order then reads no more
        than it shows. Nothing is updated before it is made.
        """
        for name, column in columns.items():
            for comparison, compare in COMPARISONS.items():
                if (moment := self.moment(f"{name}[{comparison}]")) is None:
                    continue
                chosen = chosen.where(compare(col(column), moment))
                if comparison in ("lt", "lte"):
                    chosen = chosen.where(col(row_id) < last_id(prefix, moment))
                elif name == "created":
                    chosen = chosen.where(col(row_id) >= first_id(prefix, moment))
        return chosen

    def learnt_late(self, chosen: Any, row_id: Any, prefix: str, created_at: Any, made_at: Any) -> list[Any]:
        """Return the statement that chooses what `within` leaves out; none where nothing was asked of `created`.

        A row of something that was made elsewhere is younger than what it tells of, and so is its id. Those are found
        by the index over `made_at`, which holds the same time as `created_at` does.
        """
        asked = {c: moment for c in COMPARISONS if (moment := self.moment(f"created[{c}]")) is not None}
        if not asked:
            return []
        by_id = col(row_id)
        outside = [by_id >= last_id(prefix, m) if c in ("lt", "lte") else by_id < first_id(prefix, m)
                   for c, m in asked.items()]  # fmt: skip
        times = [COMPARISONS[c](col(column), m) for c, m in asked.items() for column in (made_at, created_at)]
        return [chosen.where(by_id.in_(select(by_id).where(or_(*outside), *times)))]

    def holds(self, **values: datetime) -> bool:
        """Return whether an object's times are among those asked for; as `within`, of what is at hand already."""
        return all(
            compare(value, moment)
            for name, value in values.items()
            for comparison, compare in COMPARISONS.items()
            if (moment := self.moment(f"{name}[{comparison}]")) is not None
        )

    def moment(self, name: str) -> datetime | None:
        """Return a time given as Unix seconds or RFC 3339. Raises Problem invalid_request."""
        value = self.get(name)
        if value is None:
            return None
        try:
            if re.fullmatch(r"\d{1,11}", value):
                return datetime.fromtimestamp(int(value), UTC)
            time = datetime.fromisoformat(value.replace(" ", "+"))  # a bare + in a query string is read as a space
            if time.tzinfo is not None:
                return time.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise wrong(name, "Must be Unix seconds, or an RFC 3339 time with its zone")

    @property
    def limit(self) -> int:
        """How many a page holds. Raises Problem invalid_request."""
        value = self.get("limit")
        if value is None:
            return LIMIT
        if not re.fullmatch(r"[0-9]{1,3}", value) or not 1 <= int(value) <= LONGEST_LIMIT:
            raise wrong("limit", f"Must be 1 to {LONGEST_LIMIT}")
        return int(value)

    @property
    def cursor(self) -> tuple[str, bool] | None:
        """The id a page begins beside, and whether it goes back to newer ones. Raises Problem invalid_request."""
        after, before = self.get("starting_after"), self.get("ending_before")
        if after is not None and before is not None:
            raise wrong("ending_before", "Send starting_after or ending_before, not both")
        if after is not None:
            return after, False
        return (before, True) if before is not None else None

    def checked_cursor(self, prefix: str) -> tuple[str, bool] | None:
        """The cursor, which must be an id of that kind. Raises Problem invalid_request."""
        cursor = self.cursor
        if cursor is not None and not re.fullmatch(rf"{prefix}_[0-9a-z]{{26}}", cursor[0]):
            raise wrong("ending_before" if cursor[1] else "starting_after", f"Must be an id, {prefix}_…")
        return cursor

    def window(self, chosen: Any, column: Any, prefix: str) -> Any:
        """Return the statement for a page, newest first (the other way round where it goes back), one row too many."""
        cursor = self.checked_cursor(prefix)
        back = cursor is not None and cursor[1]
        if cursor is not None:
            chosen = chosen.where(col(column) > cursor[0] if back else col(column) < cursor[0])
        return chosen.order_by(col(column).asc() if back else col(column).desc()).limit(self.limit + 1)

    def updated_since(self, chosen: Any, row_id: Any, prefix: str, updated_at: Any) -> list[Any]:
        """Return the statements that choose, one after the other, what `updated[gte]` or `[gt]` asks for.

        Rows that were made since then were updated since then; the few older ones are found by the index over
        `updated_at`. In one statement, a database without statistics would walk through all there is.
        """
        moments = [self.moment(f"updated[{comparison}]") for comparison in ("gte", "gt")]
        asked = [moment for moment in moments if moment is not None]
        if not asked:
            return [chosen]
        bound = first_id(prefix, max(asked))
        touched = select(col(row_id)).where(col(updated_at) >= max(asked), col(row_id) < bound)
        return [
            chosen.where(col(row_id) >= bound),
            chosen.where(col(row_id) < bound, col(row_id).in_(read_first(touched))),
        ]

    def window_of(
        self, branches: Sequence[Any], row_id: Any, prefix: str, column: Any, values: Sequence[str] | None
    ) -> Any:
        """Return the statement for the ids of a page of what the statements choose, `column` being one of `values`.

        Each branch and each value is read in the order of its own index, as many rows as the page holds; to find them
        all and sort them would take longer with each year. `values` None: any.
        """
        parts = [
            branch if value is None else branch.where(col(column) == value)
            for branch in branches
            for value in (values if values is not None else [None])
        ]
        pages = [self.window(part, row_id, prefix) for part in parts]
        if len(pages) == 1:
            return pages[0]
        ids = union_all(*(select(page.subquery().c.id) for page in pages)).subquery("among")
        return self.window(select(ids.c.id), ids.c.id, prefix)

    def page_of(self, rows: Sequence[Named], prefix: str) -> tuple[list[Named], bool]:
        """Return the page of rows that are all at hand already."""
        cursor = self.checked_cursor(prefix)
        back = cursor is not None and cursor[1]
        if cursor is not None:
            rows = [row for row in rows if (row.id > cursor[0] if back else row.id < cursor[0])]
        ordered = sorted(rows, key=lambda row: row.id, reverse=not back)
        return self.page(ordered[: self.limit + 1])

    def page(self, found: Sequence[T]) -> tuple[list[T], bool]:
        """Return what was found as the page to show, newest first, and whether there is more that way."""
        rows, cursor = list(found[: self.limit]), self.cursor
        if cursor is not None and cursor[1]:
            rows.reverse()
        return rows, len(found) > self.limit


def wrong(name: str, message: str) -> Problem:
    """Return the problem of one wrong parameter."""
    said = {"param": name, "code": "invalid", "message": message}
    return Problem("invalid_request", f"{name}: {message}", param=name, errors=[said])


def read_query(raw: bytes, known: Mapping[str, Form], expandable: Sequence[str] = ()) -> Query:
    """Return the query string's parameters. Raises Problem for an unknown one, one sent twice, or bad characters."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise Problem("malformed_request", "The query string can't be read.") from None
    values: dict[str, str] = {}
    keyed: dict[str, dict[str, str]] = {}
    expand: set[str] = set()
    for name, value in pairs:
        if "\0" in value or len(value) > 1000:
            raise wrong(name[:100], "Must be text of at most 1000 characters, without NUL")
        if expandable and EXPAND.fullmatch(name):
            if value not in expandable:
                raise wrong("expand[]", f"Can expand {', '.join(expandable)}, each in an expand[] of its own")
            expand.add(value)
        elif (part := KEYED.fullmatch(name)) and known.get(part[1]) == "keyed":
            of = keyed.setdefault(part[1], {})
            if part[2] in of or "\0" in part[2]:
                raise wrong(name[:100], "Must be sent once, without NUL")
            of[part[2]] = value
        elif known.get(name, "keyed") == "keyed":
            hint = f"Known are {', '.join(known)}." if known else "None is known here."
            raise Problem("unknown_filter", f"There is no parameter {name[:100]!r}. {hint}", param=name[:100])
        elif name in values and known[name] == "single":
            raise wrong(name, "Must be sent once")
        else:
            values[name] = f"{values[name]},{value}" if name in values else value
    return Query(values, frozenset(expand), keyed)


class ListView(Struct, Generic[V], kw_only=True, tag_field="object", tag="list"):
    """One page, newest first."""

    url: str
    has_more: bool
    data: list[V]


def show_list(url: str, rows: Sequence[T], has_more: bool, show: Callable[[T], V]) -> ListView[V]:
    """Return a page as it is answered."""
    return ListView(url=url, has_more=has_more, data=[show(row) for row in rows])
